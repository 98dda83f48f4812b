"""Training targets of the objective `extract`: a sentence of each document in place of its summary.

The sentence with the highest ROUGE would be a noisy target: it depends on the wording of one summary, which the
document does not determine. So the target is the sentence that ranks first by features whose weights are fitted to all
pairs (`training.sentence_ranker_fit`).
"""

from dataclasses import dataclass

from datasets import Dataset
from transformers import PreTrainedTokenizerFast

from finetune.data.tokenizing import BATCH
from finetune.errors import UserError
from finetune.evaluation.baselines import mean_rouge
from finetune.evaluation.ranking import Source, encode_source
from finetune.recipe import Recipe
from finetune.reports.progress import track
from precis.text.candidates import best_indices
from precis.text.sentence_features import feature_scores

FIT_DOCUMENTS = 2000  # that a ranker is fitted to


@dataclass(frozen=True)
class RankedPair:
    """A document, as the model reads it, and the mean ROUGE of each candidate sentence against its summary."""

    source: Source
    rewards: list[float]

    @property
    def sentences(self) -> list[str]:
        """The texts of the candidate sentences."""
        return [candidate.text for candidate in self.source.candidates]


def ranked_pairs(
    pairs: Dataset, tokenizer: PreTrainedTokenizerFast, recipe: Recipe, limit: int = FIT_DOCUMENTS
) -> list[RankedPair]:
    """The first `limit` of `pairs` that have two sentences to choose from.

    Raises UserError if there are none.
    """
    result: list[RankedPair] = []
    for row in track(pairs, "ROUGE of the documents' sentences"):
        source = encode_source(tokenizer, row["document"], recipe)
        if len(source.candidates) > 1:
            rewards = mean_rouge([candidate.text for candidate in source.candidates], row["summary"])
            result.append(RankedPair(source, rewards))
        if len(result) == limit:
            break
    if not result:
        raise UserError("training.objective: no training document has two sentences to choose from.")
    return result


def use_sentence_targets(
    pairs: Dataset, feature_weights: dict[str, float], tokenizer: PreTrainedTokenizerFast, recipe: Recipe
) -> Dataset:
    """`pairs` with the sentence of each document that the features rank first in place of its summary.

    Candidates are the sentences of the part of a document that the model reads. A document without any keeps its
    summary.
    """

    def with_target(row: dict[str, str]) -> dict[str, str]:
        source = encode_source(tokenizer, row["document"], recipe)
        sentences = [candidate.text for candidate in source.candidates]
        best = best_indices(feature_scores(sentences, feature_weights), 1)
        return {"summary": sentences[best[0]] if best else row["summary"]}

    return pairs.map(with_target, writer_batch_size=BATCH)
