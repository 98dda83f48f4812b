"""What this process serves: checked, and loaded in a thread, most of which is ONNX Runtime's own work."""

import threading
from concurrent.futures import Future
from functools import cache

from bento import logs
from bento.process.lifecycle import refuse
from bento.settings import ServiceSettings, SettingsError, settings
from precis.bundle.choose import check_precision
from precis.bundle.verify import open_bundle
from precis.errors import EngineError

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
