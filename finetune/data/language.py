"""A guess at the language of a set of texts: by script, and within the Latin one by its commonest function words.

Simple on purpose: it is there to tell a mix-up (a French file, a column of numbers), not to tell Danish from Norwegian.
"""

import re
import unicodedata
from collections import Counter

# The commonest function words that few of the other languages share.
FUNCTION_WORDS = {
    "English": "the of and to was for that with from his they which were been this have",
    "German": "der und die das den von mit sich nicht auf ein eine dem werden aus auch wird",
    "French": "le les des et du une dans est pour qui pas sur par avec sont aux cette",
    "Spanish": "el los las del una por con para es su como más pero fue sus este",
    "Portuguese": "os das dos uma não com para é mais foi pelo pela seu também são ao",
    "Italian": "il di che della per una con sono non dei nel alla gli è più anche",
    "Dutch": "het een van en de niet dat zijn voor met op aan ook werd bij naar",
    "Swedish": "och att det som är på för med den av inte till har ett om från",
    "Danish or Norwegian": "og det er at på som til med den af av ikke har et fra jeg",
    "Polish": "nie się na jest że do jak przez który dla od oraz po są może był",
    "Finnish": "ja on ei että se oli mutta kun ovat hän myös tai kuin sekä joka ole",
    "Turkish": "ve bir bu için ile olarak da çok daha gibi sonra olan kadar ancak ne en",
}
SCRIPTS = {
    "CYRILLIC": "Russian or another in Cyrillic",
    "ARABIC": "Arabic or another in its script",
    "GREEK": "Greek",
    "HEBREW": "Hebrew",
    "DEVANAGARI": "Hindi or another in Devanagari",
    "HANGUL": "Korean",
    "HIRAGANA": "Japanese",
    "KATAKANA": "Japanese",
    "CJK": "Chinese or Japanese",
    "THAI": "Thai",
}
ENOUGH = 0.08  # of the words: running text has 20% and more of them, a list of names or numbers next to none


def language_of(texts: list[str]) -> str:
    """The language that most of `texts` seem to be in, in words; "unclear" where nothing speaks for one."""
    text = " ".join(text[:2000] for text in texts).lower()
    letters = [letter for letter in text if letter.isalpha()]
    if not letters:
        return "unclear"
    scripts = Counter(unicodedata.name(letter, "?").split()[0] for letter in letters[:20000])
    # Japanese mixes three; its own two tell it from Chinese.
    if scripts["HIRAGANA"] + scripts["KATAKANA"] > len(letters[:20000]) / 10:
        return SCRIPTS["HIRAGANA"]
    script = scripts.most_common(1)[0][0]
    if script != "LATIN":
        return SCRIPTS.get(script, "unclear")
    words = Counter(re.findall(r"[^\W\d_]+", text))
    found = {name: sum(words[word] for word in listed.split()) for name, listed in FUNCTION_WORDS.items()}
    best = max(found, key=found.get)
    return best if found[best] >= ENOUGH * words.total() else "unclear"
