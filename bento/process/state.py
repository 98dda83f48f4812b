"""The engine that this process serves, shared by the API and the page."""

from precis import Engine

_engine: Engine | None = None


def set_engine(engine: Engine) -> None:
    global _engine
    _engine = engine


def current() -> Engine:
    """The engine. Raises RuntimeError before the service has loaded it."""
    if _engine is None:
        raise RuntimeError("The engine is not loaded yet.")
    return _engine
