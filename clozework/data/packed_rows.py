"""Texts of any lengths in rows of few lengths: next to no padding, few shapes to compile.

A row holds one text behind another, and `padding_mask` tells them apart: 0 is padding, and each
text of a step has a number of its own, from 2 on. `first_tokens` says where each text begins.
"""

import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from itertools import accumulate

import numpy as np

__all__ = [
    "FIRST_TOKENS",
    "SHORTEST_TEXT",
    "PackedRows",
    "filled_rows",
    "placed",
    "plan_steps",
]

# The input that packed rows have beside the model's own. Sorted by name it is the first of them,
# and Keras weighs the loss of a batch by the length of its first input: the number of texts.
FIRST_TOKENS = "first_tokens"

_ROW_LENGTHS = tuple(2**i for i in range(4, 15))
# Where there is more than this to compute, rows are no shorter: products of matrices are as fast
# as they get, and attention over them costs next to nothing. Large steps have no more rows than
# these, so that there are few shapes, up to a length that attention stays cheap for.
_USUAL_ROW_LENGTH = 128
_MOST_ROWS = 32
# Rows may be so long whatever the texts are.
_LEAST_LONGEST_ROW = 256
# Texts are rarely shorter, and a slot for each of them costs little.
SHORTEST_TEXT = 4
# A step that is not full has a half, a quarter or an eighth of the rows.
_HALVINGS = 3


@dataclass(frozen=True)
class PackedRows:
    """Which text lies where in the rows of one step.

    Attributes:
        num_rows, row_length: Shape of the rows.
        slots_shape: `(rows, slots)` for room for so many texts in each row, or `(texts,)` for a
            slot for each text, in their order.
        texts: Numbers of the texts.
        slots: The slot of each of them, counted through all.
        rows, starts: Where each begins.
        lengths: Number of tokens of each.
    """

    num_rows: int
    row_length: int
    slots_shape: tuple[int, ...]
    texts: tuple[int, ...]
    slots: tuple[int, ...]
    rows: tuple[int, ...]
    starts: tuple[int, ...]
    lengths: tuple[int, ...]

    def pack(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns the inputs of the step.

        Args:
            arrays: Inputs `(texts, tokens)` without packing, each text from the start of its row;
                what is not about tokens is `mask_positions`, `(texts, masks)`.

        Returns:
            The same, of shape `(rows, row_length)`; `first_tokens` has the `slots_shape` and counts
            through all rows, as `mask_positions` `(slots, masks)` do. Slots without a text point at
            the first token of their row.
        """
        first_tokens = self._first_tokens()
        packed: dict[str, np.ndarray] = {FIRST_TOKENS: first_tokens}
        for name, values in arrays.items():
            if name == "padding_mask":
                numbers = np.asarray(self.slots, "int32") + 2
                packed[name] = self._spread(np.repeat(numbers, self.lengths))
            elif name == "mask_positions":
                positions = np.zeros((first_tokens.size, values.shape[1]), "int32")
                positions[list(self.slots)] = values[list(self.texts)]
                packed[name] = positions + first_tokens.reshape(-1, 1)
            else:
                packed[name] = self.spread(values)
        return packed

    def is_full(self, tokens_per_step: int) -> bool:
        """Returns whether there is no room for another row; `tokens_per_step` as planned with."""
        return max(self.rows) + 1 >= _most_rows(tokens_per_step, self.row_length)

    def filled(self, tokens_per_step: int) -> "PackedRows":
        """Returns the same with the shape of a full step; rows behind the texts are empty."""
        num_rows = _most_rows(tokens_per_step, self.row_length)
        return replace(self, num_rows=num_rows, slots_shape=(num_rows, *self.slots_shape[1:]))

    def spread(self, values: np.ndarray) -> np.ndarray:
        """Returns values of tokens `(texts, tokens)` where their tokens lie, elsewhere zeros."""
        texts, columns, _, _ = self._tokens
        return self._spread(values[texts, columns])

    def take(self, values: np.ndarray, i: int, axis: int) -> np.ndarray:
        """Returns the part of values `(rows, ...)` that belongs to the tokens of a text.

        Args:
            values: Values of all rows.
            i: Which of the `texts`.
            axis: That of the tokens, in `values`.
        """
        start = self.starts[i]
        of_tokens = [slice(None)] * values.ndim
        of_tokens[axis] = slice(start, start + self.lengths[i])
        return values[(self.rows[i], *of_tokens[1:])]

    def _first_tokens(self) -> np.ndarray:
        first_tokens = np.zeros(self.slots_shape, "int32")
        if first_tokens.ndim == 2:
            first_tokens += self.row_length * np.arange(self.num_rows, dtype="int32")[:, None]
        starts = np.asarray(self.rows) * self.row_length + np.asarray(self.starts)
        np.put(first_tokens, self.slots, starts)
        return first_tokens

    @cached_property
    def _tokens(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Text and place in it, row and place in that, of each token of one text after another."""
        counts = np.asarray(self.lengths)
        texts = np.repeat(np.asarray([self.texts, self.rows, self.starts]), counts, axis=1)
        columns = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return texts[0], columns, texts[1], texts[2] + columns

    def _spread(self, values: np.ndarray) -> np.ndarray:
        """Returns values of tokens, of one text after another, where they lie in the rows."""
        _, _, rows, columns = self._tokens
        spread = np.zeros((self.num_rows, self.row_length), values.dtype)
        spread[rows, columns] = values
        return spread


def plan_steps(
    lengths: Sequence[int],
    *,
    tokens_per_step: int,
    longest_row: int | None = None,
    longest_usual_row: int = 512,
    shortest_text: int = SHORTEST_TEXT,
    has_open_shapes: bool = False,
) -> list[PackedRows]:
    """Returns steps that hold all texts, long texts first.

    Whatever the texts, there are at most twelve shapes of up to 512 tokens a row, unless they are
    open.

    Args:
        lengths: Number of tokens of each text.
        tokens_per_step: How much is computed at once, unless a text is longer.
        longest_row: Most tokens that the model can read; None for any number.
        longest_usual_row: Most tokens in a row, unless a text is longer.
        shortest_text: A row of the usual length has one slot for so many tokens, and a longer row,
            which has a long text, as many.
        has_open_shapes: Whether steps may have any number of rows, and no more than they need.

    Example:
    >>> [step] = plan_steps([5, 30, 20, 60, 9], tokens_per_step=1024)
    >>> step.num_rows, step.row_length, step.texts
    (1, 128, (3, 1, 2, 4, 0))
    """

    usual = min(max(tokens_per_step // _MOST_ROWS, _USUAL_ROW_LENGTH), longest_usual_row)

    @cache
    def slots(row_length: int) -> int:
        return max(min(row_length, usual) // shortest_text, 1)

    lengths = [max(length, 1) for length in lengths]
    row_lengths = _row_lengths(max(lengths, default=1), longest_row)
    total = sum(lengths)
    shortest = min(usual, tokens_per_step)
    if total < shortest and len(lengths) <= slots(total):
        # All of them in one short row.
        shortest = tokens_per_step = total
    steps = []
    by_length = filled_rows(lengths, row_lengths, shortest, texts_in_row=slots)
    for row_length, rows in by_length.items():
        most = _most_rows(tokens_per_step, row_length)
        counts = sorted({max(most >> i, 1) for i in range(_HALVINGS + 1)})
        for start in range(0, len(rows), most):
            part = rows[start : start + most]
            num_rows = len(part)
            if not has_open_shapes:
                num_rows = counts[bisect.bisect_left(counts, num_rows)]
            steps.append(placed(part, lengths, (num_rows, row_length), slots(row_length)))
    return steps


def _most_rows(tokens_per_step: int, row_length: int) -> int:
    return max(tokens_per_step // row_length, 1)


def _row_lengths(longest_text: int, longest_row: int | None) -> list[int]:
    """Returns the lengths that rows may have; the last one holds the longest text."""
    longest = longest_row or max(1 << (longest_text - 1).bit_length(), _LEAST_LONGEST_ROW)
    return [*(length for length in _ROW_LENGTHS if length < longest), longest]


def _at_least(row_lengths: list[int], needed: int) -> int:
    return row_lengths[min(bisect.bisect_left(row_lengths, needed), len(row_lengths) - 1)]


def filled_rows(
    lengths: list[int], row_lengths: list[int], shortest: int, *, texts_in_row
) -> dict[int, list[list[int]]]:
    """Returns rows of texts, by their lengths: each text goes where the least room is left over."""
    rows: dict[int, list[list[int]]] = {}
    # Room left and number of each open row, the least first.
    open_rows: list[tuple[int, int]] = []
    members: list[tuple[int, list[int]]] = []
    for text in np.argsort(-np.asarray(lengths), kind="stable").tolist():
        length = lengths[text]
        place = bisect.bisect_left(open_rows, (length, -1))
        if place < len(open_rows):
            room, number = open_rows.pop(place)
        else:
            room, number = _at_least(row_lengths, max(length, shortest)), len(members)
            members.append((room, []))
            rows.setdefault(room, []).append(members[-1][1])
        row_length, row = members[number]
        row.append(text)
        if room > length and len(row) < texts_in_row(row_length):
            bisect.insort(open_rows, (room - length, number))
    return rows


def placed(
    rows: list[list[int]], lengths: list[int], shape: tuple[int, int], slots_in_row: int
) -> PackedRows:
    """Returns the step in which the texts of each row lie one behind another, from its start."""
    texts = [text for row in rows for text in row]
    numbers = [number for number, row in enumerate(rows) for _ in row]
    slots = [number * slots_in_row + i for number, row in enumerate(rows) for i in range(len(row))]
    starts = [
        start
        for row in rows
        for start in accumulate((lengths[text] for text in row[:-1]), initial=0)
    ]
    return PackedRows(
        *shape,
        slots_shape=(shape[0], slots_in_row),
        texts=tuple(texts),
        slots=tuple(slots),
        rows=tuple(numbers),
        starts=tuple(starts),
        lengths=tuple(lengths[text] for text in texts),
    )
