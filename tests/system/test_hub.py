"""The XSum recipe against a stand-in for the hub: names, revisions and splits, and the message for a wrong name."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from safetensors.numpy import load_file

from tests.conftest import ROOT, gazette
from tests.support.hub import HubStandIn
from tests.support.models import tiny_t5

MODEL, DATA = "google-t5/t5-small", "EdinburghNLP/xsum"
ROWS = {"train": 30, "validation": 12, "test": 5}  # different, so that the count shows which split was read
SMALL = [
    "training.max_steps=2",
    "training.batch_size=2",
    "data.max_document_tokens=64",
    "generation.max_new_tokens=8",
]
LOAD = f"""
from finetune.data.loading import load_pairs
from finetune.recipe import Data
pairs = load_pairs(Data(name="{DATA}", train="train", validation="validation"), seed=0)
print(pairs.revision, len(pairs.train))
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    folder = tiny_t5(tmp_path_factory.mktemp("hub") / "t5", "v1.0")
    # The hub's own t5-small has a pickled checkpoint next to the safetensors file; it must not be loaded.
    (folder / "pytorch_model.bin").write_bytes(b"a pickle that could run code")
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Gazette pairs in the columns of XSum and the files of the hub's Parquet conversion."""
    folder = tmp_path_factory.mktemp("hub") / "xsum"
    for split, count in ROWS.items():
        rows = gazette("train" if split == "train" else "validation")[:count]
        table = pd.DataFrame(rows)[["document", "summary", "id"]]
        table["document"] = table["document"].str[:300]
        (folder / f"default/{split}").mkdir(parents=True)
        table.to_parquet(folder / f"default/{split}/0000.parquet", index=False)
    return folder


@pytest.fixture
def hub(model, data):
    with HubStandIn({"models": {MODEL: model}, "datasets": {DATA: data}}) as running:
        yield running


def finetune(hub: HubStandIn, home: Path, *overrides: str) -> subprocess.CompletedProcess:
    """Runs the command in a process of its own, with the stand-in as its hub and an empty cache in `home`."""
    return python(hub, home, "-m", "finetune", "recipes/t5-small-xsum.yaml", *SMALL, *overrides)


def python(hub: HubStandIn, home: Path, *arguments: str) -> subprocess.CompletedProcess:
    # The test suite sets HF_HUB_OFFLINE, and caches have variables besides HF_HOME.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "TRANSFORMERS_"))}
    settings = {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_XET": "1",
        "NO_PROXY": "127.0.0.1",
    }
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment | settings, capture_output=True, text=True, timeout=300)


def test_xsum_recipe_trains_on_model_and_data_set_of_the_hub(hub, model, tmp_path):
    output = tmp_path / "run"
    done = finetune(hub, tmp_path / "home", f"output={output}")
    assert done.returncode == 0, done.stderr
    assert json.loads((output / "rouge.json").read_text())["documents"] == ROWS["validation"]
    info = json.loads((output / "run.json").read_text())
    assert info["base_model"]["name"] == MODEL
    assert info["base_model"]["revision"] == hub.commit("models", MODEL)
    assert (info["data"]["name"], info["data"]["revision"]) == (DATA, "refs/convert/parquet")
    assert info["data"]["commit"] == hub.commit("datasets", DATA)
    assert (info["data"]["train_pairs"], info["data"]["validation_pairs"]) == (ROWS["train"], ROWS["validation"])
    served, merged = (load_file(folder / "model.safetensors") for folder in (model, output / "merged"))
    assert served.keys() == merged.keys()
    assert any((served[name] != merged[name]).any() for name in served), "training changed nothing"
    assert not [path for _, path, status in hub.requests if status == 501], "unknown to the stand-in"
    fetched = [path for method, path, status in hub.requests if method == "GET" and status == 200]
    assert any(path.endswith("/model.safetensors") for path in fetched)
    assert not [path for path in fetched if path.endswith((".bin", ".pt", ".pth", ".pkl"))]


@pytest.mark.slow
def test_loading_script_is_replaced_by_the_parquet_branch(model, data, tmp_path):
    with HubStandIn({"models": {MODEL: model}, "datasets": {DATA: data}}, scripts={DATA}) as hub:
        done = finetune(hub, tmp_path / "home", "--check", f"output={tmp_path / 'run'}", "data.revision=null")
        assert done.returncode == 0, done.stderr
        assert any(path.endswith("/xsum.py") and status == 200 for _, path, status in hub.requests)
        # datasets now has it in its cache under the same name, and would read it from there.
        again = python(hub, tmp_path / "home", "-c", LOAD)
        assert again.stdout.split() == ["refs/convert/parquet", str(ROWS["train"])], again.stderr
    assert f"| pairs | {ROWS['train']} | {ROWS['validation']} |" in (tmp_path / "run.check/data.md").read_text()


def test_subset_is_read_alone_and_has_to_be_named(data, tmp_path):
    """load_dataset would read the Parquet files of all subsets as one."""
    for name in ("de", "en"):
        shutil.copytree(data / "default", tmp_path / "set" / name)
    code = f"""
from finetune.data.loading import load_pairs
from finetune.errors import UserError
from finetune.recipe import Data
for subset in ("de", None, "fr"):
    data = Data(name="{DATA}", revision="refs/convert/parquet", subset=subset, train="train", validation="validation")
    try:
        print(len(load_pairs(data, seed=0).train))
    except UserError as error:
        print(error)
"""
    with HubStandIn({"models": {}, "datasets": {DATA: tmp_path / "set"}}) as hub:
        done = python(hub, tmp_path / "home", "-c", code)
    refusal = f"data.subset: {DATA} has the subsets de, en; name one of them."
    assert done.stdout.splitlines() == [str(ROWS["train"]), refusal, refusal], done.stderr


@pytest.mark.slow  # two processes that import everything
def test_cached_set_is_read_without_a_network_and_recorded_as_such(hub, tmp_path):
    code = LOAD.replace("pairs.revision, ", "pairs.revision, pairs.commit, ")
    code = code.replace('train="train"', 'revision="refs/convert/parquet", train="train"')
    commit = hub.commit("datasets", DATA)
    online = python(hub, tmp_path, "-c", code)
    assert online.stdout.strip() == f"refs/convert/parquet {commit} {ROWS['train']}", online.stderr
    offline = python(hub, tmp_path, "-c", f"import os; os.environ['HF_HUB_OFFLINE'] = '1'\n{code}")
    expected = f"from cache, revision refs/convert/parquet {commit} {ROWS['train']}"
    assert offline.stdout.strip() == expected, offline.stderr


@pytest.mark.parametrize(
    "key", ["model.name", *(pytest.param(key, marks=pytest.mark.slow) for key in ("data.name", "data.revision"))]
)
def test_name_that_the_hub_lacks_is_reported_in_one_sentence(hub, tmp_path, key):
    name = "nobody" if key == "data.revision" else "nobody/nothing"
    output = tmp_path / "run"
    done = finetune(hub, tmp_path / "home", f"output={output}", f"{key}={name}")
    assert done.returncode == 1, done.stderr
    sentence = done.stderr.splitlines()[-1]
    assert sentence.startswith(f"{key}: "), done.stderr
    assert name in sentence
    assert "Traceback" not in done.stderr
    assert {path.name for path in tmp_path.iterdir()} <= {"home"}
    assert {401, 404} & {status for _, path, status in hub.requests if name in path}, "the hub was not asked"
