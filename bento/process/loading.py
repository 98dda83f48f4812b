"""What this process serves: checked, and loaded in a thread, most of which is ONNX Runtime's own work."""

import json
import threading
from concurrent.futures import Future
from functools import cache
from pathlib import Path

from bento import logs
from bento.process.lifecycle import refuse
from bento.settings import ServiceSettings, SettingsError, settings
from precis.bundle.choose import FITTING
from precis.bundle.verify import MANIFEST, open_bundle
from precis.errors import BundleError, EngineError

WARM_UP = "The council met on Tuesday. It agreed to mend the bridge before the winter."


def chosen() -> ServiceSettings:
    """The settings. Ends the process with a sentence where one cannot be used."""
    try:
        return settings()
    except SettingsError as error:
        refuse(str(error))


def check() -> None:
    """Ends the process with a sentence where the bundle or the device cannot be served; loads nothing."""
    from precis.runtime.model import check_device

    found = chosen()
    try:
        check_precision(found.bundle, found.device)
        check_device(found.device)
        open_bundle(found.bundle)
    except EngineError as error:
        refuse(str(error))


def check_precision(folder: Path, device: str) -> None:
    """Raises BundleError where the bundle's manifest says that it is made for another device.

    The CPU computes nothing in half precision, which ONNX Runtime would turn into fp32 and back at every node; and
    CUDA lacks kernels for 8-bit products, which would be left to the CPU.
    """
    try:
        precision = json.loads((folder / MANIFEST).read_text(encoding="utf-8")).get("precision")
    except (OSError, ValueError, AttributeError):
        return  # what is wrong with it is told when it is opened
    fitting = FITTING.get(device)
    if precision and fitting and precision not in fitting:
        raise BundleError(f"{folder} is an {precision} bundle; on the device {device} serve {' or '.join(fitting)}.")


@cache
def begin() -> Future:
    """Starts loading, once a process; the future has the engine, warmed up."""
    found = chosen()
    logs.configure(found.log_format)
    loaded: Future = Future()

    def load() -> None:
        try:
            from precis import Engine, GenerationParams

            check_precision(found.bundle, found.device)
            engine = Engine.load(
                found.bundle,
                device=found.device,
                threads=found.threads,
                rows=found.rows,
                max_waiting_tokens=found.max_waiting_tokens,
            )
            engine.generate([WARM_UP], GenerationParams(max_new_tokens=8))
        except EngineError as error:
            refuse(str(error))
        except BaseException as error:
            loaded.set_exception(error)
        else:
            loaded.set_result(engine)

    threading.Thread(target=load, name="loading", daemon=True).start()
    return loaded
