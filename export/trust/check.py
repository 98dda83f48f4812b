"""Which summaries count as wrong when trust is calibrated."""

import numpy as np
import numpy.typing as npt

from finetune.evaluation.rouge import lead_sentence, rouge_by_document
from precis.grounding.evidence import Evidence

MARGIN = 5.0  # points: the ROUGE of one summary against one reference varies by chance
COPIED = 0.95  # share of copied words from which on a seam is a splice and no paraphrase
KINDS = ("rouge1", "rouge2", "rougeL")
CHECK = (
    "wrong: a number or name that the text lacks, or copied pieces joined to one sentence, or a mean of ROUGE-1, -2 "
    f"and -L against the reference more than {MARGIN:g} points below that of the text's first sentence"
)


def wrong_summaries(
    documents: list[str], summaries: list[str], references: list[str], evidence: list[Evidence]
) -> npt.NDArray[np.bool_]:
    """Whether each summary is wrong by CHECK, (documents,)."""
    own = _mean_rouge(summaries, references)
    lead = _mean_rouge([lead_sentence(document) for document in documents], references)
    marked = [bool(item.unsupported or is_spliced(item)) for item in evidence]
    return np.array(marked, dtype=bool) | (own < lead - MARGIN)


def is_spliced(evidence: Evidence) -> bool:
    """Whether the summary consists of copied pieces that do not follow each other in the text."""
    return bool(evidence.grounding.seams) and evidence.grounding.copied_share >= COPIED


def _mean_rouge(summaries: list[str], references: list[str]) -> npt.NDArray[np.float64]:
    scores = rouge_by_document(summaries, references)
    return np.mean([scores[kind] for kind in KINDS], axis=0)
