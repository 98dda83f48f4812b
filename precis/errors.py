"""What can go wrong in the engine, by whose hand; every text is one sentence for a person."""


class EngineError(Exception):
    """Base of everything the engine raises."""


class BundleError(EngineError):
    """The bundle is missing, altered or not for this engine; nothing was loaded."""


class GenerationError(EngineError):
    """A generation setting is out of bounds; `field` names it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field} {message}")
        self.field = field


class TextError(EngineError):
    """The text cannot be summarized as asked: it is empty, or longer than the caller allows."""


class EngineFull(EngineError):
    """Too much work is waiting; `retry_after` is the expected wait in seconds."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(f"Too much work is waiting; try again in {retry_after:.0f} s.")
        self.retry_after = retry_after


class DeadlineExceeded(EngineError):
    """The caller's time was over before the summary was there."""


class EngineClosed(EngineError):
    """The engine was closed before the work was done."""
