"""The ONNX Runtime sessions of a bundle and the shapes and types of its KV caches."""

import functools
import logging
from typing import Any

import numpy as np
import numpy.typing as npt

from precis.bundle.names import CACHE, DECODER, ENCODER, LOGITS, TOKEN_SCORES
from precis.bundle.verify import Bundle
from precis.errors import BundleError, EngineError
from precis.runtime import ort
from precis.runtime.placement import RECORD_PLACEMENT, check_placement, library_error, node_placement

CACHE_DTYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(int8)": np.int8}
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
# Texts encoded in parallel share the cores, so a thread may not spin for longer than the gap between two operators.
ENCODER_CONFIG = {"session.intra_op.spin_duration_us": "20"}

log = logging.getLogger(__name__)


class Seq2SeqModel:
    """The encoder and decoder sessions of a bundle on one device.

    `static` says whether the graphs have static shapes (bundles for CUDA) or dynamic ones. The decoder's KV cache
    inputs are `self_kv_inputs` (self-attention) and `cross_kv_inputs` (cross-attention), one for the keys and one for
    the values of each layer, of shape (rows, num_heads, positions, d_kv) and type `self_kv_dtype` or `cross_kv_dtype`;
    the encoder computes `cross_kv_outputs` in the same order. In dynamic graphs cross-attention has blocks of
    `block_size` positions instead: keys are (blocks, num_heads, d_kv, block_size), values (blocks, num_heads,
    block_size, d_kv). `encoder_workers` texts are worth encoding in parallel.
    `ranks_sentences` says whether the encoder also scores tokens, which `token_scores` needs.
    """

    def __init__(self, bundle: Bundle, device: str, threads: int, allow_cpu_fallback: bool = False) -> None:
        """Loads the graphs on `device` ("cpu" or "cuda") with `threads` threads a session.

        Raises BundleError if a graph cannot be loaded. Raises EngineError if the device is not available, or if heavy
        nodes would run on the CPU although another device is requested; `allow_cpu_fallback` permits both.
        """
        provider = _provider(device, allow_cpu_fallback)
        self.threads = threads
        self.device = next(device for device, name in PROVIDERS.items() if name == provider)
        self.encoder_workers = threads if device == "cpu" else 1
        self.static = CACHE in bundle.manifest.files
        # Checked before loading: ONNX Runtime refuses CPU graphs on a GPU with a message about single nodes.
        if self.device == "cuda" and not self.static and not allow_cpu_fallback:
            raise EngineError(f"The device is cuda, and {bundle.folder} was exported for the CPU: export it for cuda.")
        self.encoder = _new_session(bundle, ENCODER, provider, threads, ENCODER_CONFIG)
        self._new_decoder = functools.partial(_new_session, bundle, DECODER, provider, threads, {})
        self.captures_cuda_graphs = self.device == "cuda" and self.static
        self.decoder = self._load_decoder()
        self.placement = {ENCODER: node_placement(self.encoder), DECODER: node_placement(self.decoder)}
        if self.static:
            self.block_copy = _new_session(bundle, CACHE, provider, threads, {})
            self.placement[CACHE] = node_placement(self.block_copy)
        self.providers: list[str] = self.decoder.get_providers()
        if not allow_cpu_fallback:
            for graph, placement in self.placement.items():
                check_placement(placement, provider, graph)
        self._read_cache_shapes(bundle)
        self.ranks_sentences = any(entry.name == TOKEN_SCORES for entry in self.encoder.get_outputs())
        if bundle.manifest.sentence_features and not self.ranks_sentences:
            raise BundleError(f"{bundle.folder / ENCODER} has no output {TOKEN_SCORES}, which sentence_features need.")
        # An encoder of one thread waits for no other thread. In fp32 that is not faster, and a second copy of the
        # weights is large (docs/log.md#parallel-encoding).
        separate = self.encoder_workers > 1 and self.cross_kv_dtype is np.int8
        self.parallel_encoder = _new_session(bundle, ENCODER, provider, 1, ENCODER_CONFIG) if separate else self.encoder

    def _read_cache_shapes(self, bundle: Bundle) -> None:
        inputs = self.decoder.get_inputs()
        if self.static and all(entry.name != "suppressed_token" for entry in inputs):
            raise BundleError(f"{bundle.folder / DECODER} was exported by an earlier version: export it again.")
        caches = [entry for entry in inputs if entry.name.startswith("past_key_values")]
        self.self_kv_inputs: list[str] = [entry.name for entry in caches if ".decoder." in entry.name]
        self.cross_kv_inputs: list[str] = [entry.name for entry in caches if ".encoder." in entry.name]
        self.cross_kv_outputs = [name.replace("past_key_values", "present") for name in self.cross_kv_inputs]
        try:
            types, shapes = ({entry.name: getattr(entry, field) for entry in caches} for field in ("type", "shape"))
            self.self_kv_dtype = CACHE_DTYPES[types[self.self_kv_inputs[0]]]
            self.cross_kv_dtype = CACHE_DTYPES[types[self.cross_kv_inputs[0]]]
            _, self.num_heads, _, self.d_kv = caches[0].shape
            self.block_size = 0 if self.static else int(shapes[self.cross_kv_inputs[0]][-1])
            logits = next(entry for entry in self.decoder.get_outputs() if entry.name == LOGITS)
            self.vocab_size: int = logits.shape[-1]
        except (IndexError, KeyError, StopIteration, ValueError) as error:
            raise BundleError(f"{bundle.folder / DECODER} is not a decoder that this engine supports.") from error

    def encode(self, input_ids: list[int]) -> list[npt.NDArray[Any]]:
        """Keys and values of one text for cross-attention, ordered as `cross_kv_outputs`: (1, heads, tokens, d_kv).

        A text is encoded alone and unpadded, so that its values do not depend on other texts. Thread-safe.
        """
        return self._encode(self.encoder, input_ids)

    def encode_in_parallel(self, input_ids: list[int]) -> list[npt.NDArray[Any]]:
        """The same values as `encode`, for `encoder_workers` calls at the same time."""
        return self._encode(self.parallel_encoder, input_ids)

    def _encode(self, session: ort.InferenceSession, input_ids: list[int]) -> list[npt.NDArray[Any]]:
        return session.run(self.cross_kv_outputs, {"input_ids": np.array([input_ids], dtype=np.int64)})

    def token_scores(self, input_ids: list[int]) -> npt.NDArray[np.float32]:
        """The sentence ranker's score of each token of one text, (tokens,); a sentence's is the mean of its tokens'.

        Thread-safe.
        """
        return self._token_scores(self.encoder, input_ids)

    def token_scores_in_parallel(self, input_ids: list[int]) -> npt.NDArray[np.float32]:
        """The same values as `token_scores`, for `encoder_workers` calls at the same time."""
        return self._token_scores(self.parallel_encoder, input_ids)

    def _token_scores(self, session: ort.InferenceSession, input_ids: list[int]) -> npt.NDArray[np.float32]:
        inputs = {"input_ids": np.array([input_ids], dtype=np.int64)}
        if self.static:
            inputs |= {"source_length": np.array([len(input_ids)]), "source_places": np.arange(len(input_ids))}
        scores: npt.NDArray[np.float32] = session.run([TOKEN_SCORES], inputs)[0]
        return scores[0].astype(np.float32)

    def _load_decoder(self) -> ort.InferenceSession:
        if self.captures_cuda_graphs:
            try:
                return self._new_decoder(cuda_graph=True)
            except BundleError as error:
                log.warning("Decode steps are not captured as CUDA graphs: %s", error)
                self.captures_cuda_graphs = False
        return self._new_decoder()

    def disable_cuda_graphs(self) -> None:
        """Reloads the decoder without CUDA graphs: every operator of a step is launched by itself from now on."""
        self.captures_cuda_graphs = False
        del self.decoder
        self.decoder = self._new_decoder()


def check_device(device: str) -> str:
    """The execution provider for `device`. Raises EngineError if this ONNX Runtime cannot load it."""
    provider = PROVIDERS.get(device)
    if provider is None:
        raise EngineError(f"The device is {device!r}; it should be one of {', '.join(PROVIDERS)}.")
    if provider not in ort.get_available_providers():
        raise EngineError(f"The device is {device}, and this ONNX Runtime has no {provider}: install the gpu extra.")
    if device != "cpu":
        ort.preload_dlls()  # CUDA's libraries, from the packages of torch or NVIDIA
        if reason := library_error(provider):
            raise EngineError(f"The device is {device}, and {provider} cannot be loaded: {reason}.")
    return provider


def _provider(device: str, allow_cpu_fallback: bool) -> str:
    try:
        return check_device(device)
    except EngineError as error:
        if not allow_cpu_fallback or device not in PROVIDERS:
            raise
        log.warning("%s Falling back to the CPU.", error)
        return PROVIDERS["cpu"]


def _new_session(
    bundle: Bundle, name: str, provider: str, threads: int, config: dict[str, str], cuda_graph: bool = False
) -> ort.InferenceSession:
    """A session for the bundle's graph `name`; with `cuda_graph` its runs are captured as CUDA graphs."""
    cuda_options = {"use_tf32": "0", "enable_cuda_graph": str(int(cuda_graph))}  # TF32 has three significant digits
    provider_options = cuda_options if provider == PROVIDERS["cuda"] else {}
    options = ort.SessionOptions()
    options.log_severity_level = 3  # errors
    options.intra_op_num_threads = threads
    # Each session has its own threads; those of a session that waits for its next run must not keep spinning.
    entries = {"session.force_spinning_stop": "1", **RECORD_PLACEMENT, **config}
    if provider == PROVIDERS["cpu"]:
        _share_arena()
        entries["session.use_env_allocators"] = "1"
    for key, value in entries.items():
        options.add_session_config_entry(key, value)
    try:
        session = ort.InferenceSession(str(bundle.folder / name), options, providers=[(provider, provider_options)])
    except Exception as error:  # ONNX Runtime's exceptions have no common base class
        raise BundleError(f"{bundle.folder / name} cannot be loaded: {str(error).splitlines()[0]}") from error
    # ONNX Runtime falls back to the CPU silently (onnxruntime #23372).
    if provider not in session.get_providers():
        raise EngineError(f"ONNX Runtime could not start {provider}: no such device, or a driver that does not fit.")
    return session


@functools.cache
def _share_arena() -> None:
    """Registers one memory arena for all CPU sessions; with one each they keep more (docs/log.md#shared-arena)."""
    memory = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    ort.create_and_register_allocator(memory, ort.OrtArenaCfg(0, -1, -1, -1))  # default limit and growth
