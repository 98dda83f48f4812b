"""The error that stops a bulk run; what is wrong with one row is a reason in the rejects file instead."""

from precis.errors import EngineError


class BulkError(EngineError):
    """The run cannot start or continue; the message is one sentence for a person."""
