"""Finds the body of a text: what it says, without headers, signatures, quoted replies, headlines and boilerplate.

E-mails, minutes, contracts and web pages hold much that no summary should quote. The rules read the form of a block
(see `blocks`), mostly that of English texts; they do not understand it.
"""

import re
from collections import Counter
from collections.abc import Iterator
from enum import Enum, auto

from precis.text import body_patterns as patterns
from precis.text.blocks import block_spans
from precis.text.sentences import sentence_spans

HEADING_WORDS = 14  # a block of more words is no heading, whatever its end
NUMBERED_HEADING_WORDS = 5
SIGNATURE_BLOCKS = 8  # after "Kind regards"
SIGNATURE_WORDS = 8  # in each of them
LONGEST_NOTE = 600  # characters of a block of boilerplate
PREFIX = 200  # characters of a block in which its form shows
CHAT_SHARE = 0.4  # of a chat's blocks begin with a sender or a time
MIN_BODY_WORDS = 4
LATE = 0.6  # fraction of the text after which a note such as "About the company" ends the body


class _Kind(Enum):
    BODY = auto()
    OTHER = auto()  # not of the body
    CLOSING = auto()  # begins a signature
    REST_OTHER = auto()  # nor is anything after it


def body_spans(text: str) -> list[tuple[int, int]]:
    """(start, end) of each part of `text` that belongs to its body, in order; numbers and bullets are left out.

    Takes linear time. A text without any body by these rules is body as a whole.
    """
    blocks = list(block_spans(text))
    spans = list(_body_blocks(text, blocks))
    words = sum(1 for start, end in spans for _ in _first_words(text, start, end))
    if words >= MIN_BODY_WORDS:
        return spans
    return [(blocks[0][0], blocks[-1][1])] if blocks else []


def body_sentences(text: str) -> list[tuple[int, int]]:
    """(start, end) of each sentence of the body of `text`, without the number or bullet before it; in linear time."""
    sentences: list[tuple[int, int]] = []
    spans = body_spans(text)
    at = 0
    for start, end in sentence_spans(text):
        while at < len(spans) and spans[at][1] <= start:
            at += 1
        if at < len(spans) and spans[at][0] < end:
            sentences.append((max(start, spans[at][0]), min(end, spans[at][1])))
    return sentences


def _body_blocks(text: str, blocks: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The blocks of the body, without what their first words say of their place in the text."""
    is_chat = _is_chat(text, blocks)
    signature = 0  # how many of the next blocks may belong to one
    fenced = False
    words_seen = 0
    header_above = True  # whether the block above is a line of an e-mail's header; at the top it may be
    for number, (start, end) in enumerate(blocks):
        head = text[start : min(end, start + PREFIX)]
        if patterns.FENCE.match(head):
            fenced = not fenced
            continue
        if fenced:
            continue
        if signature and not is_chat:
            signature -= 1
            if _is_signature(text, start, end):
                continue
            signature = 0
        if not is_chat and _is_mail_header(text, blocks, number, header_above):
            header_above = True
            continue
        header_above = False
        if patterns.ORIGINAL_MESSAGE.match(head):
            if words_seen >= HEADING_WORDS:
                return
            header_above = True
            continue
        kind = _kind(text, start, end, head, is_chat)
        if kind is _Kind.REST_OTHER and start > LATE * len(text):
            return
        if kind is _Kind.CLOSING:
            signature = SIGNATURE_BLOCKS
        if kind is _Kind.BODY:
            first = _after_prefix(text, start, end, is_chat)
            words_seen += sum(1 for _ in _first_words(text, first, end))
            yield first, end


def _is_chat(text: str, blocks: list[tuple[int, int]]) -> bool:
    """Whether the text is a conversation: many blocks begin with a sender or a time, and few are e-mail headers."""
    senders: Counter[str] = Counter()
    marked = 0
    for start, end in blocks:
        head = text[start : min(end, start + PREFIX)]
        if patterns.MAIL_LABEL.match(head):
            continue
        if match := patterns.SENDER.match(head):
            marked += 1
            senders[match[0].strip("[]()0123456789:., ")] += 1
        elif len(head) <= 40 and patterns.SENDER_LINE.match(head):
            marked += 2  # the message itself has a block of its own
            senders[""] += 1
    # A form has many labels, each once; in a conversation people speak again.
    return marked >= max(3, CHAT_SHARE * len(blocks)) and max(senders.values(), default=0) > 1


def _is_mail_header(text: str, blocks: list[tuple[int, int]], number: int, above: bool) -> bool:
    """Whether a block is a line of an e-mail's header: a label below or above another one, or a sure one at the top."""
    start, end = blocks[number]
    if not patterns.MAIL_LABEL.match(text, start, end):
        return False
    if above and patterns.STRONG_MAIL_LABEL.match(text, start, end):
        return True
    if above and number > 0 and patterns.MAIL_LABEL.match(text, *blocks[number - 1]):
        return True
    return number + 1 < len(blocks) and bool(patterns.STRONG_MAIL_LABEL.match(text, *blocks[number + 1]))


def _is_signature(text: str, start: int, end: int) -> bool:
    """Whether a block after a closing formula is a line of a signature: short, and no sentence."""
    return (
        end - start <= PREFIX
        and (
            sum(1 for _ in _first_words(text, start, end)) <= SIGNATURE_WORDS
            or "|" in text[start:end]
            or "@" in text[start:end]
        )
        and not text.endswith((".", "!", "?"), start, end)
    )


def _kind(text: str, start: int, end: int, head: str, is_chat: bool) -> _Kind:
    is_short = end - start <= PREFIX
    if (
        patterns.QUOTED.match(head)
        or patterns.RULE.match(head)
        or (is_short and patterns.QUOTE_INTRODUCTION.match(head))
    ):
        return _Kind.CLOSING if patterns.SIGNATURE_RULE.match(head) else _Kind.OTHER
    if is_short and (patterns.SENDER_LINE.match(head) or patterns.IMAGE.match(head) or patterns.SIGNED.match(head)):
        return _Kind.OTHER
    if end - start <= LONGEST_NOTE and (
        patterns.BOILERPLATE.match(head) or patterns.BOILERPLATE_ANYWHERE.search(text, start, end)
    ):
        return _Kind.REST_OTHER if is_short and patterns.ENDS_BODY.match(head) else _Kind.OTHER
    if is_chat:
        return _Kind.BODY
    if is_short and patterns.ENDS_BODY.match(head):
        return _Kind.REST_OTHER
    if is_short and patterns.SALUTATION.match(head):
        return _Kind.OTHER
    if is_short and patterns.CLOSING.match(head):
        return _Kind.CLOSING
    number = patterns.NUMBER.match(head)
    rest = head[number.end() :] if number else head
    if patterns.MINUTES.match(rest) or (is_short and (patterns.BYLINE.match(head) or patterns.DATE_NOTE.match(head))):
        return _Kind.OTHER
    if is_short and _is_heading(rest, bool(number), bool(patterns.ITEM.match(head))):
        return _Kind.OTHER
    return _Kind.BODY


def _is_heading(block: str, numbered: bool, item: bool) -> bool:
    """Whether a block is a headline, a heading, or a field of a form: short, and without the end of a sentence."""
    words = len(patterns.WORD.findall(block))
    if patterns.MARKDOWN_HEADING.match(block) or (
        words <= 2 * HEADING_WORDS and block.upper() == block and block.lower() != block
    ):
        return not item
    if item or patterns.ENDS_SENTENCE.search(block):
        return False
    return words <= (NUMBERED_HEADING_WORDS if numbered else HEADING_WORDS)


def _after_prefix(text: str, start: int, end: int, is_chat: bool) -> int:
    """Where the block's own words begin, after bullet, number, title of a clause, dateline, sender or time."""
    if is_chat:
        sender = patterns.SENDER.match(text, start, end)
        return sender.end() if sender else start
    if item := patterns.ITEM.match(text, start, end):
        start = item.end()
    if number := patterns.NUMBER.match(text, start, end):
        plain = patterns.PLAIN_NUMBER.match(text, start, end)
        start = number.end()
        title = patterns.TITLE.match(text, start, end)
        if title and not (plain and len(patterns.WORD.findall(title[0])) > 2):
            start = title.end()
    if dateline := patterns.DATELINE.match(text, start, end):
        start = dateline.end()
    return start


def _first_words(text: str, start: int, end: int) -> Iterator[re.Match[str]]:
    """The words in the first characters of text[start:end]."""
    return patterns.WORD.finditer(text, start, min(end, start + PREFIX))
