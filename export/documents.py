"""The documents that an export measures parity on, and those that calibrate int8."""

from dataclasses import dataclass

from finetune.data.loading import Pairs
from finetune.recipe import Export

CALIBRATION_DOCUMENTS = 64  # training documents that set the scales of int8 keys and values


@dataclass(frozen=True)
class Documents:
    """Texts with reference summaries for parity, and texts for calibration."""

    parity: list[str]
    references: list[str]
    calibration: list[str]


def select_documents(pairs: Pairs, export: Export) -> Documents:
    """The validation documents, with training documents after them if they are too few, and the first of training."""
    count = max(export.documents, export.engine_documents)
    documents: list[str] = []
    references: list[str] = []
    for split in (pairs.validation, pairs.train):
        selected = split.select(range(min(count - len(documents), len(split))))
        documents += list(selected["document"])
        references += list(selected["summary"])
    return Documents(documents, references, list(pairs.train["document"][:CALIBRATION_DOCUMENTS]))
