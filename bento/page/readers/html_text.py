"""The text of a web page: what a reader sees of its main part, without navigation, banners and other surroundings."""

import codecs
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bento.page.readers.encodings import decode
from bento.page.readers.html_blocks import BLOCKS, blocks

RECURSION = 10_000  # Python frames; lxml's trees are at most 2,048 levels deep
CHARSET = re.compile(
    rb"<meta[^>]{0,200}charset\s*=\s*[\"']?\s*([\w.:-]+)|<\?xml[^>]{0,200}encoding=[\"']([\w.:-]+)", re.IGNORECASE
)
CHARSET_BYTES = 4096  # a browser looks no further
# What browsers decode under these names (WHATWG Encoding Standard).
WHATWG = {
    "iso-8859-1": "cp1252", "latin1": "cp1252", "us-ascii": "cp1252", "ascii": "cp1252", "iso-8859-9": "cp1254",
    "tis-620": "cp874", "gb2312": "gb18030", "gbk": "gb18030", "shift_jis": "cp932", "x-sjis": "cp932",
    "euc-kr": "cp949", "ks_c_5601-1987": "cp949",
}  # fmt: skip
SCRIPT = re.compile(r"<\?(?:php\b|=).*?(?:\?>|\Z)", re.DOTALL | re.IGNORECASE)  # PHP, which a server would have run
HEAD = re.compile(
    r"(?:\s|<!--.*?-->|</?(?:!doctype|html|head|meta|link|base)\b[^>]*>|<(title|style|script)\b.*?</\1\s*>)*+",
    re.DOTALL | re.IGNORECASE,
)
INVISIBLE_TAGS = (
    "title script style template noscript iframe object embed applet canvas audio video map svg rt rp annotation"
    " annotation-xml button select option optgroup datalist input textarea output progress meter noframes"
)
INVISIBLE = frozenset(INVISIBLE_TAGS.split())
TEXT_TAGS = frozenset(["main", "article", "p", "h1", "b", "i", "em", "strong"])  # kept under whatever class
SURROUNDINGS = frozenset(["nav", "footer", "aside"])
ROLES = frozenset(
    ["navigation", "banner", "contentinfo", "complementary", "search", "dialog", "alertdialog", "menu", "menubar"]
)
# Words in the class or id of a part that is not the text itself.
BOILERPLATE = re.compile(
    r"(?:^|[\s_-])(?:cookies?|consent|gdpr|ccpa|nav|navbar|navigation|menu|breadcrumbs?|side-?bar|footer|masthead|share|sharing"
    r"|social|newsletter|subscribe|subscription|sign-?up|related|recommended|recommendations|read-?(?:more|next)|more-?stories"
    r"|most-?read|popular|trending|advert|advertisement|ads?|ad-slot|sponsored|promo|popup|modal|overlay|paywall|toolbar|pagination"
    r"|pager|comments?|comment-?list|respond|disqus|tags|tag-list"
    r"|print-only|search|search-?(?:box|bar|form)|toc|catlinks|login|site-?header|page-?header|top-?bar|bottom-?bar|copyright|cta)(?:$|[\s_-])"
)
MAIN = "//main | //*[@role='main'] | //article"
# The same for parts of a line. Other classes of these are marks within the text: "comment" in a program, "tag".
INLINE_BOILERPLATE = re.compile(
    r"(?:^|[\s_-])(?:skip(?:-?link)?|sr-only|visually-?hidden|screen-reader-text|editsection|header-?link)(?:$|[\s_-])"
)
KEPT_SHARE = 0.5  # a part with at least this much of the page's text is the text, whatever it is called
MAIN_SHARE = 0.3  # of the page's text, in what counts as its main part
LINKED = 0.8  # of a list's text in links: a menu
MIN_LINKS = 3
LONG_LINK = 60  # characters; items that are this long are sentences
REFERENCE = re.compile(r"[\[(]?(?:\d{1,3}|[a-z*†‡§]|note \d+|citation needed|edit)[\])]?", re.IGNORECASE)
HIDING_STYLE = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
SIMPLE_SELECTOR = re.compile(r"([.#])([\w-]+)")


def read_html(content: bytes) -> tuple[str, str]:
    """The main text of a page, an empty line between blocks."""
    markup, note = _decode(content)
    root = _parse(markup)
    if root is None:
        return "", note
    title = _one_line(root.findtext(".//title"))
    _remove_invisible(root)
    headline = _headline(root, title)
    _remove_surroundings(root)
    paragraphs = blocks(_main(root))
    if headline and headline not in map(_one_line, paragraphs):
        paragraphs.insert(0, headline)
    return "\n\n".join(paragraphs), note


def visible_text(markup: str) -> str:
    """The text of HTML that is all of it text, an empty line between blocks; marks of footnotes are left out."""
    root = _parse(markup)
    if root is None:
        return ""
    _remove_invisible(root)
    return "\n\n".join(blocks(root))


def _decode(content: bytes) -> tuple[str, str]:
    """UTF-8 if it can be, since editors save so whatever the page declares; else what it declares, else a guess."""
    match = CHARSET.search(content[:CHARSET_BYTES])
    declared = (match[1] or match[2]).decode("ascii").lower() if match else ""
    text, note = decode(content)
    if declared and note:
        try:
            return content.decode(codecs.lookup(WHATWG.get(declared, declared)).name), ""
        except (LookupError, UnicodeDecodeError):
            pass
    return text, note


def _parse(markup: str) -> Any:
    """The root of the tree; None where there is no element."""
    from lxml import etree

    sys.setrecursionlimit(RECURSION)
    parser = etree.HTMLParser(remove_comments=True, remove_pis=True, no_network=True, huge_tree=True, encoding="utf-8")
    markup = SCRIPT.sub("", markup).replace("\0", "")
    if "<body" not in markup and "<BODY" not in markup:
        # The parser begins the body only at elements of HTML 4, and would leave <article> in the head.
        start = HEAD.match(markup).end()  # type: ignore[union-attr]
        markup = f"{markup[:start]}<body>{markup[start:]}"
    return etree.fromstring(markup.encode("utf-8", errors="replace"), parser) if markup.strip() else None


def _remove_invisible(root: Any) -> None:
    """Removes what a browser does not show, and marks of footnotes."""
    selectors = {selector for style in root.iter("style") for selector in _hiding_selectors(style.text or "")}
    for element in list(root.iter()):
        if element.tag in INVISIBLE or _is_hidden(element, selectors) or _is_reference(element):
            _remove(element)


def _hiding_selectors(css: str) -> Iterator[str]:
    """Classes (".x") and ids ("#x") that a style sheet hides everywhere, not only in print or on small screens."""
    without_comments = "".join(part.partition("*/")[2] for part in ("*/" + css).split("/*"))
    depth, selectors = 0, ""
    for part in re.split(r"([{}])", without_comments):
        if part in "{}":
            depth = max(0, depth + (1 if part == "{" else -1 if part == "}" else 0))
        elif depth == 0:
            selectors = part.rpartition(";")[2].strip()
        elif depth == 1 and not selectors.startswith("@") and HIDING_STYLE.search(part):
            yield from filter(SIMPLE_SELECTOR.fullmatch, map(str.strip, selectors.split(",")))


def _is_hidden(element: Any, selectors: set[str]) -> bool:
    if element.tag in ("html", "body"):
        return False
    return (
        ("hidden" in element.attrib and element.get("hidden") != "until-found")
        or element.get("aria-hidden") == "true"
        or (element.tag == "dialog" and "open" not in element.attrib)
        or HIDING_STYLE.search(element.get("style", "")) is not None
        or f"#{element.get('id')}" in selectors
        or any(f".{name}" in selectors for name in element.get("class", "").split())
    )


def _is_reference(element: Any) -> bool:
    """Whether it is the mark of a footnote ("[1]") or the link back from one."""
    if element.get("role") in ("doc-noteref", "doc-backlink") or element.get("class") == "footnote-backref":
        return True
    return (
        element.tag == "sup"
        and element.find(".//a") is not None
        and all(link.get("href", "").startswith("#") for link in element.iter("a"))
        and REFERENCE.fullmatch(_text(element).strip()) is not None
    )


@dataclass(slots=True)
class _Size:
    """How much text an element holds."""

    characters: int = 0
    in_links: int = 0
    links: int = 0
    paragraphs: int = 0

    def add(self, other: "_Size") -> None:
        self.characters += other.characters
        self.in_links += other.in_links
        self.links += other.links
        self.paragraphs += other.paragraphs


def _sizes(root: Any) -> dict[Any, _Size]:
    """The size of each element, in one pass from the leaves to the root."""
    sizes: dict[Any, _Size] = {}
    for element in reversed(list(root.iter())):
        size = sizes.setdefault(element, _Size())
        size.characters += len((element.text or "").strip())
        size.paragraphs += element.tag == "p"
        if element.tag == "a":
            size.in_links, size.links = size.characters, 1
        if element is not root:
            parent = sizes.setdefault(element.getparent(), _Size())
            parent.add(size)
            parent.characters += len((element.tail or "").strip())
    return sizes


def _remove_surroundings(root: Any) -> None:
    """Removes navigation, banners, forms and the like, but nothing that holds most of the page's text."""
    sizes = _sizes(root)
    for element, size in sizes.items():
        if size.characters < sizes[root].characters * KEPT_SHARE and _is_surrounding(element, size):
            _remove(element)


def _is_surrounding(element: Any, size: _Size) -> bool:
    tag = element.tag
    if tag in TEXT_TAGS:
        return False
    if tag in SURROUNDINGS or tag == "form" or element.get("role") in ROLES:
        return True
    if tag == "header":
        return not any(parent.tag in ("article", "main", "section") for parent in element.iterancestors())
    name = f"{element.get('class', '')} {element.get('id', '')}".lower()
    if INLINE_BOILERPLATE.search(name):
        return True
    return tag in BLOCKS and (BOILERPLATE.search(name) is not None or _is_menu(element, size))


def _is_menu(element: Any, size: _Size) -> bool:
    """Whether it is a list outside the page's main part, and nearly all of its text is short links."""
    if element.tag not in ("ul", "ol", "div", "table") or size.paragraphs or size.links < MIN_LINKS:
        return False
    if size.in_links <= LINKED * size.characters or size.in_links >= LONG_LINK * size.links:
        return False
    before = element.getprevious()
    if before is not None and before.tag == "p":  # which introduces the list
        return False
    return not any(
        parent.tag in ("main", "article") or parent.get("role") == "main" for parent in element.iterancestors()
    )


def _main(body: Any) -> Any:
    """The page's main part: <main>, or the only <article>, if much of the text is in it."""
    enough = len(_text(body)) * MAIN_SHARE
    candidates = [part for part in body.xpath(MAIN) if len(_text(part)) >= enough]
    mains = [part for part in candidates if part.tag == "main" or part.get("role") == "main"]
    return mains[0] if mains else candidates[0] if len(candidates) == 1 else body


def _headline(root: Any, title: str) -> str:
    """The page's only <h1> if the page's title begins with it: it may stand in a header that is left out."""
    headlines = [_text(element) for element in root.iter("h1")]
    is_title = len(headlines) == 1 and len(headlines[0].split()) > 2 and title.startswith(headlines[0])
    return headlines[0] if is_title else ""


def _text(element: Any) -> str:
    return _one_line("".join(element.itertext()))


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())


def _remove(element: Any) -> None:
    """Empties an element and makes it one that breaks no line; the text after it stays."""
    element.clear(keep_tail=True)
    element.tag = "span"
