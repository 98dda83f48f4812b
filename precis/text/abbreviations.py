"""Tells whether a full stop belongs to an abbreviation, and so does not end its sentence."""

import re


def _words(names: str) -> frozenset[str]:
    return frozenset(names.split())


# English words that begin a sentence with a capital and are no names.
OPENERS = _words(
    """
a about after all also although among an and another any as at because before both but by despite during each even every
few for former four from he her here his how however i if in instead into is it its just last many more most much my new
no nor not now of on once one only or other our out over she since so some such than that the their then there these
they this those three through to two under until up we what when where which while who why with within without yet you
your
"""
)
# Those among them that are hardly ever a surname: "J. So" is a person.
_CERTAIN_OPENERS = _words("""
the it its she they their we our this these those there but however when while after although because if
""")
_LONGEST = 12  # characters of an abbreviation, with its full stop

_TITLES = _words("""
Mr Mrs Ms Messrs Mx Dr Drs Prof Sen Sens Rep Reps Gov Gen Col Lt Sgt Capt Cmdr Maj Adm Brig Rev Hon St Ste Mt Ft Mme
Mlle Hr Fr Supt Insp Cllr Pres Amb Atty Det Cpl Pvt
""")
_BEFORE_NUMBERS = _words("""
no nos nr n° vol vols fig figs eq eqs sec secs sect ch chap art arts p pp para paras ref refs tel ext app tab pt ver l
ll op c fl
""")
_DATES = _words("Jan Feb Mar Apr Jun Jul Aug Sept Sep Oct Nov Dec Mon Tue Tues Wed Thu Thur Thurs Fri Sat Sun")
_INNER = _words("e.g i.e cf v vs viz approx ca incl resp esp")  # never the last word
_IN_NAMES = _words("inc co corp ltd bros llc plc jr sr ave blvd rd st dept univ assn al ph.d m.d b.a m.a est gov")
_UNITS = _words("etc a.m p.m hr hrs min mins ft lb lbs oz sq yr yrs")  # the last word if a capital follows

_TOKEN = re.compile(r"[^\s(\[{\"'“‘«„/–—]+\.$")
_INITIALS = re.compile(r"(?:[A-ZÀ-ÖØ-Þ]\.)+$")
_NUMBER = re.compile(r"[A-Z]{0,2}-?\d|[ivx]{2,}\b")
_WORD = re.compile(r"[^\W\d_]+(?![\w.])")
_CALENDAR = re.compile(r"(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day\b|[A-Z]{2,4}\b|Eastern\b|Pacific\b|Central\b")
_SHORT_OPENING = re.compile(r"\S+(?:\s\S+){0,2}$")


def continues_after_abbreviation(text: str, start: int, stop: int, following: int) -> bool:
    """Whether the sentence that began at `start` continues at `following`, past the full stop just before `stop`."""
    token = _TOKEN.search(text, max(start, stop - _LONGEST), stop)
    if token is None:
        return False
    name = token[0][:-1]
    lower = name.lower()
    first = text[following : following + 1]
    word = _WORD.match(text, following)
    opener = word[0].lower() if word and first.isupper() else ""
    if name in _TITLES:
        return opener not in _CERTAIN_OPENERS
    if lower in _UNITS:
        if not first.isupper():
            return True
        # "9 a.m. Monday"; "At 5 a.m. Ann left" has just begun.
        begun = _SHORT_OPENING.match(text, start, stop) if stop - start < 40 else None
        return lower in ("a.m", "p.m") and bool(begun or _CALENDAR.match(text, following))
    if _INITIALS.match(token[0]):
        if name == "I" and text[max(start, stop - 7) : stop].endswith((" and I.", " or I.")):
            return False
        return opener not in (OPENERS if len(name) > 1 else _CERTAIN_OPENERS)
    if lower in _BEFORE_NUMBERS and _NUMBER.match(text, following):
        return True
    if name in _DATES:
        return first.islower() or first.isdigit()
    if lower in _INNER:
        return True
    if lower in _IN_NAMES:
        return opener not in OPENERS
    return False
