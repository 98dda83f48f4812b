"""The forms by which `body` recognizes headers, signatures, boilerplate and numbers, each at the start of a block."""

import re

_CAPITAL = "[A-ZÀ-ÖØ-Þ]"
_NAME = rf"{_CAPITAL}[\w.'’-]{{0,30}}"
_CLOCK = r"\d{1,2}[:.]\d\d(?:[:.]\d\d)?"


def _any(*forms: str, flags: int = re.IGNORECASE) -> re.Pattern[str]:
    """One of several forms."""
    return re.compile("(?:" + "|".join(forms) + ")", flags)


# E-mails.
STRONG_MAIL_LABEL = _any(
    r"(?:from|to|cc|bcc|sent|subject|reply-to|betreff|objet|asunto|emne|re|fwd?|aw)\s?:",
)
MAIL_LABEL = _any(
    STRONG_MAIL_LABEL.pattern,
    r"(?:date|importance|attachments?|message-id|received|mime-version|x-[\w-]+|content-[\w-]+)\s?:",
    r"(?:von|an|gesendet|datum|de|à|a|envoyé|fecha|para|fra|til)\s?:",
)
QUOTED = re.compile(r"[>|]")
QUOTE_INTRODUCTION = re.compile(
    r"(?:On|Am|Le|El|Den|Il) .{5,150}(?:wrote|schrieb.{0,60}|a écrit|escribió|skrev.{0,60}|ha scritto)\s?:$"
)
ORIGINAL_MESSAGE = _any(r"-{2,}\s?(?:Original|Forwarded|Ursprüngliche|Weitergeleitete) ")
RULE = re.compile(r"[-–—_=*~#. ]{2,}$")
SIGNATURE_RULE = re.compile(r"(?:--|—|_{3,})\s?$")
SIGNED = re.compile(rf"[–—] ?{_NAME}(?: {_NAME}){{0,2}}$")  # "– Dov"
SALUTATION = re.compile(
    r"(?:dear|hi|hey|hello|hiya|good (?:morning|afternoon|evening|day)|greetings|to whom it may concern"
    r"|all|team|colleagues|sehr geehrte[rs]?|liebe[rs]?|hallo|cher|chère|bonjour|hola|hei|hej|kjære)\b[^.?]{0,60}$",
    re.IGNORECASE,
)
CLOSING = re.compile(
    r"(?:(?:with |my |our )?(?:kind|kindest|best|warm|warmest)? ?(?:regards|wishes|greetings)|best|all the best"
    r"|yours(?: \w+)?|(?:many |with )?thanks(?: again| in advance)?|thank you|cheers|sincerely|warmly|love|take care|x+"
    r"|with (?:apologies|thanks|love|best wishes|kind regards)|see you.{0,20}|mit freundlichen grüßen|viele grüße"
    r"|cordialement|saludos|vennlig hilsen|med vänlig hälsning)\b\s?[,.!–-]?(?: ?\S{1,20})?$",
    re.IGNORECASE,
)

# Minutes and forms.
MINUTES = _any(
    r"(?:present|in attendance|attending|attendees|attendance|apologies(?: for absence)?|absent|excused|who|quorum"
    r"|members(?: present)?|chair(?:man|person)?|secretary|note ?taker|(?:minutes|notes)(?: (?:taken )?by)?"
    r"|distribution|venue|location|place|time|start|residents|agenda|copies? to"
    r"|(?:(?:date|time|date and time) of (?:the )?)?next (?:meeting|sync))\s?[:–(]",
    r"next (?:meeting|sync) ",
    r"(?:the )?meeting (?:was )?(?:closed|ended|adjourned|opened|called)|adjourned|call(?:ed)? to order",
    r"respectfully submitted|\(signed\)|signed\s?[:,]|agenda (?:was )?(?:adopted|approved)|quorum present",
)

# News and web pages.
BYLINE = re.compile(
    r"(?:By|Von|Par|Por|(?:Words|Story|Text|Report|Written|Reported|Reporting|Posted|Published|Photographs?|Photos?) by"
    rf"|Photo|Photograph|Image|Picture|Author) ?:? {_NAME}(?:,? (?:{_NAME}|and|in|for|the|of|de|van|von)){{0,12}}"
    r"(?:, .{0,60})?$"
)
DATE_NOTE = _any(
    r"(?:published|updated|posted|last (?:updated|modified)|first published|issued|effective)\b.{0,12}\d.{0,50}$"
)
BOILERPLATE = _any(
    r"we (?:and our partners )?use cookies|this (?:web)?site uses cookies|accept (?:all )?cookies",
    r"cookie (?:policy|settings|preferences)|privacy (?:policy|notice)",
    r"terms (?:of (?:use|service)|and conditions).{0,40}$|read (?:more|also|next)\b|see also\b",
    r"more (?:on|from)\b.{0,60}$|share (?:this|on|via)\b",
    r"related (?:articles?|stories|posts|links|topics)|sign up (?:for|to)\b|subscribe\b|advertisement$|sponsored$",
    r"follow us\b|click here|skip to (?:main )?content|view (?:this )?(?:e-?mail )?in (?:your )?browser|unsubscribe",
    r"please consider the environment|sent from (?:my|a) |get outlook for|(?:please )?do not reply|no-?reply",
    r"copyright (?:©|\(c\)|\d{4})|©|\(c\) ?\d{4}|all rights reserved|(?:media|press) (?:contacts?|e?i?nquiries)\b",
    r"for (?:more|further) (?:information|details)\b|notes? to editors|about the author|for immediate release",
    r"this article (?:was|first|originally|is) (?:published|appeared|part)|\(?(?:additional )?reporting by",
    r"\d+ (?:comments?|min(?:ute)?s? read|shares|likes)|media playback is not supported|would you like to rate",
    r"did you know\?|\[[\w ]{1,25} has (?:left|joined|ended)|-+ ?ends? ?-*$|#{3}$",
)
BOILERPLATE_ANYWHERE = _any(
    r"received (?:this (?:e-?mail|message|communication|transmission)|it) in error",
    r"intended (?:only |solely )?for the (?:addressee|named|intended|use|recipient)",
    r"(?:may be|is|are) (?:legally )?(?:privileged|confidential) and|all rights reserved|is a trading name of",
    r"registered (?:in|office|company)\b.{0,40}\bn[o°]|calls may be recorded|mailbox is not (?:read|monitored)",
    r"you (?:receive|received|are receiving) this (?:e-?mail|message|newsletter)",
)
ENDS_BODY = re.compile(
    r"(?:(?i:notes? to editors)\b|-+ ?(?i:ends?) ?-+$|ENDS$|#{3}$|About (?:the )?[A-Z][\w&.' -]{1,50}$)"
)
DATELINE = re.compile(
    rf"(?:{_CAPITAL}[A-ZÀ-ÖØ-Þ.'’ -]{{2,30}}(?:, [\w.]{{2,20}}(?: [\w.]{{1,15}})?){{0,3}}"
    rf"|{_NAME}(?: {_NAME})?, (?:\d{{1,2}}\.? [A-Z]\w{{2,9}}\.?|[A-Z]\w{{2,9}}\.? \d{{1,2}})(?:,? \d{{4}})?)"
    r"(?: \([A-Z][\w .-]{1,20}\))? ?(?:--|[–—-]) +(?=\S)"
)
FENCE = re.compile(r"```|~~~")
MARKDOWN_HEADING = re.compile(r"#{1,6}[ \t]")
IMAGE = re.compile(r"!\[|\[!\[|<img\b|\|.*\|$")

# Lists and clauses.
ITEM = re.compile(r"(?:[-*•‣◦▪⁃·–—+★☐✓→➤►][ \t]+|[•‣◦▪⁃★☐✓])+")
NUMBER = re.compile(
    r"(?:(?:Section|Article|Clause|Item|SECTION|ARTICLE|CLAUSE|ITEM)[ \t]+[\dIVXLC][\dIVXLC.]{0,9}|§+[ \t]?\d[\d.]{0,9}"
    r"|\d{1,4}/\d{1,4}|\d{1,3}(?:\.\d{1,3}){1,4}|\(?\d{1,3}[.)]|\(?[a-zA-Z]\)|\([ivx]{1,5}\)|[a-z]\.)"
    r"[.)]?(?:[ \t]*[–—:-])?[ \t]+(?=\S)"
)
PLAIN_NUMBER = re.compile(r"\(?\d{1,3}[.)]\s")
TITLE = re.compile(rf"{_CAPITAL}[\w'’&-]{{0,30}}(?:[ ,;]{{1,2}}[\w'’&-]{{1,30}}){{0,3}}\.[ \t]+(?=[A-ZÀ-ÖØ-Þ“\"(\d])")

# Chats.
SENDER = re.compile(
    rf"(?:\[?{_CLOCK}\]?[ \t,–-]*(?:[\w.'’ -]{{1,25}}: )?|\[[^\]\n]{{3,30}}\][ \t]*[\w.'’ -]{{1,25}}: "
    r"|[\w.'’-]{1,20}(?: [\w.'’-]{1,20}){0,2}(?: \([^)\n]{1,12}\))?: )(?=\S)"
)
SENDER_LINE = re.compile(rf"\S.{{0,30}}[\s\[(]{_CLOCK}[\])]?$|\[?{_CLOCK}\]?$|[#@]\S{{1,40}}$|\[[^\]]{{1,60}}\]$")

ENDS_SENTENCE = re.compile(r"[.!?…。！？।؟:;,][\"'”’)\]»*_]*(?:\s?\[\d{1,3}\])*$")
WORD = re.compile(r"\w+")
