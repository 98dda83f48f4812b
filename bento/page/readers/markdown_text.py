"""The text of a Markdown file: CommonMark with tables, footnotes, definition lists and front matter (left out)."""

from bento.page.readers.encodings import decode
from bento.page.readers.html_text import visible_text


def read_markdown(content: bytes) -> tuple[str, str]:
    """The text as it is shown: no marks, no comments, links by their text; notes stand at the end."""
    from markdown_it import MarkdownIt
    from mdit_py_plugins.deflist import deflist_plugin
    from mdit_py_plugins.footnote import footnote_plugin
    from mdit_py_plugins.front_matter import front_matter_plugin
    from mdit_py_plugins.tasklists import tasklists_plugin

    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    for plugin in (front_matter_plugin, footnote_plugin, deflist_plugin, tasklists_plugin):
        parser.use(plugin)
    text, note = decode(content)
    return visible_text(parser.render(text)), note
