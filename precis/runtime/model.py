"""The two ONNX graphs of a bundle in ONNX Runtime: one text through the encoder, steps of the decoder in place."""

import functools
import logging
import os

import numpy as np

# The official wheels report usage to their maker unless told otherwise before they are imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime as ort

from precis.bundle.names import CACHE, DECODER, ENCODER
from precis.bundle.verify import Bundle
from precis.errors import BundleError, EngineError
from precis.runtime.placement import RECORD, check_placement, missing_library, placement, provider_library

CACHE_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(int8)": np.int8}
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
# EncoderPool share the encoder's threads, which may not hold a core for longer than between two operators.
READING = {"session.intra_op.spin_duration_us": "20"}

log = logging.getLogger("precis.engine")


class Seq2SeqModel:
    """Encoder and decoder sessions, and the sizes that their caches have."""

    def __init__(self, bundle: Bundle, device: str, threads: int, allow_cpu_fallback: bool = False) -> None:
        """Raises BundleError for a graph that cannot be loaded, EngineError for a device that is not there.

        The same where heavy nodes would run on the CPU although another device is asked for. `allow_cpu_fallback`
        lets them, or runs everything there.
        """
        provider = _provider(device, allow_cpu_fallback)
        self.threads = threads
        self.device = next(device for device, name in PROVIDERS.items() if name == provider)
        self.readers = threads if device == "cpu" else 1  # texts that are worth encoding at the same time
        # Before anything is loaded: what is for CPUs may be refused by a GPU in words about nodes.
        self.fixed = CACHE in bundle.manifest.files
        if self.device == "cuda" and not self.fixed and not allow_cpu_fallback:
            raise EngineError(f"The device is cuda, and {bundle.folder} was exported for the CPU: export it for cuda.")
        self.encoder = _session(bundle, ENCODER, provider, threads, READING)
        self._load_plainly = functools.partial(_session, bundle, DECODER, provider, threads, {})
        self.captures = self.device == "cuda" and self.fixed  # whether steps that come again become CUDA graphs
        self.decoder = self._load_decoder()
        self.placement = {ENCODER: placement(self.encoder), DECODER: placement(self.decoder)}
        if self.fixed:
            self.cache = _session(bundle, CACHE, provider, threads, {})
            self.placement[CACHE] = placement(self.cache)
        self.providers = self.decoder.get_providers()
        if not allow_cpu_fallback:
            for graph, placed in self.placement.items():
                check_placement(placed, provider, graph)
        caches = [entry for entry in self.decoder.get_inputs() if entry.name.startswith("past_key_values")]
        self.own_names = [entry.name for entry in caches if ".decoder." in entry.name]
        self.cross_names = [entry.name for entry in caches if ".encoder." in entry.name]
        self.cross_kv_outputs = [name.replace("past_key_values", "present") for name in self.cross_names]
        logits = next(entry for entry in self.decoder.get_outputs() if entry.name == "logits")
        try:
            _, self.heads, _, self.d_kv = caches[0].shape
            self.own_type = CACHE_TYPES[next(entry.type for entry in caches if ".decoder." in entry.name)]
            self.source_type = CACHE_TYPES[next(entry.type for entry in caches if ".encoder." in entry.name)]
            self.vocabulary = logits.shape[-1]
        except (IndexError, KeyError, StopIteration, ValueError) as error:
            raise BundleError(f"{bundle.folder / DECODER} is not a decoder that this engine reads.") from error
        # One thread a text waits for no other. In fp32 nothing is gained (docs/log.md), and the weights are large.
        small = self.readers > 1 and self.source_type is np.int8
        self.lone_encoder = _session(bundle, ENCODER, provider, 1, READING) if small else self.encoder

    def encode(self, ids: list[int]) -> list[np.ndarray]:
        """What the decoder reads of one text: keys and values by layer, each (1, heads, tokens, d_kv).

        Each text goes alone and unpadded, so that its numbers do not depend on its company. Thread-safe.
        """
        return self._encode(self.encoder, ids)

    def encode_beside_others(self, ids: list[int]) -> list[np.ndarray]:
        """The same numbers as `encode` gives, for as many texts at a time as there are threads."""
        return self._encode(self.lone_encoder, ids)

    def _encode(self, session: ort.InferenceSession, ids: list[int]) -> list[np.ndarray]:
        return session.run(self.cross_kv_outputs, {"input_ids": np.array([ids], dtype=np.int64)})

    def _load_decoder(self) -> ort.InferenceSession:
        if self.captures:
            try:
                return self._load_plainly(graph=True)
            except BundleError as error:
                log.warning("Steps are not captured as CUDA graphs: %s", error)
                self.captures = False
        return self._load_plainly()

    def stop_capturing(self) -> None:
        """Loads the decoder anew, each of whose steps is launched operator by operator from now on."""
        self.captures = False
        del self.decoder
        self.decoder = self._load_plainly()


def check_device(device: str) -> str:
    """The execution provider for `device`. Raises EngineError where this ONNX Runtime does not have it."""
    provider = PROVIDERS.get(device)
    if provider is None:
        raise EngineError(f"The device is {device!r}; it should be one of {', '.join(PROVIDERS)}.")
    if provider not in ort.get_available_providers():
        raise EngineError(f"The device is {device}, and this ONNX Runtime has no {provider}: install the gpu extra.")
    if device != "cpu":
        ort.preload_dlls()  # of CUDA, where torch or NVIDIA's packages have brought them
        if reason := missing_library(provider_library(provider)):
            raise EngineError(f"The device is {device}, and {provider} cannot be loaded: {reason}.")
    return provider


def _provider(device: str, allow_cpu_fallback: bool) -> str:
    try:
        return check_device(device)
    except EngineError as error:
        if not allow_cpu_fallback or device not in PROVIDERS:
            raise
        log.warning("%s It runs on the CPU, as is allowed.", error)
        return PROVIDERS["cpu"]


def _session(
    bundle: Bundle, name: str, provider: str, threads: int, entries: dict[str, str], graph: bool = False
) -> ort.InferenceSession:
    """A session with the config `entries`; with `graph` its runs are captured as CUDA graphs."""
    # TF32, CUDA's own choice for products in fp32, has three digits.
    given = {"use_tf32": "0", "enable_cuda_graph": str(int(graph))} if provider == PROVIDERS["cuda"] else {}
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    # Each session has threads of its own: what waits for its next run leaves the cores to the other.
    settings = {"session.force_spinning_stop": "1", **RECORD, **entries}
    if provider == PROVIDERS["cpu"]:
        _share_arena()
        settings["session.use_env_allocators"] = "1"
    for key, value in settings.items():
        options.add_session_config_entry(key, value)
    try:
        session = ort.InferenceSession(str(bundle.folder / name), options, providers=[(provider, given)])
    except Exception as error:  # ONNX Runtime's exceptions share no base of their own
        raise BundleError(f"{bundle.folder / name} cannot be loaded: {str(error).splitlines()[0]}") from error
    # ONNX Runtime falls back to the CPU in silence (onnxruntime #23372).
    if provider not in session.get_providers():
        raise EngineError(f"ONNX Runtime could not start {provider}: no such device, or a driver that does not fit.")
    return session


@functools.cache
def _share_arena() -> None:
    """Lets sessions take what they need while they run from one arena; with one each they keep more (docs/log.md)."""
    place = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    ort.create_and_register_allocator(place, ort.OrtArenaCfg(0, -1, -1, -1))  # bounds and growth as by default
