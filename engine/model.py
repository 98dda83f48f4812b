"""The two ONNX graphs of a bundle as plain functions on numpy arrays."""

import os
from dataclasses import dataclass

import numpy as np

# The official wheels report usage to their maker unless told otherwise before they are imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime as ort

from engine.bundle import DECODER, ENCODER, Bundle
from engine.errors import BundleError, EngineError

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


@dataclass
class DecoderState:
    """Caches of the rows that are being decoded.

    `past` and `cross` alternate keys and values by layer: (rows, heads, steps, d_kv) and (rows, heads, input, d_kv).
    `mask` is 1 on input positions that are text, (rows, input).
    """

    past: list[np.ndarray]
    cross: list[np.ndarray]
    mask: np.ndarray

    def select(self, rows: np.ndarray) -> None:
        """Keeps `rows` in their order; a row may come twice."""
        self.past = [array[rows] for array in self.past]
        self.cross = [array[rows] for array in self.cross]
        self.mask = self.mask[rows]

    def reorder(self, rows: np.ndarray) -> None:
        """Moves self-attention caches to where beams went; beams of one text share the rest."""
        self.past = [array[rows] for array in self.past]


class Seq2SeqModel:
    """Encoder and merged decoder of a T5 in ONNX Runtime."""

    def __init__(self, bundle: Bundle, device: str, threads: int | None) -> None:
        """Raises BundleError for a graph that cannot be loaded, EngineError for a device that is not there."""
        options = ort.SessionOptions()
        options.log_severity_level = 3
        if threads is not None:
            options.intra_op_num_threads = threads
        provider = check_device(device)
        self.encoder = _session(bundle, ENCODER, provider, options)
        self.decoder = _session(bundle, DECODER, provider, options)
        names = [entry.name for entry in self.decoder.get_inputs()]
        self.past_names = [name for name in names if name.startswith("past_key_values") and ".decoder." in name]
        self.cross_names = [name for name in names if name.startswith("past_key_values") and ".encoder." in name]
        config = bundle.config
        self.empty = np.zeros((1, config["num_heads"], 0, config["d_kv"]), dtype=np.float32)
        self.width = config["d_model"]

    def encode(self, ids: list[int]) -> np.ndarray:
        """Hidden states (1, input, d_model) of one text; each is encoded alone, without padding."""
        tokens = np.array([ids], dtype=np.int64)
        return self.encoder.run(["last_hidden_state"], {"input_ids": tokens, "attention_mask": np.ones_like(tokens)})[0]

    def start(self, hidden: list[np.ndarray], start: int) -> tuple[np.ndarray, DecoderState]:
        """The first step for texts with hidden states (1, input, d_model) each: logits (rows, vocabulary), caches."""
        rows, longest = len(hidden), max(states.shape[1] for states in hidden)
        padded = np.zeros((rows, longest, self.width), dtype=np.float32)
        mask = np.zeros((rows, longest), dtype=np.int64)
        for row, states in enumerate(hidden):
            padded[row, : states.shape[1]] = states[0]
            mask[row, : states.shape[1]] = 1
        empty = np.repeat(self.empty, rows, axis=0)
        feeds = {
            "input_ids": np.full((rows, 1), start, dtype=np.int64),
            "attention_mask": np.ones((rows, 1), dtype=np.int64),
            "encoder_attention_mask": mask,
            "encoder_hidden_states": padded,
            "use_cache_branch": np.array([False]),
            **dict.fromkeys(self.past_names + self.cross_names, empty),
        }
        logits, *caches = self.decoder.run(self._outputs(self.past_names + self.cross_names), feeds)
        count = len(self.past_names)
        return logits[:, -1], DecoderState(caches[:count], caches[count:], mask)

    def step(self, tokens: np.ndarray, state: DecoderState) -> np.ndarray:
        """One more token, (rows,), for every row: logits (rows, vocabulary); the state's caches grow by it."""
        rows, steps = len(tokens), state.past[0].shape[2]
        feeds = {
            "input_ids": tokens[:, None].astype(np.int64),
            "attention_mask": np.ones((rows, steps + 1), dtype=np.int64),
            "encoder_attention_mask": state.mask,
            # The branch with caches does not read the hidden states.
            "encoder_hidden_states": np.zeros((rows, 1, self.width), dtype=np.float32),
            "use_cache_branch": np.array([True]),
            **dict(zip(self.past_names, state.past, strict=True)),
            **dict(zip(self.cross_names, state.cross, strict=True)),
        }
        # Its cross-attention outputs are empty dummies: those of the first step stay.
        logits, *state.past = self.decoder.run(self._outputs(self.past_names), feeds)
        return logits[:, -1]

    @staticmethod
    def _outputs(names: list[str]) -> list[str]:
        return ["logits", *(name.replace("past_key_values", "present") for name in names)]


def check_device(device: str) -> str:
    """The execution provider for `device`. Raises EngineError where this ONNX Runtime does not have it."""
    provider = PROVIDERS.get(device)
    if provider is None:
        raise EngineError(f"The device is {device!r}; it should be one of {', '.join(PROVIDERS)}.")
    if provider not in ort.get_available_providers():
        raise EngineError(f"The device is {device}, and this ONNX Runtime has no {provider}: install the gpu extra.")
    return provider


def _session(bundle: Bundle, name: str, provider: str, options: ort.SessionOptions) -> ort.InferenceSession:
    try:
        session = ort.InferenceSession(str(bundle.folder / name), options, providers=[provider])
    except Exception as error:  # ONNX Runtime's exceptions share no base of their own
        raise BundleError(f"{bundle.folder / name} cannot be loaded: {str(error).splitlines()[0]}") from error
    # ONNX Runtime falls back to the CPU in silence (onnxruntime #23372).
    if provider not in session.get_providers():
        raise EngineError(f"ONNX Runtime could not start {provider}; its libraries are missing or do not fit.")
    return session
