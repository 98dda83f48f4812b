"""The error of a file that cannot be read."""


class DocumentError(Exception):
    """The file cannot be read; the message is a sentence for the visitor."""
