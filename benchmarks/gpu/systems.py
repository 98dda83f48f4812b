"""The systems that take turns on the card, each in a process of its own that answers a command a line.

Commands are ["batch", texts] for one batch of texts of the same length, and ["mixed"] for the mixed load. Started by
benchmarks/gpu/engine.py.
"""

import json
import sys
import time
from pathlib import Path

from benchmarks import peers
from benchmarks.engine import texts
from benchmarks.gpu import models
from benchmarks.gpu.parts import sentence
from benchmarks.gpu.sizes import Sizes, sizes

MIXED_LIMIT = 1024  # tokens, of the bundle under mixed load, whose longest text has 901
TOGETHER = 128  # texts in a static batch of the mixed load


class Precis(peers.Precis):
    def __init__(self, scratch: Path, sizes: Sizes, device: str, precision: str) -> None:
        from precis import Engine

        def load(limit: int) -> Engine:
            return Engine.load(models.bundle(scratch, sizes, precision, device, limit), device=device, rows=sizes.rows)

        self.engine, self._long, self._load = load(512), None, load

    def mixed(self, count: int) -> dict[str, float]:
        """All at once, and then arriving at 80% of that rate, joining the running batch or in static ones."""
        from benchmarks import mixed

        if self._long is None:
            self._long = self._load(MIXED_LIMIT)
        work = mixed.calls(count, 2)
        mixed.capacity(self._long, work)
        rate = mixed.capacity(self._long, work)
        times = mixed.arrivals(count, 0.8 * rate, 3)
        return {
            "requests_per_second": round(rate, 1),
            "continuous": mixed.continuous(self._long, work, times),
            "static": mixed.static(self._long, work, times),
        }


class _Padded(peers._Padded):
    def mixed(self, count: int) -> dict[str, float]:
        """All at once in static batches, each as long as its longest: texts of like length together."""
        from benchmarks import mixed

        work = sorted(mixed.calls(count, 2), key=lambda call: len(call.text.split()))
        batches = [work[first : first + TOGETHER] for first in range(0, count, TOGETHER)]
        ids = [[[3, *(int(word[1:]) for word in call.text.split()), 1] for call in batch] for batch in batches]
        seconds = 0.0
        for _ in range(2):  # the first warms up
            began = time.perf_counter()
            for batch, rows in zip(batches, ids, strict=True):
                self.run(rows, max(call.generation.max_new_tokens for call in batch), 1)
            seconds = time.perf_counter() - began
        return {"requests_per_second": round(count / seconds, 1)}


class PyTorch(_Padded):
    def __init__(self, scratch: Path, sizes: Sizes, device: str, precision: str) -> None:
        import torch
        from transformers import AutoModelForSeq2SeqLM

        kind = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}[precision.split()[0]]
        self.model = AutoModelForSeq2SeqLM.from_pretrained(models.model(scratch, sizes), dtype=kind).to(device).eval()


class Compiled(PyTorch):
    """A static cache, for which `generate` compiles its steps, and not the first, which makes the cache.

    Compiled with the first, as the whole forward would be, the cache is what a CUDA graph returned, and the next run
    overwrites it.
    """

    mixed = None  # every new shape would be compiled again

    def __init__(self, scratch: Path, sizes: Sizes, device: str, precision: str) -> None:
        import torch

        super().__init__(scratch, sizes, device, precision)
        torch._dynamo.config.cache_size_limit = 64  # each batch is a shape of its own
        self.model.generation_config.cache_implementation = "static"
        self._compile_as("reduce-overhead" if device == "cuda" else "default")

    def _compile_as(self, mode: str) -> None:
        from transformers import CompileConfig

        self._mode = mode
        config = CompileConfig(mode=mode, dynamic=False)
        config._compile_all_devices = True
        self.model.generation_config.compile_config = config

    def run(self, inputs: list[list[int]], new: int, beams: int) -> list[int]:
        import torch

        try:
            return super().run(inputs, new, beams)
        except RuntimeError as error:
            if self._mode == "default":
                raise
            # Not every model can be captured as CUDA graphs; compiled it is all the same.
            print("without CUDA graphs:", sentence(error), file=sys.stderr, flush=True)
            torch._dynamo.reset()
            for kept in ("_cache", "_compiled_call"):  # of the graphs that have failed
                self.model.__dict__.pop(kept, None)
            self._compile_as("default")
            return super().run(inputs, new, beams)


class Optimum(_Padded):
    def __init__(self, scratch: Path, sizes: Sizes, device: str, precision: str) -> None:
        from optimum.exporters.onnx import main_export
        from optimum.onnxruntime import ORTModelForSeq2SeqLM

        made = scratch / f"optimum-{precision}"
        if not (made / "config.json").exists():
            source = str(models.model(scratch, sizes))
            task = "text2text-generation-with-past"
            main_export(source, made, task=task, device=device, dtype=precision, do_validation=False)
        import onnxruntime

        cuda = device == "cuda"
        if cuda:
            onnxruntime.preload_dlls()
        provider = "CUDAExecutionProvider" if cuda else "CPUExecutionProvider"
        self.model = ORTModelForSeq2SeqLM.from_pretrained(made, provider=provider, use_io_binding=True)
        if cuda and provider not in self.model.providers:
            raise RuntimeError(f"ONNX Runtime could not start {provider} for Optimum.")


class CTranslate2(peers.CTranslate2):
    def __init__(self, scratch: Path, sizes: Sizes, device: str, precision: str) -> None:
        import ctranslate2

        kind = {"fp16": "float16", "fp32": "float32"}[precision]
        made = scratch / f"ctranslate2-{kind}"
        if not (made / "model.bin").exists():
            converter = ctranslate2.converters.TransformersConverter(str(models.model(scratch, sizes)))
            converter.convert(str(made), quantization=kind, force=True)
        self.translator = ctranslate2.Translator(str(made), device=device, compute_type=kind)

    mixed = _Padded.mixed


KINDS = {kind.__name__: kind for kind in (Precis, PyTorch, Compiled, Optimum, CTranslate2)}
# Groups that are measured one after the other: what compiles for minutes comes when the others have their figures.
ON_CARD = (
    (
        *("Precis fp16", "Precis fp32", "PyTorch fp16", "PyTorch bf16", "PyTorch fp32"),
        *("Optimum fp16", "Optimum fp32", "CTranslate2 fp16"),
    ),
    ("Compiled fp16",),
)
ON_PROCESSOR = (("Precis fp32", "PyTorch fp32", "Optimum fp32", "CTranslate2 fp32"),)


def serve(name: str, scratch: Path, device: str) -> None:
    """The other side of benchmarks.engine.System. The first answer comes after every batch has been seen twice."""
    amounts = sizes(device)
    kind, _, precision = name.partition(" ")
    try:
        system = KINDS[kind](scratch, amounts, device, precision)
        for batch in amounts.batches:
            for _ in range(2):
                system.run(texts(batch, amounts.source), amounts.new, 1)
    except Exception as error:  # whatever it is, the others go on and this is told
        print(json.dumps({"failed": sentence(error)}), flush=True)
        return
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        command, *given = json.loads(line)
        try:
            if command == "mixed":
                answer = system.mixed(amounts.mixed) if system.mixed else {"left_out": "each shape compiles anew"}
            else:
                inputs = texts(*given, amounts.source)
                began = time.perf_counter()
                found = system.run(inputs, amounts.new, 1)
                answer = {"seconds": time.perf_counter() - began, "as_asked": found == [amounts.new] * len(inputs)}
        except Exception as error:
            answer = {"failed": sentence(error)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    serve(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
