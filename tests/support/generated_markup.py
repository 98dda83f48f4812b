"""Web pages, Markdown and wrapped text made from a random text, with what people's files hold beside it."""

import html
import random
import textwrap

from tests.support.random_text import heading, paragraph, sentence

MENU = '<ul><li><a href="/a">NOISE</a></li><li><a href="/b">NOISE</a></li><li><a href="/c">NOISE</a></li></ul>'
WRAP = {"break_long_words": False, "break_on_hyphens": False}


def web_page(rng: random.Random) -> tuple[bytes, str]:
    """Navigation, banners, comments, scripts, hidden parts, entities, inline tags, lists and tables."""

    def text(value: str) -> str:
        escaped = html.escape(value).replace("ü", rng.choice(["ü", "&uuml;", "&#252;", "&#xfc;"]))
        words = escaped.split(" ")
        for at in range(len(words)):
            chance = rng.random()
            if chance < 0.08:
                words[at] = f"<{(tag := rng.choice(['b', 'em', 'span', 'a', 'code', 'mark']))}>{words[at]}</{tag}>"
            elif chance < 0.12:
                words[at] += rng.choice(
                    [
                        "<!-- NOISE -->",
                        "<script>NOISE()</script>",
                        "<span hidden>NOISE</span>",
                        "<?php echo 'NOISE' > 1 ?>",
                    ]
                )
            elif chance < 0.15 and len(words[at]) > 6 and words[at].isalpha():
                words[at] = words[at][:3] + rng.choice(["&shy;", "<wbr>", "&#8203;", "&#x2060;"]) + words[at][3:]
        return "".join(word + rng.choice([" ", " ", "\n    ", "&#32;"]) for word in words).strip()

    surroundings = [
        '<nav><ul><li><a href="/">NOISE</a></li></ul></nav>',
        '<div class="cookie-banner"><p>NOISE NOISE</p></div>',
        "<!--[if lt IE 9]><p>NOISE</p><![endif]-->",
        '<div style="display:none"><p>NOISE</p></div>',
        "<template><p>NOISE</p></template><noscript>NOISE</noscript>",
        "<aside><p>NOISE</p></aside>",
        '<p aria-hidden="true">NOISE</p><![CDATA[NOISE]]>',
        "",
    ]
    title = heading(rng)
    head, blocks = f"<h1>{text(title)}</h1>", [title]
    if rng.random() < 0.5:
        lead = sentence(rng)
        head += f"<p class='lead'>{text(lead)}</p>"
        blocks.append(lead)
    parts = []
    for _ in range(rng.randint(3, 6)):
        kind = rng.random()
        if kind < 0.15:
            items = [sentence(rng) for _ in range(3)]
            tag = rng.choice(["ul", "ol"])
            parts.append(f"<{tag}>" + "".join(f"<li>{text(item)}" for item in items) + f"</{tag}>")
            blocks += items
        elif kind < 0.3:
            rows = [[heading(rng) for _ in range(3)] for _ in range(2)]
            cells = "".join("<tr>" + "".join(f"<td>{text(cell)}</td>" for cell in row) + "</tr>" for row in rows)
            parts.append(f"<table>{cells}</table>")
            blocks.append("\n".join(" | ".join(row) for row in rows))
        elif kind < 0.4:
            lines = [sentence(rng), sentence(rng)]
            parts.append(f"<p>{text(lines[0])}<br>{text(lines[1])}</p>")
            blocks.append("\n".join(lines))
        else:
            value = paragraph(rng)
            parts.append(
                rng.choice(["<p>{}</p>", "<div>{}</div>", "<div><div><p>{}</p></div></div>", "<p>{}"]).format(
                    text(value)
                )
            )
            blocks.append(value)
        if rng.random() < 0.3:
            parts.append(f"</p>{rng.choice(surroundings)}")
    shape = rng.choice(
        [
            "<main>{0}{1}</main>",
            "<article><header>{0}</header>{1}</article>",
            "<div id=content>{0}{1}</div>",
            '<form id="aspnetForm"><div>{0}{1}</div></form>',
            "{0}{1}",
            '<div role="main"><section>{0}{1}</section></div>',
        ]
    )
    around = "<header><a href='/'>NOISE</a></header>" + rng.choice([*surroundings, MENU])
    body = f"{around}{shape.format(head, ''.join(parts))}<footer>NOISE</footer>"
    charset = rng.choice(["utf-8", "windows-1252", "iso-8859-1", "utf-16"])
    page = f"<html><head><title>NOISE</title><meta charset='{charset}'></head><body>{body}</body></html>"
    if rng.random() < 0.3:
        page = f"<!DOCTYPE html><meta charset={charset}><title>NOISE</title>{body}"
    return page.encode(charset), "\n\n".join(blocks)


def markdown(rng: random.Random) -> tuple[bytes, str]:
    """Front matter, comments, emphasis, links, lists, tables, code and footnotes."""

    def text(value: str) -> str:
        words = value.split(" ")
        for at in range(1, len(words) - 1):
            chance = rng.random()
            if chance < 0.08:
                words[at] = rng.choice(["**{}**", "*{}*", "`{}`", "[{}](http://x.example/y)", "~~{}~~"]).format(
                    words[at]
                )
            elif chance < 0.1:
                words[at] += "<!-- NOISE -->"
        return rng.choice(["{}", "{}\n<!-- NOISE\n\nNOISE -->"]).format(
            textwrap.fill(" ".join(words), rng.choice([70, 5000]), **WRAP)
        )

    source, blocks, notes = [], [], []
    if rng.random() < 0.4:
        source.append("---\ntitle: NOISE\ndate: 2024-01-01\n---")
    for _ in range(rng.randint(3, 8)):
        kind = rng.random()
        if kind < 0.2:
            title = heading(rng)
            source.append(f"## {title}")
            blocks.append(title)
        elif kind < 0.35:
            items = [sentence(rng) for _ in range(3)]
            source.append("\n".join(f"- {item}" for item in items))
            blocks += items
        elif kind < 0.45:
            rows = [[heading(rng) for _ in range(2)] for _ in range(3)]
            lines = [f"| {' | '.join(row)} |" for row in rows]
            source.append("\n".join([lines[0], "| --- | --- |", *lines[1:]]))
            blocks.append("\n".join(" | ".join(row) for row in rows))
        elif kind < 0.55:
            source.append("```text\nx = 1\ny < 2  <!-- code -->\n```")
            blocks.append("x = 1\ny < 2 <!-- code -->")
        elif kind < 0.65:
            value, note = sentence(rng), sentence(rng)
            notes.append(note)
            source += [f"{value}[^{len(notes)}]", f"[^{len(notes)}]: {note}"]
            blocks.append(value)
        else:
            value = paragraph(rng)
            source.append(rng.choice(["{}", "{}", "<div>\n\n{}\n\n</div>"]).format(text(value)))
            blocks.append(value)
    return "\n\n".join(source).encode(), "\n\n".join(blocks + notes)


def wrapped_text(rng: random.Random) -> tuple[bytes, str]:
    """An e-mail that was wrapped at a fixed width: headers, paragraphs, list, quotation, signature."""
    width = rng.choice([66, 70, 72, 76, 78])
    source = ["From: Anna Berg <anna@example.org>\nTo: Council\nSubject: The bridge", "Dear all,"]
    expected = list(source)
    for _ in range(rng.randint(2, 5)):
        value = paragraph(rng)
        source.append(textwrap.fill(value, width, **WRAP))
        expected.append(value)
    items = [sentence(rng) for _ in range(2)]
    source.append("\n".join(textwrap.fill(f"- {item}", width, subsequent_indent="  ", **WRAP) for item in items))
    expected.append("\n".join(f"- {item}" for item in items))
    quoted = paragraph(rng)
    source.append("\n".join(f"> {line}" for line in textwrap.wrap(quoted, width - 2, **WRAP)))
    expected.append(f"> {quoted}")
    for block in ("Best regards,\nAnna", "-- \nAnna Berg\nTown hall, room 12"):
        source.append(block)
        expected.append(block.replace("-- ", "--"))
    break_ = rng.choice(["\n", "\r\n"])
    return "\n\n".join(source).replace("\n", break_).encode(
        rng.choice(["utf-8", "utf-16", "utf-16-le", "cp1252"])
    ), "\n\n".join(expected)
