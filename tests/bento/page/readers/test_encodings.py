"""Encodings of text files: those that are certain, and those that are guessed and told."""

import pytest

from bento.page.readers.encodings import decode
from bento.page.readers.errors import DocumentError

SENTENCES = {
    "utf-8": "naïve – 橋",
    "utf-8-sig": "naïve",
    "utf-16": "Совет решил починить мост.",
    "utf-32": "naïve",
}
GUESSED = {
    "cp1251": ["Совет решил починить мост.", "Цена билета выросла до ста рублей, сообщил городской совет во вторник."],
    "koi8-r": ["Совет решил починить мост."],
    "cp866": ["Совет решил починить мост до зимы."],
    "shift_jis": ["市議会は古い橋を直すことを決めた。"],
    "euc-jp": ["火曜日に市議会が開かれ、冬までに古い橋を修理することが決まった。"],
    "gb18030": ["市议会决定修复旧桥。", "市议会周二开会，同意在冬季之前修复旧桥。"],
    "big5": ["市議會決定修復舊橋。"],
    "cp949": ["시의회는 낡은 다리를 고치기로 했다."],
    "cp1250": ["Rada miejska postanowiła naprawić stary most przed zimą."],
    "cp1253": ["Το συμβούλιο αποφάσισε να επισκευάσει τη γέφυρα."],
    "cp1254": ["Belediye meclisi eski köprüyü kıştan önce onarmaya karar verdi. Maliyeti iki milyon avro."],
    "cp1255": ["המועצה החליטה לתקן את הגשר הישן לפני החורף."],
    "cp1256": ["قرر المجلس إصلاح الجسر القديم قبل الشتاء."],
    "cp1252": [
        "Café", "naïve – café", "Der Preis beträgt 5 €.", "It’s done", "“Yes,” he said – twice.",
        "Ærlig talt, på tide å få gjort noe med brua.", "Le conseil a décidé de réparer le vieux pont avant l’hiver.",
    ],
    "utf-16-le": ["The council met.", "Совет решил починить мост.", "市議会は古い橋を直すことを決めた。"],
    "utf-16-be": ["The council met.", "Совет решил починить мост."],
    "iso2022_jp": ["市議会は古い橋を直すことを決めた。"],
}  # fmt: skip


@pytest.mark.parametrize("encoding", SENTENCES)
def test_unicode_is_certain(encoding):
    assert decode(SENTENCES[encoding].encode(encoding)) == (SENTENCES[encoding], "")


@pytest.mark.parametrize(("encoding", "text"), [(encoding, text) for encoding in GUESSED for text in GUESSED[encoding]])
def test_other_encodings_are_guessed_and_told(encoding, text):
    decoded, note = decode(text.encode(encoding))
    assert decoded == text
    assert note.startswith("Its encoding was taken to be ")


@pytest.mark.parametrize(
    "content",
    [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\1\0", bytes(range(256)) * 8, bytes(100), b"GIF89a\0\1\2\3\0\xff" * 9],
)
def test_binary_content_is_refused(content):
    with pytest.raises(DocumentError, match="is not a text file"):
        decode(content)
