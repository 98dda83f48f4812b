"""Start-up: settings and bundle are checked, and the engine is loaded in a thread while the rest is imported."""

import logging
import threading
from concurrent.futures import Future
from functools import cache
from typing import TYPE_CHECKING

from bento import logs
from bento.process.failure import exit_with_error
from bento.settings import ServiceSettings, SettingsError, settings, unknown_variables
from precis.bundle.choose import check_precision
from precis.bundle.manifest import Manifest
from precis.bundle.verify import open_bundle
from precis.errors import BundleError, EngineError

if TYPE_CHECKING:
    from precis import Engine

log = logging.getLogger("precis.settings")

WARM_UP_TEXT = "The council met on Tuesday. It agreed to mend the bridge before the winter."


def load_settings() -> ServiceSettings:
    """The settings from the environment. Ends the process with a sentence if one cannot be used."""
    try:
        return settings()
    except SettingsError as error:
        exit_with_error(str(error))


def check_bundle() -> None:
    """Ends the process with a sentence if the bundle or the device cannot be served; loads nothing."""
    from precis.runtime.model import check_device

    options = load_settings()
    try:
        check_precision(options.bundle, options.device)
        check_device(options.device)
        _check_trust(open_bundle(options.bundle).manifest, options)
    except EngineError as error:
        exit_with_error(str(error))


def _check_trust(manifest: Manifest, options: ServiceSettings) -> None:
    """Raises BundleError if the settings ask for trust that the bundle does not state."""
    if options.min_trust is not None and manifest.trust is None:
        raise BundleError(f"PRECIS_MIN_TRUST needs a certificate of trust, and {options.bundle} has none.")


@cache
def start_loading() -> "Future[Engine]":
    """Starts a thread that loads and warms up the engine; every call returns the same future.

    A bundle that cannot be served ends the process with a sentence.
    """
    options = load_settings()
    logs.configure(options.log_format)
    for variable in unknown_variables():
        log.warning("There is no setting %s; the variable is ignored", variable)
    future: Future[Engine] = Future()

    def load() -> None:
        try:
            future.set_result(_load_engine(options))
        except EngineError as error:
            exit_with_error(str(error))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=load, name="loading", daemon=True).start()
    return future


def _load_engine(options: ServiceSettings) -> "Engine":
    from precis import Engine, GenerationParams
    from precis.params import MAX_BEAMS

    check_precision(options.bundle, options.device)
    engine = Engine.load(
        options.bundle,
        device=options.device,
        threads=options.threads,
        rows=options.rows,
        max_waiting_tokens=options.max_waiting_tokens,
    )
    _check_trust(engine.bundle.manifest, options)
    for beams in (1, MAX_BEAMS):  # written even where the bundle extracts: that measures how fast it decodes
        params = GenerationParams(mode="write", max_new_tokens=8, num_beams=beams, passthrough=False)
        engine.generate([WARM_UP_TEXT], params)
    engine.assume_measured_speed()
    return engine
