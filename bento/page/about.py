"""The tab "About this model": where the model comes from, how well it does, and what it cannot do."""

import base64
import json
from pathlib import Path
from string import Template

from bento.page.html import data_table, escape
from precis.bundle.manifest import Manifest
from precis.bundle.reports import ParityReport, RougeReport, Scores
from precis.bundle.verify import Bundle

METRICS = {"rouge1": "ROUGE-1", "rouge2": "ROUGE-2", "rougeL": "ROUGE-L"}
FEW_PAIRS = 20_000  # a model trained on fewer gets a warning
CONTENT = Template((Path(__file__).parent / "static/about.html").read_text(encoding="utf-8"))


def model_label(manifest: Manifest) -> str:
    """The model in a few words, for the page's header."""
    scores = manifest.rouge.finetuned if manifest.rouge else None
    parts = [manifest.name or "a model", manifest.precision, f"ROUGE-L {scores.rougeL:.1f}" if scores else None]
    return " · ".join(filter(None, parts))


def about_html(bundle: Bundle) -> str:
    """The content of the tab."""
    manifest = bundle.manifest
    return CONTENT.substitute(
        facts=_facts(manifest),
        rouge=_rouge(manifest.rouge),
        warning=_warning(manifest.data.train_pairs),
        max_input_tokens=manifest.max_input_tokens,
        parity=_parity(manifest.parity) + _parity_plot(bundle),
        manifest=escape(json.dumps(manifest.as_json(), indent=2, ensure_ascii=False)),
    )


def _facts(manifest: Manifest) -> str:
    base, data, lora = manifest.base_model, manifest.data, manifest.lora or {}
    pairs = data.train_pairs
    facts = {
        "Name": manifest.name,
        "Base model": " ".join(filter(None, [base.name, base.revision])),
        "Fine-tuned on": f"{pairs:,} pairs of {data.name or data.train}" if pairs else None,
        "Method": f"LoRA, rank {lora['rank']}, merged" if lora.get("rank") else None,
        "Trained in": _duration(manifest.training_seconds, manifest.trained_on),
        "Precision": f"{manifest.precision} on {manifest.execution_provider}",
        "Reads at once": f"{manifest.max_input_tokens} tokens; longer texts are summarized chunk by chunk",
        "Created on": (manifest.created or "")[:10],
        "Git commit": (manifest.git_commit.get("export") or "")[:12],
    }
    return "".join(f"<dt>{name}</dt><dd>{escape(fact)}</dd>" for name, fact in facts.items() if fact)


def _duration(seconds: float | None, device: str | None) -> str | None:
    if not seconds:
        return None
    duration = f"{seconds:.0f} seconds" if seconds < 120 else f"{seconds / 60:.0f} minutes"
    return f"{duration} on {device}" if device else duration


def _warning(pairs: int | None) -> str:
    if not pairs or pairs >= FEW_PAIRS:
        return ""
    return f"<li>It learned from {pairs:,} pairs only: it shows the way from data to a service, and writes poorly.</li>"


def _rouge(rouge: RougeReport | None) -> str:
    systems = {
        "The text's first sentence": rouge and rouge.lead,
        "Before fine-tuning": rouge and rouge.base,
        "This model": rouge and rouge.finetuned,
    }
    rows = [[name, *(_score(scores, metric) for metric in METRICS)] for name, scores in systems.items() if scores]
    if rouge is None or not rows:
        return "<p>The bundle holds no ROUGE figures.</p>"
    gain = rouge.paired_difference_ci95
    if gain:
        rows.append(["Gained by fine-tuning", *(_signed(*gain[metric]) for metric in METRICS)])
    caption = f"ROUGE on {rouge.documents} documents that it was not trained on, 0 to 100, with 95% intervals"
    return data_table(["Written by", *METRICS.values()], rows, caption)


def _signed(low: float, high: float) -> str:
    return f"{low:+.1f} to {high:+.1f}".replace("-", "−")


def _score(scores: Scores, metric: str) -> str:
    interval = scores.ci95.get(metric)
    shown = f" <small>{interval[0]:.1f} to {interval[1]:.1f}</small>" if interval else ""
    return f"<strong>{getattr(scores, metric):.1f}</strong>{shown}"


def _parity(parity: ParityReport | None) -> str:
    if parity is None:
        return "<p>The bundle holds no comparison with PyTorch.</p>"
    largest = max(map(abs, parity.delta.values()), default=0.0)
    text = (
        f"What is served here was compared with the trained PyTorch model on {parity.documents} documents before it "
        f"was released: {parity.identical_summaries} summaries are the same word for word, and ROUGE differs by at "
        f"most {largest:.2f} points."
    )
    if parity.ties:
        text += f" In {parity.ties} more, two words had the same score, and the other one was chosen."
    return f"<p>{text}</p>"


def _parity_plot(bundle: Bundle) -> str:
    picture = bundle.folder / "parity.png"
    if picture.name not in bundle.manifest.files:  # only files of the manifest are verified
        return ""
    data = base64.b64encode(picture.read_bytes()).decode()
    return f'<img alt="ROUGE-L of each document, PyTorch against the served model" src="data:image/png;base64,{data}">'
