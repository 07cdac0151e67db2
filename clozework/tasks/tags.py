"""Tags of words and spans of characters: from what users hand in to one label a token."""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from clozework.data import open_stream
from clozework.data.columns import as_list, describe, plain_row
from clozework.data.texts import checked_strings
from clozework.errors import InputError

__all__ = [
    "OUTSIDE",
    "Entity",
    "TagScheme",
    "WordTag",
    "join_spans",
    "join_words",
    "span_tags",
    "word_starts",
    "word_tags",
]

# The tag of what belongs to nothing.
OUTSIDE = "O"
# Scripts whose words are not set apart by spaces: each token of theirs counts as a word.
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\uf900-\ufaff]")
_UNSPACED_BEYOND = 0x20000


@dataclass(frozen=True)
class Entity:
    """A part of a text that has a label.

    Attributes:
        text: The part itself.
        label: Without the prefix that says where an entity begins.
        start, end: Where it stands, in characters: `text[start:end]`.
        score: Probability of the label, the mean of its words or tokens.
    """

    text: str
    label: str
    start: int
    end: int
    score: float


class WordTag(NamedTuple):
    """A word of a text, in characters, and its tag; the tag is None where it is not known."""

    start: int
    end: int
    tag: Any


class TagScheme:
    """How names of tags say where an entity begins: IOB2, BILOU and their kin, or not at all.

    Args:
        names: All tags of a model.
    """

    def __init__(self, names: Sequence[str]):
        self._names = frozenset(names)
        self._labels = {name[2:] for name in names if name[:2] in ("B-", "I-")}

    def split(self, name: str) -> tuple[str, str]:
        """Returns how a tag stands to the one before it, and what it is without that.

        `"B"` begins an entity, `"I"` goes on with one, `"L"` ends it, `"U"` is one by itself. A
        name without a prefix goes on where its neighbour is the same.

        >>> TagScheme(["O", "B-PER", "I-PER"]).split("B-PER")
        ('B', 'PER')
        """
        prefix, _, label = name.partition("-")
        if label and prefix in ("B", "I"):
            return prefix, label
        if label in self._labels and prefix in ("L", "E", "U", "S"):
            return "L" if prefix in ("L", "E") else "U", label
        return "I", name

    def tags(self, label: str, count: int) -> list[str]:
        """Returns the tags of an entity of `count` words, as far as there are such names.

        >>> TagScheme(["O", "B-PER", "I-PER"]).tags("PER", 3)
        ['B-PER', 'I-PER', 'I-PER']
        """
        inner = self._first("I", label, default=label)
        if count == 1:
            return [self._first("USBI", label, default=label)]
        first = self._first("BI", label, default=label)
        return [first, *[inner] * (count - 2), self._first("LEI", label, default=label)]

    def _first(self, prefixes: str, label: str, *, default: str) -> str:
        names = (f"{prefix}-{label}" for prefix in prefixes)
        return next((name for name in names if name in self._names), default)


def join_words(x, y=None) -> tuple[Any, Any]:
    """Turns lists of words with a tag each into texts with a `WordTag` for each word.

    Anything else than a collection of lists of words is handed back as it is.

    Raises:
        InputError: If a word is no string, or there is not one tag for each.

    Example:
    >>> join_words([["to", "Rome"]], [["O", "LOC"]])[0]
    ['to Rome']
    """
    rows = None if open_stream(x) is not None else as_list(x)
    if not rows or not isinstance(plain_row(rows[0]), list | tuple):
        return x, y
    tags = None if y is None else as_list(y)
    if tags is not None and len(tags) != len(rows):
        raise InputError(
            f"x holds {len(rows)} lists of words, but y has {len(tags)} entries. There must be one "
            f"for each."
        )
    texts, labels = [], []
    for i, row in enumerate(rows):
        words = plain_row(row)
        if not isinstance(words, list | tuple):
            raise InputError(
                f"x[{i}] is {describe(row)}, while x[0] is a list of words. Give one kind."
            )
        words = checked_strings(list(words), f"x[{i}][{{}}]".format, "word")
        texts.append(" ".join(words))
        labels.append(list(_word_tags(i, words, None if tags is None else tags[i])))
    return texts, labels


def join_spans(y) -> Any:
    """Turns spans that are dicts with `"start"`, `"end"` and `"label"`, or `Entity`, into tuples.

    Anything else is handed back as it is.

    Raises:
        InputError: If a dict has not all of these, or a text has None for its labels.

    Example:
    >>> join_spans([[{"start": 3, "end": 8, "label": "LOC"}], []])
    [[(3, 8, 'LOC')], []]
    """
    rows = None if y is None or open_stream(y) is not None else as_list(y)
    rows = None if rows is None else [plain_row(row) for row in rows]
    if rows is None or not any(map(_has_no_tuples, rows)):
        return y
    return [_span_tuples(i, row) for i, row in enumerate(rows)]


def _has_no_tuples(row) -> bool:
    is_list = isinstance(row, list | tuple)
    return row is None or (is_list and any(isinstance(span, Mapping | Entity) for span in row))


def _span_tuples(i: int, row) -> list:
    if row is None:
        raise InputError(
            f"y[{i}] is None, but the labels of a text are a list of spans, (start, end, 'LABEL'). "
            f"Give an empty list where there is none."
        )
    row = [
        {"start": span.start, "end": span.end, "label": span.label}
        if isinstance(span, Entity)
        else span
        for span in row
    ]
    wrong = [s for s in row if isinstance(s, Mapping) and not {"start", "end", "label"} <= s.keys()]
    if wrong:
        raise InputError(
            f"y[{i}] holds {describe(wrong[0])}, but spans that are dicts need 'start', 'end' and "
            f"'label'."
        )
    return [(s["start"], s["end"], s["label"]) if isinstance(s, Mapping) else s for s in row]


def _word_tags(i: int, words: Sequence[str], tags) -> Iterator[WordTag]:
    tags = [None] * len(words) if tags is None else plain_row(tags)
    if not isinstance(tags, list | tuple) or len(tags) != len(words):
        raise InputError(
            f"Text {i} has {len(words)} words, but its tags are {describe(tags)}. Give a list with "
            f"one tag for each word."
        )
    start = 0
    for word, tag in zip(words, tags, strict=True):
        yield WordTag(start, start + len(word), tag)
        start += len(word) + 1


def word_starts(text: str, offsets: Sequence[tuple[int, int]]) -> list[bool]:
    """Tells of each token whether it begins a word.

    A word is a run of letters, their marks and digits; any other character is one by itself, and in
    scripts that are written without spaces each token is one.

    Args:
        text: The text.
        offsets: Where each token stands in it; one that covers nothing begins nothing.

    Example:
    >>> word_starts("unseen, now", [(0, 2), (2, 6), (6, 7), (8, 11)])
    [True, False, True, True]
    """
    starts, reached = [], 0
    for start, end in offsets:
        is_new = start < end and start >= reached
        if is_new and start > 0:
            is_new = not (_is_spaced_letter(text[start - 1]) and _is_spaced_letter(text[start]))
        starts.append(is_new)
        reached = max(reached, end)
    return starts


def _is_spaced_letter(character: str) -> bool:
    is_unspaced = _UNSPACED.match(character) or ord(character) >= _UNSPACED_BEYOND
    # Letters, digits, and the marks upon them.
    return not is_unspaced and unicodedata.category(character)[0] in "LNM"


def word_tags(
    offsets: Sequence[tuple[int, int]], words: Sequence[WordTag]
) -> Iterator[tuple[int, Any]]:
    """Yields the first token of each word and the word's tag; a word without tokens has none.

    Args:
        offsets: Where each token stands in the text.
        words: The words of the text, in order.

    Example:
    >>> list(word_tags([(0, 2), (3, 5), (5, 7)], [WordTag(0, 2, "O"), WordTag(3, 7, "LOC")]))
    [(0, 'O'), (1, 'LOC')]
    """
    token = 0
    for start, end, tag in words:
        while token < len(offsets) and offsets[token][1] <= max(start, offsets[token][0]):
            token += 1
        if token < len(offsets) and max(start, offsets[token][0]) < min(end, offsets[token][1]):
            yield token, tag
            token += 1


def span_tags(
    text: str, offsets: Sequence[tuple[int, int]], spans: Sequence, scheme: TagScheme
) -> Iterator[tuple[int, str]]:
    """Yields each token that begins a word, or a span, and its tag.

    Args:
        text: The text.
        offsets: Where each token stands in it.
        spans: `(start, end, label)` in characters of the text, in any order.
        scheme: How spans are written as tags.

    Raises:
        InputError: If a span is none of this text, overlaps another, or covers no token.

    Example:
    >>> scheme = TagScheme(["O", "B-LOC", "I-LOC"])
    >>> list(span_tags("to New York", [(0, 2), (3, 6), (7, 11)], [(3, 11, "LOC")], scheme))
    [(0, 'O'), (1, 'B-LOC'), (2, 'I-LOC')]
    """
    tags = {i: OUTSIDE for i, is_start in enumerate(word_starts(text, offsets)) if is_start}
    reached = 0
    for span in sorted(_checked_span(text, span) for span in spans):
        start, end, label = span
        if start < reached:
            raise InputError(f"Span {span!r} overlaps another one of its text, {text!r:.80}.")
        reached = end
        inside = [i for i, (a, b) in enumerate(offsets) if max(a, start) < min(b, end)]
        if not inside:
            raise InputError(
                f"Span {span!r} covers no token: there is {text[start:end]!r} in {text!r:.80}."
            )
        # A span may begin within a word.
        covered = [i for i in inside if i == inside[0] or i in tags]
        tags.update(zip(covered, scheme.tags(label, len(covered)), strict=True))
    yield from sorted(tags.items())


def _checked_span(text: str, span) -> tuple[int, int, str]:
    is_span = isinstance(span, tuple | list) and len(span) == 3
    if not is_span or not all(isinstance(place, int | np.integer) for place in span[:2]):
        raise InputError(
            f"Labels of a text must be spans, [(start, end, 'LABEL'), ...]; for one tag a word, "
            f"give the text as a list of words. Received: {span!r:.80} for {text!r:.80}."
        )
    start, end, label = span
    if not 0 <= start < end <= len(text) or not isinstance(label, str) or label == OUTSIDE:
        raise InputError(
            f"Span {tuple(span)!r:.80} is none of a text of {len(text)} characters, {text!r:.80}. "
            f"A span is (start, end, 'LABEL') with 0 <= start < end <= {len(text)}, and what is in "
            f"no span is {OUTSIDE!r}."
        )
    return start, end, label
