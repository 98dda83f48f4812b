"""The error that stops a bulk run, and what is shown of others.

What is wrong with one row is a reason in the rejects file instead.
"""

from precis.errors import EngineError


class BulkError(EngineError):
    """The run cannot start or continue; the message is one sentence for a person."""


def short_reason(error: BaseException) -> str:
    """The first line of a library's message, or the error's type if it has none, to stand in a sentence."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
