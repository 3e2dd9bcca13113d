"""Words of a text, whatever it is written in: what is searched for and what the network reads.

Tokens are the words of a text after Unicode compatibility folding; writing without spaces
(Chinese, Japanese, Korean, Thai) gives overlapping pairs of characters, and single ones. A symbol
such as an emoji is a token of its own.
"""

import re
import unicodedata
from itertools import pairwise

# Han, kana, Hangul, Thai, Lao, Khmer, Myanmar: scripts whose words are not held apart by spaces,
# and Korean, whose endings stick to its words.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf"
    "\u4e00-\u9fff\uac00-\ud7af\U00020000-\U0003ffff]+"
)
# Points of Hebrew and Arabic, which people leave out as they like; the Arabic line filler; the
# choice between a coloured and a plain emoji.
_OPTIONAL = re.compile(
    "[\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670"
    "\u06d6-\u06dc\u06df-\u06e8\u06ea-\u06ed\ufe00-\ufe0f]"
)
_ASCII_WORD = re.compile("[a-z0-9]+")
_NO_LETTER = re.compile(r"[^\w\s]|_")


def tokens(text: str) -> list[str]:
    """The tokens of a text, in order, with repetitions."""
    if text.isascii():  # the same, several times as fast
        return _ASCII_WORD.findall(text.lower())
    folded = _OPTIONAL.sub("", unicodedata.normalize("NFKC", text).casefold())
    found: list[str] = []
    for word in _NO_LETTER.sub(_set_apart, folded).split():
        rest = 0
        for run in _UNSPACED.finditer(word):
            if run.start() > rest:
                found.append(word[rest : run.start()])
            rest = run.end()
            characters = run.group()
            found.extend(each for each in characters if each.isalnum())
            found.extend(a + b for a, b in pairwise(characters))
        if rest < len(word):
            found.append(word[rest:])
    return found


def _set_apart(match: re.Match[str]) -> str:
    """What stands for a character that Python counts neither as a letter nor as a space."""
    character = match.group()
    match unicodedata.category(character):
        case "Mn" | "Mc":  # vowel signs of Thai, Hindi and others: parts of their words
            return character
        case "So":
            return f" {character} "
        case _:
            return " "
