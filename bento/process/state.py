"""The engine of this process, shared by the API and the page."""

from precis import Engine

_engine: Engine | None = None


def set_engine(engine: Engine) -> None:
    """Makes `engine` the one that `get_engine` returns."""
    global _engine
    _engine = engine


def get_engine() -> Engine:
    """The engine. Raises RuntimeError before the service has loaded it."""
    if _engine is None:
        raise RuntimeError("The engine is not loaded yet.")
    return _engine
