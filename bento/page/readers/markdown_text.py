"""The text of a Markdown file: CommonMark with tables, footnotes and definition lists."""

import re

from bento.page.readers.encodings import decode
from bento.page.readers.html_text import visible_text

# YAML or TOML between two rules at the beginning, for a program. A text may begin with a rule, too.
FRONT_MATTER = re.compile(r"\A\s*(---|\+\+\+)[ \t]*\r?\n\s*[\w\"-]+[ \t]*[:=].*?\n\1[ \t]*(?:\r?\n|\Z)", re.DOTALL)


def read_markdown(content: bytes) -> tuple[str, str]:
    """The text as it is shown: no marks, no comments, links by their text; notes stand at the end."""
    from markdown_it import MarkdownIt
    from mdit_py_plugins.deflist import deflist_plugin
    from mdit_py_plugins.footnote import footnote_plugin
    from mdit_py_plugins.tasklists import tasklists_plugin

    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    for plugin in (footnote_plugin, deflist_plugin, tasklists_plugin):
        parser.use(plugin)
    text, note = decode(content)
    return visible_text(parser.render(FRONT_MATTER.sub("", text))), note
