"""From the classes of tokens to entities: words, and runs of words that belong together."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from clozework.tasks.tags import OUTSIDE, Entity, TagScheme

__all__ = ["AGGREGATIONS", "entities_in"]

AGGREGATIONS = ("first", "simple", "words")


@dataclass(frozen=True)
class _Tagged:
    """A token or word with the most probable of the tags."""

    start: int
    end: int
    tag: str
    score: float


def entities_in(
    text: str,
    offsets: Sequence[tuple[int, int]],
    probabilities: np.ndarray,
    *,
    names: Sequence[str],
    starts: Sequence[bool],
    aggregation: str,
) -> list[Entity]:
    """Returns the entities of a text, in its order.

    Args:
        text: The text.
        offsets: Where each token stands in it.
        probabilities: Of each tag for each token, `(tokens, tags)`.
        names: The tags.
        starts: Whether each token begins a word.
        aggregation: As in `TokenClassifier.tag`.

    Source: what `transformers` calls "first" and "simple",
    https://github.com/huggingface/transformers/blob/main/src/transformers/pipelines/token_classification.py
    """
    best = probabilities.argmax(axis=-1)
    tagged = [
        _Tagged(start, end, names[int(best[i])], float(probabilities[i].max()))
        for i, (start, end) in enumerate(offsets)
    ]
    if aggregation != "simple":
        tagged = _as_words(tagged, starts)
    tagged = [one for one in tagged if one.start < one.end]
    scheme = TagScheme(names)
    if aggregation == "words":
        groups: Iterable = ((scheme.split(one.tag)[1], [one]) for one in tagged)
    else:
        groups = _joined(tagged, scheme)
    return [
        Entity(
            text=text[group[0].start : group[-1].end],
            label=label,
            start=group[0].start,
            end=group[-1].end,
            score=float(np.mean([one.score for one in group])),
        )
        for label, group in groups
        if label != OUTSIDE
    ]


def _as_words(tokens: Sequence[_Tagged], starts: Sequence[bool]) -> list[_Tagged]:
    """Joins the tokens of each word, whose tag is that of its first token."""
    words: list[_Tagged] = []
    for token, is_start in zip(tokens, starts, strict=True):
        if is_start:
            words.append(token)
        elif words and token.start < token.end:
            first = words[-1]
            end = max(first.end, token.end)
            words[-1] = _Tagged(first.start, end, first.tag, first.score)
    return words


def _joined(tagged: Sequence[_Tagged], scheme: TagScheme) -> Iterator[tuple[str, list[_Tagged]]]:
    label, group, is_open = OUTSIDE, [], False
    for one in tagged:
        place, own = scheme.split(one.tag)
        if is_open and own == label and place in ("I", "L"):
            group.append(one)
        else:
            if group:
                yield label, group
            label, group = own, [one]
        is_open = place in ("B", "I")
    if group:
        yield label, group
