"""Parity on a device: exports, their checks, a comparison with PyTorch on the device, and refusals to fall back.

    python -m benchmarks.parity [--device cuda] [--scratch FOLDER]

Two models: random weights of t5-small's shape, and models/base on Gazette's pairs. Each is exported by `python -m
export RUN --device DEVICE` with all its checks; bundles that pass are compared again with PyTorch on the device.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.export import write_base_run, write_random_run
from benchmarks.peers import PRECISIONS, SHAPES, Setup, error_line
from finetune.files import write_json

ROOT = Path(__file__).parent.parent
DOCUMENTS = {"small": 32, "tiny": 4}  # compared with PyTorch, by shape
CUDA_LIBRARIES = (
    "libcublasLt.so.13", "libcublas.so.13", "libcudart.so.13", "libcurand.so.10", "libcufft.so.12"
)  # fmt: skip
LINK_KEYS = (
    *("link", "documents", "max_abs_logit_difference", "mean_abs_logit_difference", "identical_summaries", "ties"),
    *("token_agreement", "delta", "passed"),
)
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


def measure(setup: Setup, documents: int, keep: Callable[[dict], None]) -> dict[str, dict]:
    """Each model's links by bundle, and the errors if a library is missing; `keep` gets the results so far."""
    from benchmarks import models

    results: dict = {"models": {}, "refusals": {}}
    for name, write in (
        ("t5-small's shape", lambda folder: write_random_run(folder, SHAPES[setup.shape], documents)),
        ("models/base", lambda folder: write_base_run(folder, documents)),
    ):
        row = results["models"][name] = {"bundles": {}}
        folder = setup.folder / f"parity-{len(results['models'])}"
        shutil.rmtree(folder, ignore_errors=True)
        try:
            export_run(write(folder), setup.device, row)
        except Exception as error:  # the other model and the refusals are measured all the same
            row["failed"] = error_line(error)
            print(row["failed"], flush=True)
        keep(results)
    results["refusals"] = refusals(models.ensure_bundle(setup, "fp32"), setup.folder)
    keep(results)
    return results


def export_run(run: Path, device: str, row: dict) -> None:
    """Adds each bundle's links to `row`, or the sentence that the export ended with and its failed checks."""
    # The int8 bundle is for CPUs, and the CPU here only tries what a GPU does.
    precisions = PRECISIONS["cuda"] if device == "cuda" else ("fp32",)
    command = [sys.executable, "-m", "export", str(run), "--device", device, "--precision", *precisions]
    done = subprocess.run(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    print(done.stderr[-4000:], flush=True)
    if done.returncode:
        row["failed"] = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "no message")
        evidence = run / "parity-failed/parity.json"
        if evidence.exists():
            row["evidence"] = json.loads(evidence.read_text())
    for precision in precisions:
        folder = run / ("bundle" if precision == "fp32" else f"bundle-{precision}")
        if (folder / "manifest.json").exists():
            manifest = json.loads((folder / "manifest.json").read_text())
            row["bundles"][precision] = {
                "links": [link_figures(link) for link in manifest["parity"]["links"]],
                "execution_provider": manifest["execution_provider"],
                "node_placement": manifest["node_placement"],
                "kept_in_fp32": len(manifest["kept_in_fp32"]),
                "on_the_device": compare_on_device(run, folder, precision, device),
            }


def link_figures(link: dict) -> dict:
    """The figures of a link that are kept."""
    return {key: link[key] for key in LINK_KEYS if key in link}


def compare_on_device(run: Path, folder: Path, precision: str, device: str) -> dict:
    """The bundle compared with PyTorch in fp32, both on the device."""
    import torch

    from export.checks import load_merged, open_run
    from export.parity.comparison import Comparison
    from export.parity.systems import Onnx, Torch
    from finetune.data.loading import load_pairs
    from finetune.evaluation.scoring import encode
    from precis import Engine

    opened = open_run(run)
    recipe = opened.recipe
    model, tokenizer = load_merged(opened)
    pairs = load_pairs(recipe.data, recipe.training.seed).validation
    count = min(len(pairs), recipe.export.documents)
    documents, references = (list(pairs[column][:count]) for column in ("document", "summary"))
    comparison = Comparison(recipe, encode(tokenizer, documents, recipe), documents, references)
    torch.set_float32_matmul_precision("highest")
    pytorch = Torch(f"PyTorch fp32 on {device}", model.to(device), tokenizer, recipe)
    engine = Engine.load(folder, device=device)
    try:
        onnx = Onnx(f"ONNX {precision} on {device}", engine)
        (link,) = comparison.links([(pytorch, onnx)], pytorch, [precision == "fp32"])
    finally:
        engine.close()
    return link_figures(link.report)


def refusals(bundle: Path, scratch: Path) -> dict[str, dict]:
    """The errors of Engine.load for the device cuda in a process without a GPU, the provider, or CUDA's libraries."""
    results = {"no GPU": load_on_cuda(bundle, {"CUDA_VISIBLE_DEVICES": ""})}
    with _onnxruntime_copy(scratch / "no-provider", without=("libonnxruntime_providers_cuda.so",)) as variables:
        results["no provider library"] = load_on_cuda(bundle, variables)
    with _onnxruntime_copy(scratch / "no-cuda") as variables:
        # The loader stops at these empty files, wherever the real ones are.
        for name in CUDA_LIBRARIES:
            (scratch / "no-cuda" / name).touch()
        variables["LD_LIBRARY_PATH"] = str(scratch / "no-cuda")
        results["no CUDA libraries"] = load_on_cuda(bundle, variables)
    return results


def load_on_cuda(bundle: Path, variables: dict[str, str]) -> dict[str, object]:
    """Whether a process with these environment variables refused to load the bundle, and its message."""
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(bundle)],
        cwd=ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=120,
    )
    message = next((line for line in done.stdout.splitlines() if line.startswith("REFUSED ")), None)
    last = (done.stdout + done.stderr).strip().splitlines()[-1:]
    return {"refused": message is not None, "message": message.removeprefix("REFUSED ") if message else "".join(last)}


@contextmanager
def _onnxruntime_copy(place: Path, without: tuple[str, ...] = ()) -> Iterator[dict[str, str]]:
    """Variables for a process whose ONNX Runtime is a copy in `place`, with no NVIDIA libraries next to it."""
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


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.parity", description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--scratch", type=Path, help="where the runs and bundles are kept")
    parser.add_argument("--output", type=Path, help="file for the results, which are added as they are measured")
    parser.add_argument("--tiny", action="store_true", help="a tiny model and few documents")
    options = parser.parse_args(argv)
    shape = "tiny" if options.tiny else "small"

    def keep(results: dict) -> None:
        if options.output:
            write_json(options.output, results)

    with tempfile.TemporaryDirectory() as temporary:
        setup = Setup(options.scratch or Path(temporary), options.device, len(os.sched_getaffinity(0)), shape)
        setup.folder.mkdir(parents=True, exist_ok=True)
        print(json.dumps(measure(setup, DOCUMENTS[shape], keep)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
