"""The exception whose text is shown to the user."""


class UserError(Exception):
    """A mistake that the user can correct. The text is one sentence that names the key, column or file at fault."""
