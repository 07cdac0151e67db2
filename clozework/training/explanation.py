"""Which words a classifier's answer hangs on."""

import re
from dataclasses import dataclass
from html import escape

from clozework.errors import InputError

__all__ = ["Explanation", "WordWeight", "explain_class", "explanation_page"]

_WORD = re.compile(r"\S+")


@dataclass(frozen=True)
class WordWeight:
    """What a word does for an answer.

    Attributes:
        word: As it stands in the text.
        start, end: Where, in characters.
        weight: By how much the probability falls without it; below 0, it speaks against.
    """

    word: str
    start: int
    end: int
    weight: float


@dataclass(frozen=True)
class Explanation:
    """Why a text is given a class.

    Attributes:
        text: The text.
        label: The class.
        probability: What the classifier says of it.
        words: All words of the text, in their order.
    """

    text: str
    label: str
    probability: float
    words: list[WordWeight]


def explain_class(classifier, text: str, label: str | None = None) -> Explanation:
    """Returns what each word does for the class of a text: how probable it is without that word.

    The method is leaving one out: Li et al., 2016, https://arxiv.org/abs/1612.08220. Words that say
    the same thing twice each look needless.

    Args:
        classifier: A `TextClassifier` with names of its classes.
        text: Of two words or more.
        label: The class to be explained; the likeliest by default.

    Raises:
        InputError: If there is nothing to leave out, or no such class.
    """
    words = list(_WORD.finditer(text))
    if len(words) < 2:
        raise InputError(f"{text!r:.60} has fewer than two words: there is nothing to leave out.")
    without = [f"{text[: word.start()]}{text[word.end() :]}".strip() for word in words]
    whole, *others = classifier.classify([text, *without])
    label = whole[0].label if label is None else label
    probability = _probability(whole, label)
    return Explanation(
        text,
        label,
        probability,
        [
            WordWeight(
                word.group(), word.start(), word.end(), probability - _probability(found, label)
            )
            for word, found in zip(words, others, strict=True)
        ],
    )


def explanation_page(explanation: Explanation) -> str:
    """Returns the text as a page of HTML, each word coloured by its weight."""
    most = max(abs(word.weight) for word in explanation.words) or 1.0
    parts, position = [], 0
    for word in explanation.words:
        kind = "for" if word.weight >= 0 else "against"
        share = abs(word.weight) / most
        parts.append(escape(explanation.text[position : word.start]))
        parts.append(
            f'<span class="{kind}" style="--share:{share:.2f}" title="{word.weight:+.3f}">'
            f"{escape(word.word)}</span>"
        )
        position = word.end
    parts.append(escape(explanation.text[position:]))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(explanation.label)}</title><style>{_STYLE}</style></head>\n<body>\n"
        f"<p><strong>{escape(explanation.label)}</strong> {explanation.probability:.1%}</p>\n"
        f'<p class="text">{"".join(parts)}</p>\n'
        "<p>Blue words speak for the class, orange ones against it.</p>\n</body></html>\n"
    )


def _probability(labels, label: str) -> float:
    for one in labels:
        if one.label == label:
            return one.probability
    raise InputError(
        f"The classifier has no class {label!r}. It has: "
        f"{', '.join(repr(one.label) for one in labels)}."
    )


_STYLE = """
:root { color-scheme: light dark; --for: 36 99 201; --against: 224 112 24; }
body { font: 18px/1.8 system-ui, sans-serif; max-width: 44rem; margin: 2rem auto; padding: 0 1rem; }
.text { white-space: pre-wrap; } span { border-radius: .25rem; padding: .1rem .15rem; }
.for { background: rgb(var(--for) / calc(.55 * var(--share))); }
.against { background: rgb(var(--against) / calc(.55 * var(--share))); }
"""
