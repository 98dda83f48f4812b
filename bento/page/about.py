"""About the model that is served: where it comes from, how well it does, and what it cannot do."""

import base64
import json
from typing import Any

from bento.page.html import escape, table
from precis.bundle.verify import Bundle

METRICS = {"rouge1": "ROUGE-1", "rouge2": "ROUGE-2", "rougeL": "ROUGE-L"}
WRITERS = {"lead": "The text's first sentence", "base": "Before fine-tuning", "finetuned": "This model"}
SMALL = 20_000  # pairs; what was trained on fewer is called small


def chip(manifest: dict[str, Any]) -> str:
    """The model in a few words, for the page's head."""
    scores = manifest.get("rouge", {}).get("finetuned", {})
    words = [str(manifest.get("name", "a model")), str(manifest.get("precision", ""))]
    if "rougeL" in scores:
        words.append(f"ROUGE-L {scores['rougeL']:.1f}")
    return " · ".join(word for word in words if word)


def about_html(bundle: Bundle) -> str:
    """The whole tab."""
    manifest = bundle.manifest
    return "".join(
        [
            '<div class="about"><section><h2>Where it comes from</h2>',
            _facts(manifest),
            "</section><section><h2>How well it does</h2>",
            _rouge(manifest.get("rouge") or {}),
            "</section><section><h2>What it cannot do</h2>",
            _limits(manifest),
            "</section><section><h2>Is it the model that was trained?</h2>",
            _parity(bundle, manifest.get("parity") or {}),
            "</section><section><h2>All of the manifest</h2><details><summary>Show the JSON</summary>",
            f'<pre tabindex="0">{escape(json.dumps(manifest, indent=2, ensure_ascii=False))}</pre>',
            '</details><p>The same for programs: <a href="../model">/model</a>.</p></section></div>',
        ]
    )


def _facts(manifest: dict[str, Any]) -> str:
    base, data, lora = (manifest.get(key) or {} for key in ("base_model", "data", "lora"))
    pairs = data.get("train_pairs")
    facts = {
        "Name": manifest.get("name"),
        "Made from": " ".join(filter(None, [base.get("name"), base.get("revision")])),
        "Fine-tuned on": f"{pairs:,} pairs of {data.get('name') or data.get('train')}" if pairs else None,
        "Method": f"LoRA, rank {lora['rank']}, merged" if lora.get("rank") else None,
        "Trained in": _duration(manifest.get("training_seconds"), manifest.get("trained_on")),
        "Numbers": f"{manifest.get('precision')} on {manifest.get('execution_provider')}",
        "Reads at once": f"{manifest.get('max_input_tokens')} tokens; longer texts go piece by piece",
        "Made on": str(manifest.get("created", ""))[:10],
        "Git commit": str((manifest.get("git_commit") or {}).get("export") or "")[:12],
    }
    return "<dl>" + "".join(f"<dt>{name}</dt><dd>{escape(fact)}</dd>" for name, fact in facts.items() if fact) + "</dl>"


def _duration(seconds: float | None, where: str | None) -> str | None:
    if not seconds:
        return None
    time = f"{seconds:.0f} seconds" if seconds < 120 else f"{seconds / 60:.0f} minutes"
    return f"{time} on {where}" if where else time


def _rouge(rouge: dict[str, Any]) -> str:
    rows = [
        [name, *(_score(rouge[key], metric) for metric in METRICS)] for key, name in WRITERS.items() if rouge.get(key)
    ]
    if not rows:
        return "<p>The bundle holds no ROUGE figures.</p>"
    gain = rouge.get("paired_difference_ci95") or {}
    if gain:
        rows.append(["Gained by fine-tuning", *(_signed(*gain[metric]) for metric in METRICS)])
    caption = f"ROUGE on {rouge.get('documents')} documents that it was not trained on, 0 to 100, with 95% intervals"
    return table(["Written by", *METRICS.values()], rows, caption)


def _signed(low: float, high: float) -> str:
    return f"{low:+.1f} to {high:+.1f}".replace("-", "−")


def _score(scores: dict[str, Any], metric: str) -> str:
    low, high = scores.get("ci95", {}).get(metric, (None, None))
    interval = "" if low is None else f" <small>{low:.1f} to {high:.1f}</small>"
    return f"<strong>{scores[metric]:.1f}</strong>{interval}"


def _parity(bundle: Bundle, parity: dict[str, Any]) -> str:
    if not parity:
        return "<p>The bundle holds no comparison with PyTorch.</p>"
    documents, same = parity.get("documents"), parity.get("identical_summaries")
    largest = max(map(abs, (parity.get("delta") or {"": 0.0}).values()))
    words = [
        f"What is served here was compared with the trained PyTorch model on {documents} documents before it was let "
        f"out: {same} summaries are the same word for word, and ROUGE differs by at most {largest:.2f} points."
    ]
    if parity.get("ties"):
        words.append(f"In {parity['ties']} more, two words had the same score, and the other one was taken.")
    picture = bundle.folder / "parity.png"
    image = ""
    if picture.name in bundle.manifest["files"]:  # only what the manifest vouches for
        data = base64.b64encode(picture.read_bytes()).decode()
        image = (
            f'<img alt="ROUGE-L of each document, PyTorch against the served model" src="data:image/png;base64,{data}">'
        )
    return f"<p>{escape(' '.join(words))}</p>{image}"


def _limits(manifest: dict[str, Any]) -> str:
    data = manifest.get("data") or {}
    pairs = data.get("train_pairs") or 0
    limits = [
        "It can join facts that do not belong together, lose a “not”, or give one person’s words to another. "
        "Check what matters against the marked sentences.",
        "Numbers and names that the text lacks are marked. A right number in the wrong place is not.",
        "ROUGE counts words shared with a summary that a person wrote. It does not measure truth.",
        f"It reads {manifest.get('max_input_tokens')} tokens at once. A longer text is summarized in pieces, then the "
        "summaries once more; what ties the pieces together can get lost.",
        "It knows the kind of text and the language it was trained on, and guesses with others.",
    ]
    if 0 < pairs < SMALL:
        only = f"It learned from {pairs:,} pairs only: it shows the road from data to a service, and is no good writer."
        limits.insert(0, only)
    return "<ul>" + "".join(f"<li>{escape(limit)}</li>" for limit in limits) + "</ul>"
