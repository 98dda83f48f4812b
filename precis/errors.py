"""The errors of the engine. Each message is one sentence that can be shown to a user."""

import math


class EngineError(Exception):
    """Base class of all errors that the engine raises, and what it raises when a device or a model run fails."""


class BundleError(EngineError):
    """The bundle is missing, altered or not supported by this engine; nothing was loaded."""


class GenerationError(EngineError):
    """The generation parameter named by `field` has a value that is not allowed."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field} {message}")
        self.field = field


class TextError(EngineError):
    """The text cannot be summarized as requested: it is empty, no string of characters, or too long."""


class EngineFull(EngineError):
    """Too much work is waiting, in all or of this caller; retry after `retry_after` seconds."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(f"Too much work is waiting; try again in {math.ceil(retry_after)} s.")
        self.retry_after = retry_after


class TooMuchWork(EngineError):
    """The request would take `seconds` even alone, which is longer than the `seconds_left` that it has."""

    def __init__(self, seconds: float, seconds_left: float) -> None:
        limits = f"This would take about {seconds:.0f} s, and may take {seconds_left:.0f} s"
        super().__init__(f"{limits}: send a part of the text, or ask for fewer tokens or beams, or to truncate it.")


class DeadlineExceeded(EngineError):
    """The request's timeout passed before its summary was ready."""


class EngineClosed(EngineError):
    """The engine was closed before the request was finished."""
