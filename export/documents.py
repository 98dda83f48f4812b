"""The documents that an export measures parity on, and those that calibrate int8."""

from collections.abc import Sequence
from dataclasses import dataclass

from export.trust.certificate import MAX_PAIRS
from export.trust.labels import JudgedSummary
from finetune.data.loading import Pairs
from finetune.recipe import Export

CALIBRATION_DOCUMENTS = 64  # training documents that set the scales of int8 keys and values


@dataclass(frozen=True)
class Documents:
    """Texts with reference summaries for parity, texts for calibration, and the validation pairs, which the model has
    not seen, and summaries that people judged, for trust."""

    parity: list[str]
    references: list[str]
    calibration: list[str]
    trust: tuple[list[str], list[str]]
    judged: Sequence[JudgedSummary] = ()


def select_documents(pairs: Pairs, export: Export) -> Documents:
    """The validation documents, with training documents after them if they are too few, and the first of training."""
    count = max(export.documents, export.engine_documents)
    documents: list[str] = []
    references: list[str] = []
    for split in (pairs.validation, pairs.train):
        selected = split.select(range(min(count - len(documents), len(split))))
        documents += list(selected["document"])
        references += list(selected["summary"])
    calibration = list(pairs.train["document"][:CALIBRATION_DOCUMENTS])
    held_out = (pairs.all_validation or pairs.validation)[:MAX_PAIRS]
    return Documents(documents, references, calibration, (held_out["document"], held_out["summary"]))
