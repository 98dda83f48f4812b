"""About the model that is served: where it comes from, how well it does, and what it cannot do."""

import base64
import json

from bento.page.html import escape, table
from precis.bundle.manifest import Manifest
from precis.bundle.reports import RougeReport, Scores
from precis.bundle.verify import Bundle

METRICS = {"rouge1": "ROUGE-1", "rouge2": "ROUGE-2", "rougeL": "ROUGE-L"}
WRITERS = {"lead": "The text's first sentence", "base": "Before fine-tuning", "finetuned": "This model"}
SMALL = 20_000  # pairs; what was trained on fewer is called small


def chip(manifest: Manifest) -> str:
    """The model in a few words, for the page's head."""
    scores = manifest.rouge.finetuned if manifest.rouge else None
    words = [manifest.name or "a model", manifest.precision, f"ROUGE-L {scores.rougeL:.1f}" if scores else None]
    return " · ".join(word for word in words if word)


def about_html(bundle: Bundle) -> str:
    """The whole tab."""
    manifest = bundle.manifest
    content = json.dumps(manifest.as_json(), indent=2, ensure_ascii=False)
    return "".join(
        [
            '<div class="about"><section><h2>Where it comes from</h2>',
            _facts(manifest),
            "</section><section><h2>How well it does</h2>",
            _rouge(manifest.rouge),
            "</section><section><h2>What it cannot do</h2>",
            _limits(manifest),
            "</section><section><h2>Is it the model that was trained?</h2>",
            _parity(bundle),
            "</section><section><h2>All of the manifest</h2><details><summary>Show the JSON</summary>",
            f'<pre tabindex="0">{escape(content)}</pre>',
            '</details><p>The same for programs: <a href="../model">/model</a>.</p></section></div>',
        ]
    )


def _facts(manifest: Manifest) -> str:
    base, data, lora = manifest.base_model, manifest.data, manifest.lora or {}
    pairs = data.train_pairs
    facts = {
        "Name": manifest.name,
        "Made from": " ".join(filter(None, [base.name, base.revision])),
        "Fine-tuned on": f"{pairs:,} pairs of {data.name or data.train}" if pairs else None,
        "Method": f"LoRA, rank {lora['rank']}, merged" if lora.get("rank") else None,
        "Trained in": _duration(manifest.training_seconds, manifest.trained_on),
        "Numbers": f"{manifest.precision} on {manifest.execution_provider}",
        "Reads at once": f"{manifest.max_input_tokens} tokens; longer texts go chunk by chunk",
        "Made on": (manifest.created or "")[:10],
        "Git commit": (manifest.git_commit.get("export") or "")[:12],
    }
    return "<dl>" + "".join(f"<dt>{name}</dt><dd>{escape(fact)}</dd>" for name, fact in facts.items() if fact) + "</dl>"


def _duration(seconds: float | None, where: str | None) -> str | None:
    if not seconds:
        return None
    time = f"{seconds:.0f} seconds" if seconds < 120 else f"{seconds / 60:.0f} minutes"
    return f"{time} on {where}" if where else time


def _rouge(rouge: RougeReport | None) -> str:
    systems = {} if rouge is None else {"lead": rouge.lead, "base": rouge.base, "finetuned": rouge.finetuned}
    rows = [
        [WRITERS[key], *(_score(scores, metric) for metric in METRICS)] for key, scores in systems.items() if scores
    ]
    if rouge is None or not rows:
        return "<p>The bundle holds no ROUGE figures.</p>"
    gain = rouge.paired_difference_ci95
    if gain:
        rows.append(["Gained by fine-tuning", *(_signed(*gain[metric]) for metric in METRICS)])
    caption = f"ROUGE on {rouge.documents} documents that it was not trained on, 0 to 100, with 95% intervals"
    return table(["Written by", *METRICS.values()], rows, caption)


def _signed(low: float, high: float) -> str:
    return f"{low:+.1f} to {high:+.1f}".replace("-", "−")


def _score(scores: Scores, metric: str) -> str:
    interval = scores.ci95.get(metric)
    shown = f" <small>{interval[0]:.1f} to {interval[1]:.1f}</small>" if interval else ""
    return f"<strong>{getattr(scores, metric):.1f}</strong>{shown}"


def _parity(bundle: Bundle) -> str:
    parity = bundle.manifest.parity
    if parity is None:
        return "<p>The bundle holds no comparison with PyTorch.</p>"
    largest = max(map(abs, (parity.delta or {"": 0.0}).values()))
    words = [
        f"What is served here was compared with the trained PyTorch model on {parity.documents} documents before it "
        f"was let out: {parity.identical_summaries} summaries are the same word for word, and ROUGE differs by at most "
        f"{largest:.2f} points."
    ]
    if parity.ties:
        words.append(f"In {parity.ties} more, two words had the same score, and the other one was taken.")
    picture = bundle.folder / "parity.png"
    image = ""
    if picture.name in bundle.manifest.files:  # only what the manifest vouches for
        data = base64.b64encode(picture.read_bytes()).decode()
        image = (
            f'<img alt="ROUGE-L of each document, PyTorch against the served model" src="data:image/png;base64,{data}">'
        )
    return f"<p>{escape(' '.join(words))}</p>{image}"


def _limits(manifest: Manifest) -> str:
    pairs = manifest.data.train_pairs or 0
    limits = [
        "It can join facts that do not belong together, lose a “not”, or give one person’s words to another. "
        "Check what matters against the marked sentences.",
        "Numbers and names that the text lacks are marked. A right number in the wrong place is not.",
        "ROUGE counts words shared with a summary that a person wrote. It does not measure truth.",
        f"It reads {manifest.max_input_tokens} tokens at once. A longer text is summarized in chunks, then the "
        "summaries once more; what ties the chunks together can get lost.",
        "It knows the kind of text and the language it was trained on, and guesses with others.",
    ]
    if 0 < pairs < SMALL:
        only = f"It learned from {pairs:,} pairs only: it shows the road from data to a service, and is no good writer."
        limits.insert(0, only)
    return "<ul>" + "".join(f"<li>{escape(limit)}</li>" for limit in limits) + "</ul>"
