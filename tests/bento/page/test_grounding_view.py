"""Marks in the text and in the summary, and that nothing a visitor or a model wrote becomes markup."""

import re
from html.parser import HTMLParser

from bento.page.grounding_view import source_html, summary_html, verdict_html
from bento.page.messages import unsupported_report
from precis.grounding.evidence import find_evidence

NASTY = '<img src=x onerror=alert(1)> Anna </mark><script>alert(2)</script> paid 77 & "more" ${value} {{value}} `x`.'


class Parsed(HTMLParser):
    """The tags and the text that a browser finds."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(str(markup))

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        assert not [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data):
        self.text += data


def test_text_of_visitor_and_model_never_becomes_markup():
    document = f"{NASTY} The council mends the old bridge before winter. {NASTY}"
    evidence = find_evidence(document, "The council mends the old bridge. 991 people.")
    source = Parsed(source_html(document, evidence))
    assert set(source.tags) <= {"div", "p", "a", "span", "mark", "sup"}
    assert NASTY in source.text
    summary = summary_html(NASTY, find_evidence("Nothing of it.", NASTY).unsupported)
    assert set(Parsed(summary).tags) == {"p", "mark", "span"}
    listed = summary_html(NASTY + " " + NASTY, [], [NASTY, NASTY])
    assert set(Parsed(listed).tags) == {"ul", "li"}
    for markup in (summary, listed, source_html(document, evidence)):
        assert not re.search(r"[{`]|\$\{", re.sub(r"&#\d+;", "", markup))


def test_marked_sentences_are_those_of_the_evidence():
    document = "Ada built the mill in 1843. The river froze twice. It was sold to a baker from Lund for 900 crowns."
    summary = "Ada built the mill in 1843. A baker from Oslo bought it for 900 crowns."
    evidence = find_evidence(document, summary)
    marked = re.findall(r'<mark class="evidence[^>]*>(.*?)<sup>(\d)', source_html(document, evidence))
    assert {text: int(rank) for text, rank in marked} == {
        sentence.text: rank for rank, sentence in enumerate(evidence.sentences, 1)
    }
    assert len(marked) == 2
    marked_summary = summary_html(summary, evidence.unsupported)
    assert '<mark class="unsupported" title="This name is not in the text">Oslo' in marked_summary
    assert unsupported_report(evidence.unsupported) == "Not found in the text: Oslo."


def test_marks_of_a_list_stay_in_their_sentences():
    sentences = ["Ada paid 900 crowns.", "A street in Oslo has 12 mills.", "It froze."]
    summary = " ".join(sentences)
    evidence = find_evidence("Ada paid a lot. A town has mills. It froze.", summary)
    items = re.findall(r"<li data-plain=\"(.*?)\">(.*?)</li>", summary_html(summary, evidence.unsupported, sentences))
    assert [plain for plain, _ in items] == sentences
    marked = [re.findall(r"<mark [^>]*>(\w+)", content) for _, content in items]
    assert marked == [["900"], ["Oslo", "12"], []]


def test_verdict_says_in_words_how_far_a_summary_can_be_trusted():
    document = "Ada built the mill in 1843. The river froze twice, and nobody was hurt."
    copied, joined = (find_evidence(document, text) for text in (document[:27], "Ada built the mill in 1851."))
    assert Parsed(verdict_html(copied, None)).text == "Word for word from the text."
    assert 'class="verdict good"' in verdict_html(copied, None)
    assert 'class="verdict check"' in verdict_html(joined, None)
    assert Parsed(verdict_html(copied, 0.8)).text.endswith("like this one, at most 20% fail an automatic check.")
    extracted = Parsed(verdict_html(copied, 0.8, extracted=True)).text
    assert extracted.endswith("at most 20% are clearly worse than the text's first sentence.")
    assert Parsed(verdict_html(copied, 0.0)).text.endswith("too many fail an automatic check to promise anything.")
