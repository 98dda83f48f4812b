"""Fixtures: tiny random T5s of both shapes, a run made of one by the real commands, and a service started for real."""

import json
import os
import urllib.parse
from pathlib import Path

import pytest

from benchmarks.server import START, Server
from tests.support.browser import browser, visit  # noqa: F401  (fixtures)

ROOT = Path(__file__).parent.parent
GAZETTE = ROOT / "data/gazette"
EMBEDDED = ROOT / "artifacts/embedded"

os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Tiny models gain nothing from torch's threads, which spin while they wait and so take the cores from other workers.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks tests by their fixtures: `embedded` needs what make model builds, `api` only a running service."""
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
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


def tiny_t5(folder: Path, shape: str) -> Path:
    """A random T5 with our tokenizer.

    "v1.0" (ReLU, tied), "v1.1" (gated, untied, heads x d_kv != d_model) or "mt5" (likewise, a class of its own).
    """
    import torch
    from transformers import AutoTokenizer, MT5Config, MT5ForConditionalGeneration, T5Config, T5ForConditionalGeneration

    torch.manual_seed(7)
    tokenizer = AutoTokenizer.from_pretrained(ROOT / "models/base")
    gated = shape != "v1.0"
    configuration, model = (
        (MT5Config, MT5ForConditionalGeneration) if shape == "mt5" else (T5Config, T5ForConditionalGeneration)
    )
    config = configuration(
        vocab_size=len(tokenizer),
        d_model=32,
        d_kv=16 if gated else 8,
        num_heads=4,
        d_ff=48,
        num_layers=3 if gated else 2,
        num_decoder_layers=2,
        feed_forward_proj="gated-gelu" if gated else "relu",
        tie_word_embeddings=not gated,
        decoder_start_token_id=0,
    )
    model(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory) -> Path:
    return tiny_t5(tmp_path_factory.mktemp("models") / "tiny", "v1.0")


@pytest.fixture(scope="session")
def tiny_recipe(tiny_base, tmp_path_factory) -> Path:
    """A recipe for the tiny model on a hundred-odd short Gazette pairs."""
    folder = tmp_path_factory.mktemp("recipe")
    rows = [{"document": row["document"][:300], "summary": row["summary"]} for row in gazette("train")]
    write_jsonl(folder / "train.jsonl", rows[:40])
    write_jsonl(folder / "validation.jsonl", rows[40:64])
    recipe = folder / "tiny.yaml"
    recipe.write_text(
        f"""
model: {{name: {tiny_base}}}
data: {{train: {folder}/train.jsonl, validation: {folder}/validation.jsonl, max_document_tokens: 64}}
lora: {{rank: 4}}
training: {{max_steps: 3, batch_size: 4}}
generation: {{max_new_tokens: 12, no_repeat_ngram_size: 3}}
"""
    )
    return recipe


@pytest.fixture(scope="session")
def tiny_run(tiny_recipe, tmp_path_factory) -> Path:
    """A whole run of the tiny recipe, fine-tuned and exported by the commands' own entry points."""
    from export.__main__ import main as export
    from finetune.__main__ import main as finetune

    run = tmp_path_factory.mktemp("artifacts") / "tiny"
    assert finetune([str(tiny_recipe), f"output={run}"]) == 0
    assert export([str(run), "--precision", "fp32"]) == 0
    return run


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
    return exported(ROOT / "models/base", tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="session")
def int8_bundle(tmp_path_factory) -> Path:
    """The base in int8."""
    from transformers import AutoTokenizer

    from tests.support.engines import LIMIT

    tokenizer = AutoTokenizer.from_pretrained(ROOT / "models/base")
    texts = ["summarize: " + row["document"] for row in gazette("train")[:8]]
    ids = tokenizer(texts, truncation=True, max_length=LIMIT).input_ids
    return exported(ROOT / "models/base", tmp_path_factory.mktemp("base-int8"), ids)


@pytest.fixture(scope="session")
def static_bundle(tmp_path_factory) -> Path:
    """The base in fp32 with static graphs, as for GPUs."""
    return exported(ROOT / "models/base", tmp_path_factory.mktemp("base-static"), static=True)


def exported(model: Path, folder: Path, calibration: list[list[int]] | None = None, static: bool = False) -> Path:
    """A bundle of the model under `folder`, without parity checks."""
    from export.graphs.trace import trace, write_graphs
    from export.precision.int8 import quantize_graphs
    from tests.support.engines import seal

    bundle = folder / "bundle"
    bundle.mkdir()
    graphs = trace(model, calibration, static)
    write_graphs(graphs if calibration is None else quantize_graphs(graphs), model, bundle)
    seal(bundle)
    return bundle


@pytest.fixture(scope="session")
def engine(bundle):
    """The base in fp32, loaded."""
    from precis import Engine

    loaded = Engine.load(bundle)
    yield loaded
    loaded.close()


KEY = "a-key-for-the-tests"


@pytest.fixture(scope="session")
def limited(embedded, tmp_path_factory):
    """A service with small limits, an API key and no page."""
    home = tmp_path_factory.mktemp("limited")
    (home / "keys").write_text(KEY + "\n")
    variables = {
        "PRECIS_API_KEY_FILE": str(home / "keys"),
        "PRECIS_CORS_ORIGINS": "https://shop.example",
        "PRECIS_ROWS": "8",
        "PRECIS_MAX_WAITING_TOKENS": "4000",
        "PRECIS_STREAMS_PER_CLIENT": "2",
        "PRECIS_BODY_SECONDS": "1.5",
        "PRECIS_TIMEOUT_SECONDS": "120",
    }
    running = Server(START, ROOT, embedded / "bundle", home, variables)
    try:
        running.wait_until_ready()
        yield running
    finally:
        running.stop()
