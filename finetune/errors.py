"""The one exception whose text is meant for the person at the keyboard."""


class UserError(Exception):
    """Something the user can mend; its text is one sentence that names the key, column or file at fault."""
