"""Fixtures: models and bundles, runs by the real commands, a service started for real; which environment runs what."""

import json
import os
import urllib.parse
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks.server import START, Server
from tests.support.browser import browser, visit  # noqa: F401  (fixtures)
from tests.support.models import ROOT, built, exported, tiny_t5

TESTS = Path(__file__).parent
GAZETTE = ROOT / "data/gazette"
EMBEDDED = ROOT / "artifacts/embedded"

os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Tiny models gain nothing from torch's threads, which spin while they wait and so take the cores from other workers.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")


# What imports torch or the packages that do, and what imports Gradio: each environment has one of them.
TRAINING = [
    "benchmarks", "export", "finetune", "research", "precis/decoding",
    "precis/runtime/test_model_runner_cpu.py", "precis/runtime/test_model_runner_cuda.py",
    "precis/runtime/test_sentence_scorer.py", "precis/test_extraction.py",
    "precis/test_sentence_ranker.py", "precis/text/test_detokenizer.py", "system/test_embedded.py",
    "system/test_hub.py",
]  # fmt: skip
SERVING = [
    "bento", "system/test_dashboard.py", "system/test_deploy.py", "system/test_ship.py", "system/test_tracing.py",
]  # fmt: skip
collect_ignore = (SERVING if find_spec("gradio") is None else []) + (TRAINING if find_spec("torch") is None else [])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks tests: `training` needs .venv, `embedded` what make model builds, `api` only a running service."""
    training = [TESTS / name for name in TRAINING]
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        if "pair" in fixtures or any(item.path.is_relative_to(path) for path in training):
            item.add_marker("training")
        if "embedded" in fixtures:
            item.add_marker("embedded")
        if "service" in fixtures and "checkout" not in fixtures:
            item.add_marker("api")


def gazette(split: str) -> list[dict[str, str]]:
    """The rows of one Gazette split."""
    return [json.loads(line) for line in (GAZETTE / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()]


def write_jsonl(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def tiny_recipe(tmp_path_factory) -> Path:
    """A recipe for a tiny model on a hundred-odd short Gazette pairs."""
    return built("tiny_recipe", tmp_path_factory.mktemp("recipe"))


@pytest.fixture(scope="session")
def tiny_base(tiny_recipe) -> Path:
    """The recipe's model."""
    return tiny_recipe.parent / "tiny"


@pytest.fixture(scope="session")
def tiny_run(tiny_recipe, tmp_path_factory) -> Path:
    """A whole run of the tiny recipe, fine-tuned and exported."""
    return built("tiny_run", tiny_recipe, tmp_path_factory.mktemp("artifacts") / "tiny")


@pytest.fixture(scope="session")
def embedded() -> Path:
    """The run of the embedded default, which `make test` builds before it starts pytest."""
    assert (EMBEDDED / "bundle/manifest.json").is_file(), "run make model first"
    return EMBEDDED


class ExternalServer:
    """A service that was started outside pytest: PRECIS_URL is its address, PRECIS_LOG the file with its log."""

    def __init__(self) -> None:
        self.url = os.environ["PRECIS_URL"].rstrip("/")
        self.port = urllib.parse.urlsplit(self.url).port
        self.log = Path(os.environ["PRECIS_LOG"])


@pytest.fixture(scope="session")
def served_bundle(embedded) -> Path:
    """The bundle that `service` serves."""
    return Path(os.environ.get("PRECIS_BUNDLE") or embedded / "bundle")


@pytest.fixture(scope="session")
def service(served_bundle, tmp_path_factory):
    """`python -m bento` from the source folder, or the service at PRECIS_URL."""
    if "PRECIS_URL" in os.environ:
        yield ExternalServer()
        return
    home = tmp_path_factory.mktemp("service")
    running = Server(START, ROOT, served_bundle, home)
    try:
        running.wait_until_ready()
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="session", params=["v1.0", "v1.1", "mt5", "base"])
def pair(request, tmp_path_factory):
    """A model in PyTorch with its tokenizer, and the engine on its bundle."""
    import torch
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    from precis import Engine

    folder = tmp_path_factory.mktemp("pair")
    source = ROOT / "models/base" if request.param == "base" else tiny_t5(folder / "model", request.param)
    model = AutoModelForSeq2SeqLM.from_pretrained(source, dtype=torch.float32).eval()
    engine = Engine.load(exported(source, folder), threads=2)
    yield model, AutoTokenizer.from_pretrained(source), engine
    engine.close()


@pytest.fixture(scope="session")
def bundle(tmp_path_factory) -> Path:
    """The base in fp32."""
    return built("base_bundle", tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="session")
def int8_bundle(tmp_path_factory) -> Path:
    """The base in int8."""
    return built("int8_bundle", tmp_path_factory.mktemp("base-int8"))


@pytest.fixture(scope="session")
def static_bundle(tmp_path_factory) -> Path:
    """The base in fp32 with static graphs, as for GPUs."""
    return built("static_bundle", tmp_path_factory.mktemp("base-static"))


@pytest.fixture(scope="session")
def engine(bundle):
    """The base in fp32, loaded."""
    from precis import Engine

    loaded = Engine.load(bundle)
    yield loaded
    loaded.close()
