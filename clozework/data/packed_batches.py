"""Batches of training in rows: one step for each, with all of its texts, in few shapes."""

import functools
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from clozework.data.packed_rows import PackedRows, filled_rows, placed

__all__ = ["plan_batch"]

# Of texts that nothing is known about, rows are as long. They have on average so much room for each
# text: steps that are small where texts of usual lengths are, and large for the rest. Longer rows
# are for batches with a longer text, but any batch takes the shape that costs the least.
_ROW_LENGTH = 256
_ROOMS_IN_SHORT_ROWS = (16, 24, 32, 48, 64)
_ROOMS_IN_LONG_ROWS = (64, 80, 112, 160, 224, 336, 512)
# The same where no text is longer than a short row, as 256ths of it.
_PARTS_OF_SHORT_ROWS = (16, 24, 32, 40, 48, 64, 80, 96, 128, 160, 192, 256)
# Of texts whose lengths are known, batches are drawn: so many at the most, and few of many texts,
# which have much the same lengths. Rows may be as long as one of these.
_MOST_BATCHES_DRAWN = 100
_MOST_TEXTS_DRAWN = 12800
_ROW_LENGTHS = (32, 64, 96, 128, 192, 256, 320, 384, 448, *(512 << i for i in range(6)))
# So many shapes are for them, beside some of those for any texts, whose costs are so far apart. One
# more is worth its compilation if it saves more than this share of what is computed.
_MOST_USUAL_SHAPES = 8
_GROWTH_OF_OTHER_SHAPES = 4.0
_LEAST_SAVING = 0.01


def plan_batch(
    lengths: Sequence[int],
    *,
    longest_text: int | None = None,
    longest_row: int | None = None,
    has_one_length: bool = False,
    growth: float = 1.0,
    usual_lengths: tuple[int, ...] = (),
    has_open_shapes: bool = False,
) -> PackedRows:
    """Returns one step that holds all texts of a batch in their order: a slot for each.

    Batches of as many texts have at most twelve shapes, whatever the texts, where none can be
    longer than 512 tokens, and up to four more for each doubling of the longest. That is, unless
    shapes are open.

    Args:
        lengths: Number of tokens of each text.
        longest_text: Most tokens that a text can have; those of the longest by default.
        longest_row: Most tokens that the model can read; None for any number.
        has_one_length: Whether the rows of all batches have one length. Keras's metrics are means
            over rows first, so that labels of tokens would count by the length of their rows.
        growth: How many times as much a shape has to cost as the next smaller one. Fewer shapes are
            compiled sooner, and have more padding.
        usual_lengths: Numbers of tokens of some of the texts that all batches are made of, for
            shapes that lose little room; none for shapes that serve any texts.
        has_open_shapes: Whether a batch may have any shape, and takes the one that costs the least.

    Example:
    >>> batch = plan_batch([100, 200, 30])
    >>> batch.num_rows, batch.row_length, batch.texts
    (2, 256, (0, 1, 2))
    """
    lengths = [max(length, 1) for length in lengths]
    longest = max(1 << (max(*lengths, longest_text or 1) - 1).bit_length(), _ROW_LENGTH)
    longest = min(longest, longest_row or longest)
    if has_open_shapes:
        shapes = _shapes_of_one_batch(lengths, longest, has_one_length)
    elif usual_lengths:
        shapes = _shapes_of_usual_batches(len(lengths), longest, has_one_length, usual_lengths)
    else:
        shapes = _shapes_of_any_batches(len(lengths), longest, has_one_length)
    shapes = shapes if has_open_shapes else _thinned(shapes, growth)
    steps = (_batch_of_shape(lengths, shape) for shape in shapes)
    return next(step for step in steps if step is not None)


def _batch_of_shape(lengths: list[int], shape: tuple[int, int]) -> PackedRows | None:
    """Returns the step that holds all texts in their order, or None where they do not fit."""
    num_rows, row_length = shape
    if max(lengths) > row_length or sum(lengths) > num_rows * row_length:
        return None
    rows = _rows_of_batch(lengths, row_length)
    if len(rows) > num_rows:
        return None
    step = placed(rows, lengths, shape, len(lengths))
    order = np.argsort(step.texts)
    in_order = tuple(range(len(lengths)))
    return replace(
        step,
        slots_shape=(len(lengths),),
        texts=in_order,
        slots=in_order,
        rows=tuple(step.rows[i] for i in order),
        starts=tuple(step.starts[i] for i in order),
        lengths=tuple(lengths),
    )


def _rows_of_batch(lengths: list[int], row_length: int) -> list[list[int]]:
    [rows] = filled_rows(
        lengths, [row_length], row_length, texts_in_row=lambda _: len(lengths)
    ).values()
    return rows


def _shapes_of_one_batch(
    lengths: list[int], longest: int, has_one_length: bool
) -> list[tuple[int, int]]:
    """Returns the least shapes that a batch fits into, those that cost the least first."""
    row_lengths = [n for n in _row_lengths(longest, has_one_length) if n >= max(lengths)]
    return sorted(((len(_rows_of_batch(lengths, n)), n) for n in row_lengths), key=_cost)


def _row_lengths(longest: int, has_one_length: bool) -> list[int]:
    shorter = [] if has_one_length else [n for n in _ROW_LENGTHS if n < longest]
    return [*shorter, longest]


@functools.lru_cache(maxsize=64)
def _shapes_of_usual_batches(
    num_texts: int, longest: int, has_one_length: bool, usual_lengths: tuple[int, ...]
) -> list[tuple[int, int]]:
    """Returns the shapes that rows of a batch may have, those that cost the least first.

    The shapes for batches of any texts are joined, one after another, by the one that saves most of
    what drawn batches cost: the greedy way to place facilities for the least distances.
    """
    others = _shapes_of_any_batches(num_texts, longest, has_one_length)
    others = _thinned(others, _GROWTH_OF_OTHER_SHAPES)
    lengths = {row_length for _, row_length in others}
    row_lengths = sorted({*lengths, *_row_lengths(longest, has_one_length)})
    needed = _rows_needed(num_texts, row_lengths, usual_lengths)
    candidates = {
        (_rounded(int(num_rows)), row_length)
        for of_length, row_length in zip(needed.T, row_lengths, strict=True)
        for num_rows in of_length
        if num_rows <= num_texts
    }
    candidates = [*others, *sorted(candidates - set(others))]
    costs = np.stack(
        [
            np.where(needed[:, row_lengths.index(shape[1])] <= shape[0], _cost(shape)[0], np.inf)
            for shape in candidates
        ]
    )
    least = costs[: len(others)].min(axis=0)
    usual = []
    while len(usual) < _MOST_USUAL_SHAPES:
        totals = np.minimum(costs, least).sum(axis=1)
        best = int(totals.argmin())
        if totals[best] > (1 - _LEAST_SAVING) * least.sum():
            break
        usual.append(candidates[best])
        least = np.minimum(costs[best], least)
    return sorted({*others, *usual}, key=_cost)


def _rows_needed(
    num_texts: int, row_lengths: list[int], usual_lengths: tuple[int, ...]
) -> np.ndarray:
    """Returns how many rows of each length drawn batches need, `(batches, row lengths)`.

    More than there are texts stand for rows that are too short.
    """
    generator = np.random.default_rng(0)
    num_drawn = max(min(_MOST_BATCHES_DRAWN, _MOST_TEXTS_DRAWN // num_texts), 1)
    needed = np.full((num_drawn, len(row_lengths)), num_texts + 1)
    for of_batch in needed:
        lengths = generator.choice(
            usual_lengths, num_texts, replace=len(usual_lengths) < num_texts
        ).tolist()
        for i, row_length in enumerate(row_lengths):
            if max(lengths) <= row_length:
                of_batch[i] = len(_rows_of_batch(lengths, row_length))
    return needed


def _rounded(num_rows: int) -> int:
    """Returns a number of rows that other data may need, too: eight to each doubling.

    >>> [_rounded(num_rows) for num_rows in (3, 15, 17, 33)]
    [3, 15, 18, 36]
    """
    step = 1 << max(num_rows.bit_length() - 4, 0)
    return -(-num_rows // step) * step


def _shapes_of_any_batches(
    num_texts: int, longest: int, has_one_length: bool
) -> list[tuple[int, int]]:
    """Returns the shapes that rows of a batch may have, those that cost the least first.

    The last one has a row of the greatest length for each text, which all texts fit into.
    """
    if longest <= _ROW_LENGTH:
        rooms = {longest: [longest * part / 256 for part in _PARTS_OF_SHORT_ROWS]}
    else:
        rooms = {
            _ROW_LENGTH: _ROOMS_IN_SHORT_ROWS,
            min(512, longest): [min(room, longest) for room in _ROOMS_IN_LONG_ROWS],
        }
        row_length = 512
        while row_length < longest:
            row_length = min(2 * row_length, longest)
            rooms[row_length] = [row_length >> i for i in range(4)]
    shapes = {
        _shape_with_room(num_texts, room, row_length)
        for row_length, rooms_of_texts in rooms.items()
        for room in rooms_of_texts
    }
    if has_one_length:
        shapes = {(-(-num_rows * length // longest), longest) for num_rows, length in shapes}
    return sorted(shapes, key=_cost)


def _shape_with_room(num_texts: int, room: float, row_length: int) -> tuple[int, int]:
    """Returns rows that have on average so much room for each text."""
    num_tokens = math.ceil(num_texts * room)
    if num_tokens < row_length:
        return 1, min(-(-num_tokens // 8) * 8, row_length)
    return -(-num_tokens // row_length), row_length


def _thinned(shapes: list[tuple[int, int]], growth: float) -> list[tuple[int, int]]:
    """Returns those of sorted shapes, the last one among them, whose costs are so far apart."""
    kept = shapes[-1:]
    for shape in reversed(shapes[:-1]):
        if _cost(shape)[0] * growth <= _cost(kept[0])[0]:
            kept.insert(0, shape)
    return kept


def _cost(shape: tuple[int, int]) -> tuple[float, int]:
    """Returns about how long rows take: as measured, a sixth more in rows of 512 than of 256."""
    num_rows, row_length = shape
    return num_rows * row_length * (row_length + 1344), row_length
