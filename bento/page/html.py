"""HTML of the page, from the Jinja templates in templates/. Text is escaped everywhere and never becomes markup."""

from pathlib import Path
from typing import Any

import markupsafe
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup


def escape(text: object) -> Markup:
    """`text` as content or quoted attribute; braces too, since Gradio fills templates in the browser."""
    if isinstance(text, Markup):
        return text
    escaped = str(markupsafe.escape(text))
    return Markup(escaped.replace("{", "&#123;").replace("$", "&#36;").replace("`", "&#96;"))


def render(template: str, **values: Any) -> Markup:
    """The template of this name, filled in; values that are not Markup are escaped."""
    return Markup(_environment.get_template(template).render(values))


def status(message: str | Markup, kind: str = "quiet") -> Markup:
    """A status line; `kind` (quiet, busy, done or error) is its CSS class."""
    return Markup(f'<p class="status {kind}">{escape(message)}</p>' if message else "")


def duration(seconds: float) -> str:
    """ "0.03 s", "1.2 s"."""
    return f"{max(seconds, 0.01):.2f} s" if seconds < 1 else f"{seconds:.1f} s"


def plural(number: int, noun: str) -> str:
    """ "1 word", "1,200 words"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


_environment = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    finalize=escape,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_environment.globals |= {"plural": plural, "status": status}
