"""Small pieces of HTML. Whatever a visitor or a model wrote goes through `escape` and never becomes markup."""

import html


def escape(text: object) -> str:
    """`text` as content or quoted attribute; braces too, since the page's components fill templates in the browser."""
    return html.escape(str(text)).replace("{", "&#123;").replace("$", "&#36;").replace("`", "&#96;")


def status(words: str, kind: str = "quiet") -> str:
    """One sentence on what goes on; `kind` is quiet, busy, done or wrong."""
    return f'<p class="status {kind}">{escape(words)}</p>' if words else ""


def table(head: list[str], rows: list[list[str]], caption: str) -> str:
    """Cells are HTML already. The first cell of a row is its heading."""
    heads = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    body = "".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in rest)}</tr>' for first, *rest in rows
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}"><table>'
        f"<caption>{escape(caption)}</caption><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def count(number: int, noun: str) -> str:
    """ "1 word", "1,200 words"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
