"""The sentence ranker: a linear model of a sentence's features and of the encoder's states of its tokens.

It is saved with the model as sentence_ranker.json. The export puts the encoder's part into the encoder's graph and the
features' weights into the bundle's manifest. Scoring sentences by the encoder is the way of BERTSUM (Liu and Lapata
2019).
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, FiniteFloat, ValidationError
from torch import Tensor
from transformers import PreTrainedModel

from finetune.errors import UserError
from finetune.files import write_json
from precis.text.sentence_features import feature_scores

RANKER_FILE = "sentence_ranker.json"


class SentenceRanker(BaseModel):
    """Weights of the features by name, and of the encoder's states, (d_model,)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    features: dict[str, FiniteFloat]
    encoder: list[FiniteFloat]

    def scores(
        self,
        model: PreTrainedModel,
        input_ids: list[int],
        token_spans: Sequence[tuple[int, int]],
        sentences: list[str],
    ) -> Tensor:
        """The score of each sentence of a document with tokens `input_ids`, (sentences,) in float32.

        `token_spans` are the tokens of each sentence, first and past the last.
        """
        states = sentence_states(model, input_ids, token_spans)
        features = torch.tensor(feature_scores(sentences, self.features), device=states.device)
        return states @ torch.tensor(self.encoder, device=states.device) + features


def sentence_states(model: PreTrainedModel, input_ids: list[int], token_spans: Sequence[tuple[int, int]]) -> Tensor:
    """The mean of the encoder's states of each sentence's tokens, (sentences, d_model) in float32."""
    encoder = model.get_encoder()  # type: ignore[operator]  # transformers types it as a Tensor
    states = encoder(input_ids=torch.tensor([input_ids], device=model.device)).last_hidden_state[0].float()
    return torch.stack([states[first:end].mean(0) for first, end in token_spans])


def read_ranker(folder: str | Path) -> SentenceRanker | None:
    """The sentence ranker in a model's folder; None if there is none, or no such folder. Raises UserError."""
    path = Path(folder) / RANKER_FILE
    if not path.is_file():
        return None
    try:
        return SentenceRanker.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise UserError(f"{path} is no sentence ranker: {str(error).splitlines()[0]}.") from error


def write_ranker(ranker: SentenceRanker, folder: Path) -> None:
    """Writes the ranker into a model's folder."""
    write_json(folder / RANKER_FILE, ranker.model_dump())
