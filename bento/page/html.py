"""Small HTML fragments. Text of a visitor or a model goes through `escape` and never becomes markup."""

import html


def escape(text: object) -> str:
    """`text` as content or quoted attribute; braces too, since Gradio fills templates in the browser."""
    return html.escape(str(text)).replace("{", "&#123;").replace("$", "&#36;").replace("`", "&#96;")


def status(message: str, kind: str = "quiet") -> str:
    """A status line; `kind` (quiet, busy, done or error) is its CSS class."""
    return f'<p class="status {kind}">{escape(message)}</p>' if message else ""


def data_table(columns: list[str], rows: list[list[str]], caption: str) -> str:
    """A table that scrolls sideways. Cells are HTML already; the first cell of a row is its heading."""
    heads = "".join(f'<th scope="col">{column}</th>' for column in columns)
    body = "".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in rest)}</tr>' for first, *rest in rows
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}"><table>'
        f"<caption>{escape(caption)}</caption><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def plural(number: int, noun: str) -> str:
    """ "1 word", "1,200 words"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
