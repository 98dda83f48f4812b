"""The identity of a base model: a hash of all files with its weights."""

import hashlib
import shutil

from transformers import AutoModelForSeq2SeqLM

from finetune.provenance import base_model
from finetune.recipe_io import read_recipe
from finetune.training.checkpoints import find_checkpoint


def identity(recipe, folder):
    return base_model(read_recipe(recipe, [f"model.name={folder}"]), AutoModelForSeq2SeqLM.from_pretrained(folder))


def test_one_file_is_known_by_its_hash(tiny_recipe, tiny_base):
    expected = hashlib.sha256((tiny_base / "model.safetensors").read_bytes()).hexdigest()
    assert identity(tiny_recipe, tiny_base).sha256 == expected


def test_any_shard_changes_the_identity_and_so_ends_a_resume(tiny_recipe, tiny_base, tmp_path):
    shutil.copytree(tiny_base, tmp_path / "one")
    (tmp_path / "one/model.safetensors").unlink()
    model = AutoModelForSeq2SeqLM.from_pretrained(tiny_base)
    model.save_pretrained(tmp_path / "one", max_shard_size="100KB")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    assert identity(tiny_recipe, tmp_path / "one").sha256 == identity(tiny_recipe, tmp_path / "two").sha256
    shards = sorted((tmp_path / "two").glob("model-*.safetensors"))
    assert len(shards) > 2
    content = bytearray(shards[1].read_bytes())
    content[-1] ^= 1
    shards[1].write_bytes(content)
    first, second = (identity(tiny_recipe, tmp_path / name) for name in ("one", "two"))
    assert first.sha256 != second.sha256
    checkpoints = tmp_path / ".run.checkpoints"
    find_checkpoint(checkpoints, {"base": first.sha256})
    (checkpoints / "checkpoint-9").mkdir()
    (checkpoints / "checkpoint-9/trainer_state.json").write_text("{}")
    assert find_checkpoint(checkpoints, {"base": first.sha256}) is not None
    assert find_checkpoint(checkpoints, {"base": second.sha256}) is None
