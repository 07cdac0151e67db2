"""Spans of a context as answers: from characters to tokens and back."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clozework.data import open_stream
from clozework.data.columns import as_list, describe
from clozework.errors import InputError

__all__ = ["NO_ANSWER", "Answer", "answer_span", "answer_tokens", "best_spans", "join_answers"]

# Where the answer of a question is that the context does not answer.
NO_ANSWER = (0, 0)


@dataclass(frozen=True)
class Answer:
    """A part of a context that answers a question.

    Attributes:
        text: The part itself; empty where the context holds no answer.
        start, end: Where it stands, in characters: `context[start:end]`.
        score: Probability of its first token times that of its last one, among those of the row.
    """

    text: str
    start: int
    end: int
    score: float


def join_answers(y) -> Any:
    """Turns answers as SQuAD has them, `{"text": [...], "answer_start": [...]}`, into spans.

    Of several answers the first one counts, and none is no answer. Anything else is handed back.

    Example:
    >>> join_answers([{"text": ["Paris"], "answer_start": [3]}, {"text": [], "answer_start": []}])
    [('Paris', 3), ('', 0)]
    """
    rows = None if y is None or open_stream(y) is not None else as_list(y)
    missing = [i for i, row in enumerate(rows or ()) if row is None]
    if missing:
        raise InputError(
            f"y[{missing[0]}] is None, but an answer is (start, end) in characters of the context. "
            f"Give (0, 0) where the context has no answer."
        )
    if not rows or not isinstance(rows[0], Mapping):
        return y
    return [_first_answer(i, row) for i, row in enumerate(rows)]


def _first_answer(i: int, row) -> tuple[str, int]:
    if not isinstance(row, Mapping) or not {"text", "answer_start"} <= row.keys():
        raise InputError(
            f"y[{i}] is {describe(row)}, but answers that are dicts need 'text' and 'answer_start'."
        )
    texts, starts = as_list(row["text"]) or [], as_list(row["answer_start"]) or []
    return (str(texts[0]), int(starts[0])) if texts else ("", 0)


def answer_span(context: str, answer) -> tuple[int, int]:
    """Returns where an answer stands in its context, in characters.

    Args:
        context: The text.
        answer: `(start, end)`, or `(text, start)`; an empty one is no answer.

    Raises:
        InputError: If it is neither, or not in the context.

    Example:
    >>> answer_span("in Paris", ("Paris", 3))
    (3, 8)
    """
    is_pair = isinstance(answer, tuple | list | np.ndarray) and len(answer) == 2
    first, second = answer if is_pair else (None, None)
    if isinstance(first, str) and isinstance(second, int | np.integer):
        start, end = int(second), int(second) + len(first)
        if context[start:end] != first:
            raise InputError(
                f"The answer {first!r:.80} does not begin at {start}, where the context has "
                f"{context[max(start, 0) : end]!r:.80}."
            )
    elif isinstance(first, int | np.integer) and isinstance(second, int | np.integer):
        start, end = int(first), int(second)
    else:
        raise InputError(
            f"An answer must be (start, end) in characters of the context, or (text, start). "
            f"Received: {answer!r:.80}."
        )
    if start == end:
        return NO_ANSWER
    if not 0 <= start < end <= len(context):
        raise InputError(
            f"The answer {(start, end)} is no part of its context of {len(context)} characters."
        )
    return start, end


def answer_tokens(
    context: str, offsets: Sequence[tuple[int, int]], span: tuple[int, int]
) -> tuple[int, int]:
    """Returns the first and the last token of a span of characters.

    Raises:
        InputError: If no token covers any of it.
    """
    start, end = span
    inside = [i for i, (a, b) in enumerate(offsets) if max(a, start) < min(b, end)]
    if not inside:
        raise InputError(f"The answer {context[start:end]!r} at {start} covers no token.")
    return inside[0], inside[-1]


def best_spans(
    start: np.ndarray, end: np.ndarray, *, top_k: int, max_length: int
) -> Iterator[tuple[int, int, float]]:
    """Yields the most probable spans of tokens: first token, last one, score; best first.

    Args:
        start, end: Probability of each token to be the first, and the last, `(tokens,)`.
        top_k: How many spans, at most.
        max_length: Most tokens of a span.

    Source: what `transformers` gives as the score of an answer,
    https://github.com/huggingface/transformers/blob/v4.57.0/src/transformers/pipelines/question_answering.py

    Example:
    >>> probabilities = np.array([0.5, 0.25, 0.25]), np.array([0.75, 0.25, 0.0])
    >>> list(best_spans(*probabilities, top_k=2, max_length=2))
    [(0, 0, 0.375), (0, 1, 0.125)]
    """
    tokens = len(start)
    length = min(max_length, tokens)
    # One row a first token: spans of one token, of two, and so on.
    padded = np.concatenate([end, np.zeros(length)])
    scores = start[:, None] * np.lib.stride_tricks.sliding_window_view(padded, length)[:tokens]
    for place in np.argsort(-scores, axis=None, kind="stable")[:top_k]:
        first, more = divmod(int(place), length)
        if first + more < tokens:
            yield first, first + more, float(scores[first, more])
