"""Terms of a text for search: its words, of which singular and plural are one.

English endings of the plural are taken off by the rules of the S stemmer (Harman, "How Effective is
Suffixing?", 1991): weak, so that it hardly ever makes two words one that are not.
"""

from model.words import tokens

_KEPT_ES = ("aes", "ees", "oes")
_KEPT_S = ("us", "ss", "is")


def terms(text: str) -> list[str]:
    """The terms of a text, in order, with repetitions."""
    return [_singular(token) if token[-1] == "s" else token for token in tokens(text)]


def _singular(word: str) -> str:
    """``boxes`` to ``box``, ``candies`` to ``candy``, ``lights`` to ``light``."""
    if len(word) < 4 or not word.isascii():
        return word
    if word.endswith("ies"):
        return word if word.endswith(("eies", "aies")) else word[:-3] + "y"
    if word.endswith(("xes", "ches", "shes", "sses", "zzes")):
        return word[:-2]
    if word.endswith("es"):
        return word if word.endswith(_KEPT_ES) else word[:-1]
    return word if word.endswith(_KEPT_S) else word[:-1]
