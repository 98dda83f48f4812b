"""The engine and its peers behind one interface: token ids in, the number of new tokens of each text out.

A peer's name is a class and a precision, such as "PyTorch fp16". Imports of libraries are local, since each peer runs
in a process that loads only its own.
"""

import importlib
import random
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

END = 1
VOCABULARY = 32128
SPECIAL = ("<pad>", "</s>", "<unk>")
# What differs from t5-small, as T5Config names it. "tiny" shows that everything runs.
SHAPES = {"small": {}, "tiny": {"d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 2, "num_heads": 4}}
INPUT_LIMIT = 512  # tokens
MIXED_LIMIT = 1024  # tokens, under mixed load, whose longest text has 901
PRECISIONS = {"cpu": ("fp32", "int8"), "cuda": ("fp16", "fp32")}  # of our bundles
COMPUTE_TYPES = {"fp32": "float32", "fp16": "float16", "int8": "int8"}  # as CTranslate2 calls them


def word(token: int) -> str:
    """The benchmark tokenizer's word for a token id."""
    return SPECIAL[token] if token < len(SPECIAL) else f"w{token}"


def token_ids(count: int, length: int = 400) -> list[list[int]]:
    """`count` random texts of `length` token ids as the model reads them: prefix, words, end."""
    draw = random.Random(1)
    return [[3, *(draw.randrange(10, 32000) for _ in range(length - 2)), 1] for _ in range(count)]


@dataclass(frozen=True)
class Setup:
    """What all systems of a run share. `rows` sequences are decoded at once by our engine (None: its default)."""

    folder: Path
    device: str
    threads: int
    shape: str = "small"
    rows: int | None = None

    @property
    def model(self) -> Path:
        """The folder of the random model."""
        return self.folder / f"model-{self.shape}"

    def bundle(self, precision: str, limit: int = INPUT_LIMIT) -> Path:
        """The folder of one of its bundles."""
        return self.folder / f"bundle-{self.shape}-{self.device}-{precision}-{limit}"


class Precis:
    """Our engine; it gets the texts as words, so that tokenizing is in the time."""

    def __init__(self, setup: Setup, precision: str) -> None:
        from precis import Engine

        folder = setup.bundle(precision)
        self.engine = Engine.load(folder, device=setup.device, threads=setup.threads, rows=setup.rows)
        self._seconds, self._began, self._active, self._lock = 0.0, 0.0, 0, threading.Lock()
        if setup.device == "cpu":
            model = self.engine._model
            for encoder in {model.encoder, model.parallel_encoder}:
                self._count_time(encoder, "run")
            self._count_time(model.decoder, "run_with_iobinding")

    def _count_time(self, session, method: str) -> None:
        call = getattr(session, method)

        def timed(*arguments):
            with self._lock:
                self._began = self._began if self._active else time.perf_counter()
                self._active += 1
            try:
                return call(*arguments)
            finally:
                with self._lock:
                    self._active -= 1
                    self._seconds += 0.0 if self._active else time.perf_counter() - self._began

        setattr(session, method, timed)

    def onnxruntime_seconds(self) -> float:
        """Seconds so far in which at least one thread was in ONNX Runtime; counted on CPUs only."""
        return self._seconds

    def run(self, inputs: list[list[int]], new: int, beams: int) -> list[int]:
        from precis import GenerationParams

        texts = [" ".join(word(token) for token in ids[1:-1]) for ids in inputs]
        params = GenerationParams(max_new_tokens=new, min_new_tokens=new, num_beams=beams, passthrough=False)
        # A random model also writes pad tokens, which a summary leaves out.
        return [new if summary.finish_reason == "length" else -1 for summary in self.engine.generate(texts, params)]


class _Padded:
    """What the peers that pad a batch have in common."""

    def run(self, inputs: list[list[int]], new: int, beams: int) -> list[int]:
        import torch

        width = max(map(len, inputs))
        ids = torch.tensor([row + [0] * (width - len(row)) for row in inputs], device=self.model.device)
        with torch.inference_mode():
            rows = self.model.generate(
                input_ids=ids, attention_mask=(ids != 0).long(), max_new_tokens=new, min_new_tokens=new, num_beams=beams
            )
        return [len([token for token in row[1:] if token != END]) for row in rows.tolist()]


class PyTorch(_Padded):
    """transformers' `generate`."""

    def __init__(self, setup: Setup, precision: str) -> None:
        import torch
        from transformers import AutoModelForSeq2SeqLM

        torch.set_num_threads(setup.threads)
        dtype = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}[precision]
        self.model = AutoModelForSeq2SeqLM.from_pretrained(setup.model, dtype=dtype).to(setup.device).eval()


class Compiled(PyTorch):
    """`generate` with a static cache, for which it compiles the decoding steps, but not the one that makes the cache.

    If that first step was compiled too, the cache would be an output of a CUDA graph, which the next run overwrites.
    """

    def __init__(self, setup: Setup, precision: str) -> None:
        import torch

        super().__init__(setup, precision)
        torch._dynamo.config.cache_size_limit = 64  # each batch is a shape of its own
        self.model.generation_config.cache_implementation = "static"
        self._compile_as("reduce-overhead" if setup.device == "cuda" else "default")

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
            # Not every model can be captured as CUDA graphs; it can still be compiled.
            print("without CUDA graphs:", error_line(error), file=sys.stderr, flush=True)
            torch._dynamo.reset()
            for name in ("_cache", "_compiled_call"):  # of the graphs that have failed
                self.model.__dict__.pop(name, None)
            self._compile_as("default")
            return super().run(inputs, new, beams)


class Optimum(_Padded):
    """Optimum's ONNX Runtime classes on the model as Optimum exports it."""

    def __init__(self, setup: Setup, precision: str) -> None:
        import onnxruntime
        import torch
        from optimum.onnxruntime import ORTModelForSeq2SeqLM

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = setup.threads
        torch.set_num_threads(1)  # other peers load at the same time
        self.model = ORTModelForSeq2SeqLM.from_pretrained(setup.model, export=True, session_options=options)
        torch.set_num_threads(setup.threads)


def ctranslate2_model(setup: Setup, precision: str) -> Path:
    """The folder of the model in CTranslate2's format, which is written if it is missing."""
    import ctranslate2

    folder = setup.folder / f"ctranslate2-{setup.shape}-{precision}"
    if not (folder / "model.bin").exists():
        converter = ctranslate2.converters.TransformersConverter(str(setup.model))
        converter.convert(str(folder), quantization=COMPUTE_TYPES[precision], force=True)
    return folder


class CTranslate2:
    """CTranslate2's Translator."""

    def __init__(self, setup: Setup, precision: str) -> None:
        import ctranslate2

        threads = {"intra_threads": setup.threads, "inter_threads": 1} if setup.device == "cpu" else {}
        self.translator = ctranslate2.Translator(
            str(ctranslate2_model(setup, precision)),
            device=setup.device,
            compute_type=COMPUTE_TYPES[precision],
            **threads,
        )

    def run(self, inputs: list[list[int]], new: int, beams: int) -> list[int]:
        results = self.translator.translate_batch(
            [[word(token) for token in ids] for ids in inputs],
            beam_size=beams,
            max_decoding_length=new,
            min_decoding_length=new,
            max_batch_size=len(inputs),
        )
        return [len(result.hypotheses[0]) for result in results]


KINDS = {
    Precis: ("precis",), CTranslate2: ("ctranslate2",), PyTorch: ("torch", "transformers"),
    Compiled: ("torch", "transformers"), Optimum: ("optimum.onnxruntime",),
}  # fmt: skip


def import_libraries(name: str) -> None:
    """Imports what the peer needs, which takes longer than anything else before it is loaded."""
    for library in next(libraries for kind, libraries in KINDS.items() if kind.__name__ == name.split()[0]):
        importlib.import_module(library)


def load_peer(name: str, setup: Setup) -> Precis | PyTorch | Optimum | CTranslate2:
    """The peer of this name, such as "Optimum fp32"; our bundles have to be there."""
    kind, _, precision = name.partition(" ")
    return {kind.__name__: kind for kind in KINDS}[kind](setup, precision)


def error_line(error: BaseException) -> str:
    """The error in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
