"""What a trained extractor knows of a text's sentences without a network: place, length, centrality, names, form.

Such features are those of Kupiec, Pedersen and Chen 1995 ("A trainable document summarizer").
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping

_WORD = re.compile(r"\w+")
_LONG_WORD_LETTERS = 4  # shorter words are mostly function words
_NAME = re.compile(r"(?<=[^\W\d_] )[^\W\d_a-zß-ÿ]\w+")
_QUOTE = re.compile('["“”«»]')
_FUTURE = re.compile(r"\b(?:will|would)\b")
_FIRST_OR_SECOND_PERSON = re.compile(r"\b(?:I|me|my|our|we|you|your)\b", re.IGNORECASE)
_BACK_REFERENCE = re.compile(
    r"(?:Also|And|But|He|Her|His|However|I|It|Its|She|So|That|Their|Then|There|They|This|Those|These|We)\b"
)


def sentence_features(sentences: list[str]) -> list[dict[str, float]]:
    """The features of each sentence of a text by name, all of similar size, in time linear in the text."""
    words = [_WORD.findall(sentence.lower()) for sentence in sentences]
    count = len(sentences)
    central = centrality(sentences)
    longest, most_central = max(map(len, words), default=0), max(central, default=0.0)
    mean_length = sum(map(len, words)) / max(1, count)
    sentences_with = Counter(word for group in words for word in set(group))
    last_with = {word: index for index, group in enumerate(words) for word in group}
    names = [_NAME.findall(sentence) for sentence in sentences]
    sentences_with_name = Counter(name for group in names for name in set(group))
    personal = [float(bool(_FIRST_OR_SECOND_PERSON.search(sentence))) for sentence in sentences]
    personal_share = sum(personal) / max(1, count)
    rows = []
    for index, (sentence, group) in enumerate(zip(sentences, words, strict=True)):
        distinct, length = set(group), len(group)
        content = {word for word in distinct if len(word) >= _LONG_WORD_LETTERS}
        shared = sum(sentences_with[word] - 1 for word in content)
        later = sum(last_with[word] > index for word in content)
        is_first, back_reference = float(index == 0), float(bool(_BACK_REFERENCE.match(sentence)))
        quote = float(bool(_QUOTE.search(sentence)))
        rows.append(
            {
                "first": is_first,
                "second": float(index == 1),
                "third": float(index == 2),
                "fourth": float(index == 3),
                "last": float(index == count - 1),
                "place": index / count,
                "reciprocal_place": 1 / (1 + index),
                "length": min(length, 60) / 20,
                "length_squared": (min(length, 60) / 20) ** 2,
                "shortness": max(0, 12 - length) / 12,
                "excess_length": max(0, length - 30) / 20,
                "relative_length": (length - mean_length) / 20,
                "longest": float(length == longest),
                "centrality": central[index],
                "centrality_squared": central[index] ** 2,
                "most_central": float(central[index] == most_central),
                "shared_words": shared / 20,
                "shared_words_share": shared / (1 + len(distinct)),
                "later_words": later / 10,
                "later_words_share": later / (1 + len(content)),
                "names": len(names[index]) / 3,
                "repeated_names": sum(sentences_with_name[name] - 1 for name in set(names[index])) / 5,
                "numbers": sum(word.isdigit() for word in group) / 2,
                "commas": sentence.count(",") / 3,
                "colon": float(":" in sentence or ";" in sentence),
                "bracket": float("(" in sentence),
                "quote": quote,
                "question": float(sentence.endswith("?")),
                "exclamation": float("!" in sentence),
                "future": float(bool(_FUTURE.search(sentence))),
                "personal": personal[index],
                "personal_quote": personal[index] * quote,
                "personal_in_personal_text": personal[index] * personal_share,
                "first_in_personal_text": is_first * personal_share,
                "back_reference": back_reference,
                "first_with_back_reference": is_first * back_reference,
                "length_of_first": is_first * min(length, 60) / 20,
                "first_of_many": is_first * math.log(count),
                "early_of_many": float(index < 3) * math.log(count),
            }
        )
    return rows


def feature_scores(sentences: list[str], weights: Mapping[str, float]) -> list[float]:
    """The sum of each sentence's features, each multiplied by its weight, which is 0 for those without."""
    return [sum(weights.get(name, 0.0) * value for name, value in row.items()) for row in sentence_features(sentences)]


def centrality(sentences: list[str]) -> list[float]:
    """The cosine of each sentence's TF-IDF vector with the sum of all, the document's centroid (Radev et al. 2004).

    A sentence is what a document is elsewhere: the inverse document frequency of a word is ln((1 + n) / df), where df
    of the n sentences have it.
    """
    counts = [Counter(_WORD.findall(sentence.lower())) for sentence in sentences]
    frequencies = Counter(word for count in counts for word in count)
    vectors = [
        {word: number * math.log((1 + len(counts)) / frequencies[word]) for word, number in count.items()}
        for count in counts
    ]
    centroid: defaultdict[str, float] = defaultdict(float)
    for vector in vectors:
        for word, value in vector.items():
            centroid[word] += value
    length = _norm(centroid)
    return [
        sum(value * centroid[word] for word, value in vector.items()) / (_norm(vector) * length or 1.0)
        for vector in vectors
    ]


def _norm(vector: dict[str, float]) -> float:
    return math.sqrt(sum(value * value for value in vector.values()))


FEATURES = tuple(sentence_features(["A sentence."])[0])
