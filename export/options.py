"""The options of one export."""

from dataclasses import dataclass, field
from pathlib import Path

PRECISIONS = ("fp32", "int8", "fp16")  # in the order in which they are exported


@dataclass(frozen=True)
class Options:
    """What the command line asks for; `precisions` and `device` override the recipe."""

    precisions: list[str] = field(default_factory=list)
    device: str | None = None
    base: bool = False  # also export the base model before fine-tuning, in int8
    allow_cpu_fallback: bool = False
    accept_worse: bool = False  # export a model that fine-tuning has made worse
    labels: Path | None = None  # JSONL of judged summaries, which calibrate trust
