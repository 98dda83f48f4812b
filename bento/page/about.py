"""The tab "About this model": where the model comes from, how well it does, and what it cannot do."""

import base64
import json

from bento.page.html import render
from precis.bundle.manifest import Manifest
from precis.bundle.verify import Bundle

METRICS = {"rouge1": "ROUGE-1", "rouge2": "ROUGE-2", "rougeL": "ROUGE-L"}
FEW_PAIRS = 20_000  # a model trained on fewer gets a warning


def model_description(bundle: Bundle) -> str:
    """The model's size and kind in one sentence, for the page's header."""
    pairs = bundle.manifest.data.train_pairs
    megabytes = sum(path.stat().st_size for path in bundle.folder.glob("*.onnx*")) / 1e6
    kind = "A small demo model" if pairs and pairs < FEW_PAIRS else "A model"
    facts = ["T5", f"{megabytes:,.0f} MB", f"fine-tuned on {pairs:,} texts" if pairs else ""]
    deed = (
        "it chooses sentences of your text and writes nothing new"
        if bundle.generation_config.get("mode") == "extract"
        else "it copies more than it writes, and what it writes can be wrong"
    )
    return f"{kind} ({', '.join(filter(None, facts))}): {deed}."


def about_html(bundle: Bundle) -> str:
    """The content of the tab."""
    manifest, rouge = bundle.manifest, bundle.manifest.rouge
    systems = {
        "The text's first sentence": rouge and rouge.lead,
        "Before fine-tuning": rouge and rouge.base,
        "This model": rouge and rouge.finetuned,
    }
    return render(
        "about.html",
        manifest=manifest,
        manifest_json=json.dumps(manifest.as_json(), indent=2, ensure_ascii=False),
        facts=_facts(manifest),
        metrics=METRICS,
        scores={writer: scores for writer, scores in systems.items() if scores},
        few_pairs=FEW_PAIRS,
        largest_delta=max(map(abs, manifest.parity.delta.values()), default=0.0) if manifest.parity else None,
        parity_plot=_parity_plot(bundle),
    )


def _facts(manifest: Manifest) -> dict[str, str | None]:
    base, data, lora = manifest.base_model, manifest.data, manifest.lora or {}
    pairs = data.train_pairs
    return {
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


def _duration(seconds: float | None, device: str | None) -> str | None:
    if not seconds:
        return None
    duration = f"{seconds:.0f} seconds" if seconds < 120 else f"{seconds / 60:.0f} minutes"
    return f"{duration} on {device}" if device else duration


def _parity_plot(bundle: Bundle) -> str:
    """parity.png in Base64, or ""; only files of the manifest are verified."""
    picture = bundle.folder / "parity.png"
    return base64.b64encode(picture.read_bytes()).decode() if picture.name in bundle.manifest.files else ""
