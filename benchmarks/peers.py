"""The engine and its peers behind one face: token ids in, the number of new tokens of each text out."""

import threading
import time
from pathlib import Path

END = 1
VOCABULARY = 32128
COMPUTE_TYPES = {"fp32": "float32", "int8": "int8"}  # as CTranslate2 calls them
SPECIAL = ("<pad>", "</s>", "<unk>")


def word(token: int) -> str:
    """What the benchmark's tokenizer calls a token."""
    return SPECIAL[token] if token < len(SPECIAL) else f"w{token}"


class Precis:
    """Our engine; texts are given as words, so that tokenizing is in the time."""

    def __init__(self, folder: Path, threads: int) -> None:
        from precis import Engine

        self.engine = Engine.load(folder, threads=threads)
        self._seconds, self._began, self._active, self._lock = 0.0, 0.0, 0, threading.Lock()
        model = self.engine._model
        for encoder in {model.encoder, model.parallel_encoder}:
            self._timed(encoder, "run")
        self._timed(model.decoder, "run_with_iobinding")

    def _timed(self, session, method: str) -> None:
        call = getattr(session, method)

        def timed(*given):
            with self._lock:
                self._began = self._began if self._active else time.perf_counter()
                self._active += 1
            try:
                return call(*given)
            finally:
                with self._lock:
                    self._active -= 1
                    self._seconds += 0.0 if self._active else time.perf_counter() - self._began

        setattr(session, method, timed)

    def inside(self) -> float:
        """Seconds so far in which one thread or more was in ONNX Runtime."""
        return self._seconds

    def run(self, inputs: list[list[int]], new: int, beams: int) -> list[int]:
        from precis import GenerationParams

        texts = [" ".join(word(token) for token in ids[1:-1]) for ids in inputs]
        generation = GenerationParams(max_new_tokens=new, min_new_tokens=new, num_beams=beams)
        # A random model writes pad tokens, too, which a summary leaves out.
        return [new if summary.finish_reason == "length" else -1 for summary in self.engine.generate(texts, generation)]


class _Padded:
    """What PyTorch and Optimum have in common."""

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
    def __init__(self, folder: Path, threads: int) -> None:
        import torch
        from transformers import AutoModelForSeq2SeqLM

        torch.set_num_threads(threads)
        self.model = AutoModelForSeq2SeqLM.from_pretrained(folder).eval()


class Optimum(_Padded):
    """`folder` is a model folder; it is exported as Optimum does by itself."""

    def __init__(self, folder: Path, threads: int) -> None:
        import onnxruntime
        import torch
        from optimum.onnxruntime import ORTModelForSeq2SeqLM

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        torch.set_num_threads(1)  # others convert beside it
        self.model = ORTModelForSeq2SeqLM.from_pretrained(folder, export=True, session_options=options)
        torch.set_num_threads(threads)


def converted(folder: Path, compute_type: str) -> Path:
    """The model folder's weights as CTranslate2 has them, made where they are missing."""
    import ctranslate2

    made = folder.parent / f"ctranslate2-{compute_type}"
    if not made.exists():
        ctranslate2.converters.TransformersConverter(str(folder)).convert(str(made), quantization=compute_type)
    return made


class CTranslate2:
    def __init__(self, folder: Path, threads: int, compute_type: str) -> None:
        import ctranslate2

        made = str(converted(folder, compute_type))
        self.translator = ctranslate2.Translator(
            made, compute_type=compute_type, intra_threads=threads, inter_threads=1
        )

    def run(self, inputs: list[list[int]], new: int, beams: int) -> list[int]:
        found = self.translator.translate_batch(
            [[word(token) for token in ids] for ids in inputs],
            beam_size=beams,
            max_decoding_length=new,
            min_decoding_length=new,
            max_batch_size=len(inputs),
        )
        return [len(result.hypotheses[0]) for result in found]


def imported(name: str) -> list[str]:
    """What a system of this name imports, which takes longer than anything else before it answers."""
    kind = name.partition(" ")[0]
    return {
        "Precis": ["engine"],
        "CTranslate2": ["ctranslate2"],
        "PyTorch": ["torch", "transformers"],
        "Optimum": ["optimum.onnxruntime"],
    }[kind]


def peer(name: str, folder: Path, threads: int):
    """`name` of SYSTEMS; `folder` holds model/, fp32/ and int8/."""
    kind, _, precision = name.partition(" ")
    if kind == "Precis":
        return Precis(folder / precision, threads)
    if kind == "CTranslate2":
        return CTranslate2(folder / "model", threads, COMPUTE_TYPES[precision])
    return {"PyTorch": PyTorch, "Optimum": Optimum}[kind](folder / "model", threads)


SYSTEMS = ("Precis int8", "Precis fp32", "CTranslate2 int8", "CTranslate2 fp32", "Optimum fp32", "PyTorch fp32")
