"""The sentence ranker of a model: scores by hand, and its file."""

import pytest
import torch

from finetune.errors import UserError
from finetune.evaluation.sentence_ranker import RANKER_FILE, SentenceRanker, read_ranker, sentence_states, write_ranker
from finetune.recipe import Model
from finetune.training.model import load_base
from precis.text.sentence_features import FEATURES
from tests.conftest import tiny_t5


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    loaded, _ = load_base(Model(name=str(tiny_t5(tmp_path_factory.mktemp("ranker") / "model", "v1.1"))))
    return loaded.eval()


@torch.inference_mode()
def test_score_is_mean_state_times_weights_plus_features(model):
    tokens, spans = [5, 6, 7, 8, 9, 1], [(0, 2), (2, 5)]
    states = model.encoder(input_ids=torch.tensor([tokens])).last_hidden_state[0]
    means = torch.stack([(states[0] + states[1]) / 2, (states[2] + states[3] + states[4]) / 3])
    assert sentence_states(model, tokens, spans).flatten().tolist() == pytest.approx(means.flatten().tolist(), abs=1e-6)
    weights = torch.linspace(-1, 1, states.shape[1])
    ranker = SentenceRanker(features={"first": 0.5, "question": 2.0}, encoder=weights.tolist())
    expected = means @ weights + torch.tensor([0.5, 2.0])
    scores = ranker.scores(model, tokens, spans, ["It rained.", "Did it?"])
    assert scores.tolist() == pytest.approx(expected.tolist(), abs=1e-5)


def test_file_round_trip_and_faults(tmp_path):
    assert read_ranker(tmp_path) is None
    assert read_ranker("google-t5/t5-small") is None
    ranker = SentenceRanker(features=dict.fromkeys(FEATURES, 0.25), encoder=[1.0, -2.5])
    write_ranker(ranker, tmp_path)
    assert read_ranker(tmp_path) == ranker
    for content in ("{", '{"features": {}}', '{"features": {"first": "x"}, "encoder": []}'):
        (tmp_path / RANKER_FILE).write_text(content)
        with pytest.raises(UserError, match="is no sentence ranker"):
            read_ranker(tmp_path)
