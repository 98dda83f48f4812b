"""Which summaries count as wrong when trust is calibrated."""

import numpy as np
import numpy.typing as npt

from finetune.evaluation.rouge import lead_sentence, rouge_by_document
from precis.grounding.evidence import Evidence
from precis.grounding.reranking import count_marks

MARGIN = 5.0  # points: the ROUGE of one summary against one reference varies by chance
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
    marked = [count_marks(item) > 0 for item in evidence]
    return np.array(marked, dtype=bool) | (own < lead - MARGIN)


def _mean_rouge(summaries: list[str], references: list[str]) -> npt.NDArray[np.float64]:
    scores = rouge_by_document(summaries, references)
    return np.mean([scores[kind] for kind in KINDS], axis=0)
