"""Part parity: exports for the device, their chains against PyTorch, there and on the card, and refusals to fall back.

Two models: random weights of t5-small's shape, and models/base on Gazette's pairs. Each is exported by `python -m
export RUN --device DEVICE` with its whole gate; what passed is compared again with PyTorch on the device.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.gpu.models import bundle, precisions
from benchmarks.gpu.parts import sentence
from benchmarks.gpu.sizes import Sizes

ROOT = Path(__file__).parents[2]
GAZETTE = ROOT / "data/gazette"
CUDA = ("libcublasLt.so.13", "libcublas.so.13", "libcudart.so.13", "libcurand.so.10", "libcufft.so.12")
TOLD = ("max_abs_logit_difference", "mean_abs_logit_difference", "identical_summaries", "ties", "token_agreement")
LOAD = """
import sys
from precis import Engine, EngineError
try:
    Engine.load(sys.argv[1], device="cuda").close()
except EngineError as error:
    print("REFUSED", " ".join(str(error).split()))
else:
    print("LOADED")
"""


def measure(sizes: Sizes, device: str, scratch: Path, keep: Callable) -> None:
    """Each model's links by bundle, and what a missing library is answered with."""
    found: dict = {"models": {}, "refusals": {}}
    for name, write in (("t5-small's shape", _random), ("models/base", _base)):
        told = found["models"][name] = {}
        try:
            _exported(write(scratch, sizes), device, told)
        except Exception as error:  # the other model, and the refusals, are measured all the same
            told["failed"] = sentence(error)
            print(told["failed"], flush=True)
        keep(found)
    found["refusals"] = refusals(bundle(scratch, sizes, "fp32", device), scratch)
    keep(found)


def _random(scratch: Path, sizes: Sizes) -> Path:
    from benchmarks.export import write_run

    folder = scratch / "random"
    shutil.rmtree(folder, ignore_errors=True)
    return write_run(folder, sizes.shape, sizes.documents)


def _base(scratch: Path, sizes: Sizes) -> Path:
    from benchmarks.export import write_run_of
    from finetune.recipe_io import parse_recipe

    folder = scratch / "base"
    shutil.rmtree(folder, ignore_errors=True)
    recipe = parse_recipe(
        {
            "output": str(folder),
            "model": {"name": str(ROOT / "models/base")},
            "data": {split: str(GAZETTE / f"{split}.jsonl") for split in ("train", "validation")},
            "export": {"documents": sizes.documents, "engine_documents": 2 * sizes.documents},
        }
    )
    return write_run_of(recipe, folder)


def _exported(run: Path, device: str, found: dict) -> None:
    """What the export's gate says of each bundle, or the sentence with which it ended and how far the links held."""
    wanted = precisions(device)
    command = [sys.executable, "-m", "export", str(run), "--device", device, "--precision", *wanted]
    done = subprocess.run(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    print(done.stderr[-4000:], flush=True)
    if done.returncode:
        found["failed"] = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "no word")
        evidence = run / "parity-failed/parity.json"
        if evidence.exists():
            found["evidence"] = json.loads(evidence.read_text())
    for precision in wanted:
        folder = run / ("bundle" if precision == "fp32" else f"bundle-{precision}")
        if (folder / "manifest.json").exists():
            manifest = json.loads((folder / "manifest.json").read_text())
            found[precision] = {
                "links": [_told(link) for link in manifest["parity"]["links"]],
                "execution_provider": manifest["execution_provider"],
                "node_placement": manifest["node_placement"],
                "kept_in_fp32": len(manifest["kept_in_fp32"]),
                "on_the_device": _on_the_device(run, folder, precision, device),
            }


def _told(link: dict) -> dict:
    return {key: link[key] for key in ("link", "documents", *TOLD, "delta", "passed") if key in link}


def _on_the_device(run: Path, folder: Path, precision: str, device: str) -> dict:
    """The bundle beside PyTorch in fp32, both on the device."""
    import torch

    from export.checks import load_merged, open_run
    from export.parity.comparison import Comparison
    from export.parity.systems import EngineSystem, PyTorchSystem
    from finetune.data.loading import load_pairs
    from finetune.data.tokenizing import encode
    from precis import Engine

    opened = open_run(run)
    recipe = opened.recipe
    model, tokenizer = load_merged(opened)
    pairs = load_pairs(recipe.data, recipe.training.seed).validation
    count = min(len(pairs), recipe.export.documents)
    documents, references = (list(pairs[column][:count]) for column in ("document", "summary"))
    comparison = Comparison(recipe, encode(tokenizer, documents, recipe), documents, references)
    torch.set_float32_matmul_precision("highest")
    pytorch = PyTorchSystem(f"PyTorch fp32 on {device}", model.to(device), tokenizer, recipe)
    engine = Engine.load(folder, device=device)
    try:
        onnx = EngineSystem(f"ONNX {precision} on {device}", engine)
        (link,) = comparison.compare([(pytorch, onnx)], pytorch, exact=precision == "fp32")
    finally:
        engine.close()
    return _told(link.report.model_dump(mode="json"))


def refusals(folder: Path, scratch: Path) -> dict[str, dict]:
    """What Engine.load says for the device cuda in a process that lacks a card, the provider, or CUDA's libraries."""
    found = {"no card": _refused(folder, {"CUDA_VISIBLE_DEVICES": ""})}
    with _onnxruntime(scratch / "no-provider", without=("libonnxruntime_providers_cuda.so",)) as variables:
        found["no provider library"] = _refused(folder, variables)
    with _onnxruntime(scratch / "no-cuda") as variables:
        # The loader stops at these, wherever the real ones may lie.
        for name in CUDA:
            (scratch / "no-cuda" / name).touch()
        found["no CUDA libraries"] = _refused(folder, {**variables, "LD_LIBRARY_PATH": str(scratch / "no-cuda")})
    return found


def _refused(folder: Path, variables: dict[str, str]) -> dict:
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(folder)],
        cwd=ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=120,
    )
    said = next((line for line in done.stdout.splitlines() if line.startswith("REFUSED ")), None)
    last = (done.stdout + done.stderr).strip().splitlines()[-1:]
    return {"refused": said is not None, "said": said.removeprefix("REFUSED ") if said else "".join(last)}


@contextmanager
def _onnxruntime(place: Path, without: tuple[str, ...] = ()) -> Iterator[dict[str, str]]:
    """Variables for a process whose ONNX Runtime lies in `place`, with no libraries of NVIDIA's beside it."""
    import onnxruntime

    real, copy = Path(onnxruntime.__file__).parent, place / "onnxruntime"
    shutil.rmtree(place, ignore_errors=True)
    (copy / "capi").mkdir(parents=True)
    for folder in (Path(), Path("capi")):
        for entry in (real / folder).iterdir():
            if entry.name not in ("capi", *without):
                (copy / folder / entry.name).symlink_to(entry)
    paths = [str(place), *filter(None, [os.environ.get("PYTHONPATH")])]
    try:
        yield {"PYTHONPATH": os.pathsep.join(paths)}
    finally:
        shutil.rmtree(place, ignore_errors=True)
