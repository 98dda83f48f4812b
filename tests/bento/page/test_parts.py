"""The page's parts without a browser: the line, the work, what is escaped, snippets, downloads."""

import asyncio
import csv
import io
import itertools
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest

from bento.page import batch, grounding_view, options, snippets
from bento.page.admission import Line, LineFull
from bento.page.compare import Compare, base_folder
from bento.page.html import escape
from bento.page.single import Made
from bento.page.summarizing import Done, Stopped, Waiting, Writing, steps
from precis import Engine, GenerationError, GenerationParams
from precis.grounding.evidence import find_evidence
from tests.conftest import gazette

DOCUMENT = gazette("validation")[1]["document"]
LONG = " ".join(row["document"] for row in gazette("train")[:50])[:39_000]
NASTY = '<img src=x onerror=alert(1)> Anna </mark><script>alert(2)</script> paid 77 & "more" ${value} {{value}} `x`.'


@pytest.fixture(scope="module")
def engine(embedded):
    loaded = Engine.load(embedded / "bundle")
    yield loaded
    loaded.close()


def test_the_line_serves_in_turn_and_within_its_share():
    async def scene():
        line = Line(rows=8, most=2)
        first, second = line.join(5), line.join(3)
        third, fourth = line.join(8), line.join(1)
        assert (first.reached, second.reached, third.reached, fourth.reached) == (True, True, False, False)
        assert (third.ahead, fourth.ahead) == (0, 1)
        with pytest.raises(LineFull):
            line.join(1)
        first.leave()
        assert not third.reached  # and the small one does not overtake it
        assert not fourth.reached
        third.leave()
        third.leave()
        assert fourth.reached
        second.leave()
        fourth.leave()
        assert line.join(8).reached

    asyncio.run(scene())


def collect(engine, line, text, generation, beams, stop=None, until=None):
    async def run():
        seen = []
        event = stop or asyncio.Event()
        async for step in steps(engine, line, text, generation, beams, event):
            seen.append(step)
            if until and until(step):
                event.set()
        return seen

    return run()


def test_the_work_ends_in_the_engines_summary(engine):
    seen = asyncio.run(collect(engine, Line(), DOCUMENT, GenerationParams(num_beams=2), 2))
    assert isinstance(seen[-1], Done)
    assert seen[-1].summary == engine.generate([DOCUMENT], GenerationParams(num_beams=2))[0]
    texts = [step.text for step in seen if isinstance(step, Writing)]
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(texts))
    assert all(seen[-1].summary.text.startswith(text) for text in texts)
    assert 0 < seen[-1].first <= seen[-1].seconds


def test_stopping_frees_the_line_and_the_engine(engine):
    line = Line()

    async def scene():
        slow = GenerationParams(num_beams=8, max_new_tokens=512, min_new_tokens=400)
        with pytest.raises(Stopped):
            await collect(engine, line, LONG, slow, 8, until=lambda step: True)
        assert line.join(line.rows).reached
        for _ in range(100):
            if engine.stats().running_rows == 0:
                break
            await asyncio.sleep(0.05)
        stats = engine.stats()
        assert (stats.running_rows, stats.waiting_requests, stats.waiting_tokens) == (0, 0, 0)

    asyncio.run(scene())


def test_one_who_waits_hears_how_many_are_ahead(engine):
    async def scene():
        line = Line()
        place = line.join(line.rows)
        others = [line.join(1), line.join(1)]
        heard = []

        async def visitor():
            async for step in steps(engine, line, DOCUMENT, GenerationParams(), 1, asyncio.Event()):
                heard.append(step)

        task = asyncio.create_task(visitor())
        await asyncio.sleep(0.7)
        others[0].leave()
        await asyncio.sleep(0.7)
        place.leave()
        others[1].leave()
        await task
        assert [step.ahead for step in heard if isinstance(step, Waiting)] == [2, 1]
        assert isinstance(heard[-1], Done)

    asyncio.run(scene())


class Reader(HTMLParser):
    """What a browser would find: the tags, and the text."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(markup)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        assert not [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data):
        self.text += data


def test_the_comparison_is_what_the_bases_engine_writes_beside_what_was_made(engine):
    """On the base's own bundle where it is there, as after make model; else on the one that is served."""
    folder = base_folder(engine, None) or engine.bundle.folder
    made = Made(DOCUMENT, GenerationParams(max_new_tokens=90, min_new_tokens=80), 1, "Made <before>.")

    async def compared(made: Made | None) -> list[str]:
        return [shown async for shown in Compare(folder).run(SimpleNamespace(session_hash="a visitor"), made)]

    shown = asyncio.run(compared(made))
    base = Engine.load(folder, threads=1)
    expected = base.generate([DOCUMENT], made.generation)[0].text
    base.close()
    before, after = shown[-1].split("<section>")[1:]
    assert f'data-plain="{escape(expected)}"' in before
    assert "Made &lt;before&gt;." in after
    assert len(shown) > 3, "it grows"
    [refusal] = asyncio.run(compared(None))
    assert "Summarize a text first." in refusal


def test_a_base_is_compared_with_only_where_its_bundle_is_there(engine, tmp_path):
    assert base_folder(engine, tmp_path) is None
    (tmp_path / "manifest.json").write_text("{}")
    assert base_folder(engine, tmp_path) == tmp_path


def test_what_a_visitor_or_the_model_wrote_never_becomes_markup():
    document = f"{NASTY} The council mends the old bridge before winter. {NASTY}"
    evidence = find_evidence(document, "The council mends the old bridge. 991 people.")
    source = Reader(grounding_view.source_html(document, evidence))
    assert set(source.tags) <= {"div", "p", "a", "span", "mark", "sup"}
    assert NASTY in source.text
    summary = grounding_view.summary_html(NASTY, find_evidence("Nothing of it.", NASTY).unsupported)
    assert set(Reader(summary).tags) == {"p", "mark", "span"}
    for markup in (summary, grounding_view.source_html(document, evidence)):
        assert not re.search(r"[{`]|\$\{", re.sub(r"&#\d+;", "", markup))


def test_the_marked_sentences_are_those_of_the_evidence():
    document = "Ada built the mill in 1843. The river froze twice. It was sold to a baker from Lund for 900 crowns."
    summary = "Ada built the mill in 1843. A baker from Oslo bought it for 900 crowns."
    evidence = find_evidence(document, summary)
    marked = re.findall(r'<mark class="rests[^>]*>(.*?)<sup>(\d)', grounding_view.source_html(document, evidence))
    assert {text: int(rank) for text, rank in marked} == {
        sentence.text: rank for rank, sentence in enumerate(evidence.sentences, 1)
    }
    assert len(marked) == 2
    assert '<mark class="lacking" title="This name is not in the text">Oslo' in grounding_view.summary_html(
        summary, evidence.unsupported
    )
    assert grounding_view.doubts(evidence.unsupported) == "Not found in the text: Oslo."


def test_only_what_differs_from_the_bundle_is_asked_for(engine):
    own = options.defaults(engine)
    same = (own.max_new_tokens, own.min_new_tokens, own.num_beams, own.length_penalty, "Piece by piece")
    assert options.generation(own, *same) == (GenerationParams(), own.num_beams)
    asked, beams = options.generation(own, 40, 2, 4, own.length_penalty, "Refuse it")
    assert (asked, beams) == (
        GenerationParams(max_new_tokens=40, min_new_tokens=2, num_beams=4, long_text="refuse"),
        4,
    )


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ((16, 24, 1, 1, ""), "Shortest is 24 tokens, more than Longest, which is 16"),
        ((9999, 0, 1, 1, ""), "max_new_tokens should be"),
        ((64, 0, 99, 1, ""), "num_beams should be"),
        ((64, 0, None, 1, ""), "Options should be numbers"),
        ((float("nan"), 0, 1, 1, ""), "Options should be numbers"),
    ],
)
def test_bounds_hold_without_the_browser(engine, values, words):
    with pytest.raises(GenerationError, match=words):
        options.generation(options.defaults(engine), *values)


def test_the_snippets_send_what_the_page_was_asked(tmp_path):
    """A stand-in for curl shows what it is given; Python's program is asked for its request."""
    text, generation = (
        'It\'s "quoted" $HOME `x` \\n\n– ünï – ' + NASTY,
        GenerationParams(num_beams=3, long_text="truncate"),
    )
    expected = {"text": text, "num_beams": 3, "long_text": "truncate"}
    (tmp_path / "curl").write_text('#!/bin/sh\nprintf %s "$6"\n')
    (tmp_path / "curl").chmod(0o755)
    command = snippets.as_curl("http://localhost:3000", text, generation)
    done = subprocess.run(["sh", "-c", command], env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True)
    assert json.loads(done.stdout) == expected
    program = snippets.as_python("http://localhost:3000", text, generation)
    shown = program[: program.index("with urllib")] + "print(request.full_url, request.data.decode())"
    done = subprocess.run([sys.executable, "-c", shown], capture_output=True, text=True)
    address, sent = done.stdout.split(" ", 1)
    assert (address, json.loads(sent)) == ("http://localhost:3000/summarize", expected)


def test_the_snippets_name_the_key_where_one_is_asked_for(tmp_path):
    assert '-H "Authorization: Bearer $PRECIS_API_KEY"' in snippets.as_curl("", "x", GenerationParams(), key=True)
    program = snippets.as_python("http://localhost:3000", "x", GenerationParams(), key=True)
    shown = program[: program.index("with urllib")] + "print(request.get_header('Authorization'))"
    done = subprocess.run([sys.executable, "-c", shown], env={"PRECIS_API_KEY": "k"}, capture_output=True, text=True)
    assert done.stdout.strip() == "Bearer k"


@pytest.mark.parametrize(
    ("address", "site"),
    [
        ("http://localhost:3000/ui", "http://localhost:3000"),
        ("http://localhost:3000/ui/?text=a&b#c", "http://localhost:3000"),
        ("https://example.org/apps/precis/ui/", "https://example.org/apps/precis"),
        ("javascript:alert(1)", ""),
        ("", ""),
    ],
)
def test_the_services_address_is_the_one_the_visitor_knows(address, site):
    assert snippets.site_of(address) == site


def test_downloads_hold_the_rows_and_no_formulas():
    rows = [
        vars(batch.Row("a.txt", summary='=HYPERLINK("x"), "quoted"\nand more', words=3)),
        vars(batch.Row("-b.txt", error="It has no text.")),
    ]
    assert [json.loads(line) for line in batch.as_jsonl(rows).splitlines()] == rows
    read = list(csv.DictReader(io.StringIO(batch.as_csv(rows).removeprefix("\ufeff"))))
    assert read[0]["summary"] == "'" + rows[0]["summary"]
    assert (read[0]["words"], read[1]["document"], read[1]["error"]) == ("3", "'-b.txt", "It has no text.")
