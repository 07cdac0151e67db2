"""Packing of token sequences into rows of a fixed length: NumPy only, before any model."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np

from clozework.errors import ConfigError, InputError

__all__ = ["MultiSegmentPacker", "StartEndPacker", "as_token_rows"]

_TRUNCATIONS = ("round_robin", "waterfall")
_SIDES = ("left", "right")


class StartEndPacker:
    """Cuts sequences to fit, puts a start and an end around each, and pads to a fixed length.

    Args:
        sequence_length: Length of the outputs.
        start_value: Id or token, or a list of them, to put first; `None` for nothing.
        end_value: The same for the end, which is never cut off.
        pad_value: Id or token for unused positions; 0 or `""` by default.
        return_padding_mask: Whether to return a mask, `True` for what is not padding, as a second
            output.
        name: Name that goes into the config.
        padding_side: `"right"` or `"left"`.

    Inputs: one sequence, or a batch as a list of sequences or an array.
    Outputs: int32 `(batch, sequence_length)`, or `(sequence_length,)` for one sequence; lists for
    tokens.

    Example:
    >>> packer = StartEndPacker(sequence_length=6, start_value=1, end_value=2)
    >>> packer([[5, 6, 7], [8, 9, 10, 11, 12]]).tolist()
    [[1, 5, 6, 7, 2, 0], [1, 8, 9, 10, 11, 2]]
    """

    def __init__(
        self,
        sequence_length,
        start_value=None,
        end_value=None,
        pad_value=None,
        return_padding_mask=False,
        name=None,
        padding_side="right",
        *,
        dtype="int32",
        trainable=True,
    ):
        self.sequence_length = sequence_length
        self.start_value = _value_list("start_value", start_value)
        self.end_value = _value_list("end_value", end_value)
        self.pad_value = pad_value
        self.return_padding_mask = return_padding_mask
        self.padding_side = _one_of("padding_side", padding_side, _SIDES)
        self.name = name or "start_end_packer"
        self.dtype = dtype
        self.trainable = trainable
        self._given = {"start_value": start_value, "end_value": end_value}

    def __call__(self, inputs, sequence_length=None, add_start_value=True, add_end_value=True):
        """Packs `inputs`; `sequence_length` overrides that of the packer in this call."""
        length = _length(sequence_length, self.sequence_length)
        rows, is_batch = as_token_rows(inputs)
        start = self.start_value if add_start_value else []
        end = self.end_value if add_end_value else []
        room = _room(length, len(start) + len(end))
        rows = [[*start, *row[:room], *end] for row in rows]
        packed = _padded(rows, length, self.pad_value, self.padding_side)
        outputs = packed if is_batch else packed[0]
        if not self.return_padding_mask:
            return outputs
        mask = _padded([[1] * len(row) for row in rows], length, 0, self.padding_side).astype(bool)
        return outputs, mask if is_batch else mask[0]

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            "name": self.name,
            "trainable": self.trainable,
            "dtype": self.dtype,
            "sequence_length": self.sequence_length,
            **self._given,
            "pad_value": self.pad_value,
            "return_padding_mask": self.return_padding_mask,
            "padding_side": self.padding_side,
        }

    @classmethod
    def from_config(cls, config):
        """Returns a packer with the arguments that `get_config` gave."""
        return cls(**config)


class MultiSegmentPacker:
    """Joins the segments of each example into one row: start, segment, separator, segment, end,
    padding.

    Args:
        sequence_length: Length of the outputs.
        start_value: Id or token, or a list of them, to put first.
        end_value: The same for the end of the last segment.
        sep_value: The same for the end of every other segment; that of the end by default.
        pad_value: Id or token for unused positions; 0 or `""` by default.
        truncate: `"round_robin"` gives room to the segments in turn, a token each, `"waterfall"`
            from left to right.
        padding_side: `"right"` or `"left"`.
        name: Name that goes into the config, as for `dtype` and `trainable`.

    Inputs: a tuple of segments, each one sequence or a batch of them; anything else is one segment.
    Outputs: ids, and the number of the segment each belongs to (0 for padding), both int32
        `(batch, sequence_length)`, or `(sequence_length,)` for one example.

    Example:
    >>> packer = MultiSegmentPacker(sequence_length=8, start_value=101, end_value=102)
    >>> token_ids, segment_ids = packer(([1, 2, 3, 4], [11, 12, 13, 14]))
    >>> token_ids.tolist(), segment_ids.tolist()
    ([101, 1, 2, 3, 102, 11, 12, 102], [0, 0, 0, 0, 0, 1, 1, 1])
    """

    def __init__(
        self,
        sequence_length,
        start_value,
        end_value,
        sep_value=None,
        pad_value=None,
        truncate="round_robin",
        padding_side="right",
        *,
        name=None,
        dtype="int32",
        trainable=True,
    ):
        self.sequence_length = sequence_length
        self.start_value = _value_list("start_value", start_value)
        self.end_value = _value_list("end_value", end_value)
        self.sep_value = (
            self.end_value if sep_value is None else _value_list("sep_value", sep_value)
        )
        self.pad_value = pad_value
        self.truncate = _one_of("truncate", truncate, _TRUNCATIONS)
        self.padding_side = _one_of("padding_side", padding_side, _SIDES)
        self.name = name or "multi_segment_packer"
        self.dtype = dtype
        self.trainable = trainable
        self._given = {"start_value": start_value, "end_value": end_value, "sep_value": sep_value}

    def __call__(self, inputs, sequence_length=None, add_start_value=True, add_end_value=True):
        """Packs `inputs`; `sequence_length` overrides that of the packer in this call."""
        length = _length(sequence_length, self.sequence_length)
        segments, is_batch = _as_segments(inputs)
        start = self.start_value if add_start_value else []
        end = self.end_value if add_end_value else []
        specials = len(start) + len(end) + len(self.sep_value) * (len(segments) - 1)
        room = _room(length, specials)
        if len(segments) == 1:
            # Most texts are one segment; there is nothing to share, and nothing to number.
            rows = [row[:room] if len(row) > room else row for row in segments[0]]
            token_ids = _framed(rows, start, end, length, self.pad_value, self.padding_side)
            segment_ids = np.zeros((len(rows), length), "int32")
            return (token_ids, segment_ids) if is_batch else (token_ids[0], segment_ids[0])
        share = _round_robin if self.truncate == "round_robin" else _waterfall
        closings = [self.sep_value] * (len(segments) - 1) + [end]
        ids, numbers = [], []
        for parts in zip(*segments, strict=True):
            row, row_numbers = list(start), [0] * len(start)
            kept = share([len(part) for part in parts], room)
            for number, (part, count, closing) in enumerate(
                zip(parts, kept, closings, strict=True)
            ):
                row += part[:count]
                row += closing
                row_numbers += [number] * (count + len(closing))
            ids.append(row)
            numbers.append(row_numbers)
        token_ids = _padded(ids, length, self.pad_value, self.padding_side)
        segment_ids = _padded(numbers, length, 0, self.padding_side)
        return (token_ids, segment_ids) if is_batch else (token_ids[0], segment_ids[0])

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            "name": self.name,
            "trainable": self.trainable,
            "dtype": self.dtype,
            "sequence_length": self.sequence_length,
            **self._given,
            "pad_value": self.pad_value,
            "truncate": self.truncate,
            "padding_side": self.padding_side,
        }

    @classmethod
    def from_config(cls, config):
        """Returns a packer with the arguments that `get_config` gave."""
        return cls(**config)


def _round_robin(lengths: Sequence[int], room: int) -> list[int]:
    """Returns how much of each segment stays when they take a token each in turn."""
    if sum(lengths) <= room:
        return list(lengths)
    kept = [0] * len(lengths)
    # Whole rounds at once: as long as the shortest unfinished segment still takes part.
    while room > 0:
        open_segments = [i for i, length in enumerate(lengths) if kept[i] < length]
        rounds = min(room // len(open_segments), min(lengths[i] - kept[i] for i in open_segments))
        if rounds == 0:
            for i in open_segments[:room]:
                kept[i] += 1
            break
        for i in open_segments:
            kept[i] += rounds
        room -= rounds * len(open_segments)
    return kept


def _waterfall(lengths: Sequence[int], room: int) -> list[int]:
    """Returns how much of each segment stays when the first takes all it can, then the next."""
    kept = []
    for length in lengths:
        kept.append(min(length, room))
        room -= kept[-1]
    return kept


def as_token_rows(inputs) -> tuple[list[list], bool]:
    """Returns sequences as lists, and whether they came as a batch.

    An empty list is a batch without sequences; one sequence without tokens is an empty array, as
    the tokenizers give it.
    """
    if isinstance(inputs, (list, tuple)):
        if inputs and not isinstance(inputs[0], (list, tuple)) and np.ndim(inputs[0]) == 0:
            return [list(inputs)], False
        return [_as_row(i, row) for i, row in enumerate(inputs)], True
    array = np.asarray(inputs)
    if array.ndim not in (1, 2):
        raise InputError(
            f"Expected one sequence of tokens or a batch of them, got {type(inputs).__name__} of "
            f"rank {array.ndim}. Tokenize texts first."
        )
    return (array.tolist(), True) if array.ndim == 2 else ([array.tolist()], False)


def _as_row(index: int, row) -> list:
    if not isinstance(row, list):
        row = list(row) if isinstance(row, tuple) else np.asarray(row).tolist()
    if not isinstance(row, list) or (row and isinstance(row[0], (list, tuple))):
        raise InputError(
            f"Sequence {index} of the batch is {row!r:.60}, but it must be a flat list of tokens."
        )
    return row


def _as_segments(inputs) -> tuple[list[list[list]], bool]:
    inputs = inputs if isinstance(inputs, tuple) else (inputs,)
    if not inputs:
        raise InputError("Got no segment to pack; pass a tuple of at least one.")
    segments, are_batches = zip(*map(as_token_rows, inputs), strict=True)
    sizes = [len(rows) for rows in segments]
    if len(set(are_batches)) > 1 or len(set(sizes)) > 1:
        raise InputError(
            "All segments must have the same number of sequences, got "
            + ", ".join(
                f"{size} sequences" if is_batch else "one unbatched sequence"
                for size, is_batch in zip(sizes, are_batches, strict=True)
            )
            + ". A segment for each example is one list; several segments go in a tuple."
        )
    return list(segments), are_batches[0]


def _framed(rows: list[list], start: list, end: list, length: int, pad_value, side: str):
    """Returns rows between a start and an end, in the form of `_padded`."""
    if side == "left" or any(isinstance(value, str) for value in (*start, *end, pad_value)):
        framed = [[*start, *row, *end] for row in rows]
        return _padded(framed, length, pad_value, side)
    # Without a new list for each row, through all of which Python's collector would look.
    packed = np.full((len(rows), length), 0 if pad_value is None else pad_value, "int32")
    packed[:, : len(start)] = start
    columns = np.arange(length)
    counts = np.fromiter(map(len, rows), "int64", len(rows))[:, None]
    is_of_row = (columns >= len(start)) & (columns < len(start) + counts)
    packed[is_of_row] = np.fromiter(chain.from_iterable(rows), "int32", counts.sum())
    behind = len(start) + counts + np.arange(len(end))
    np.put_along_axis(packed, behind, np.asarray(end, "int32")[None], axis=1)
    return packed


def _padded(rows: list[list], length: int, pad_value, side: str):
    """Returns rows of equal length: an int32 array for ids, lists for tokens."""
    if any(row and isinstance(row[0], str) for row in rows):
        fill = "" if pad_value is None else pad_value
        padding = [[fill] * (length - len(row)) for row in rows]
        if side == "left":
            return [pad + row for pad, row in zip(padding, rows, strict=True)]
        return [row + pad for pad, row in zip(padding, rows, strict=True)]
    packed = np.full((len(rows), length), 0 if pad_value is None else pad_value, dtype="int32")
    lengths = np.array([len(row) for row in rows], dtype="int64")[:, None]
    columns = np.arange(length)
    is_used = columns < lengths if side == "right" else columns >= length - lengths
    packed[is_used] = np.fromiter(chain.from_iterable(rows), dtype="int32", count=is_used.sum())
    return packed


def _value_list(argument: str, value) -> list:
    if value is None:
        return []
    if isinstance(value, (int, str, np.integer)):
        return [value]
    if not isinstance(value, (list, tuple)):
        raise ConfigError(
            f"{argument} must be an id, a token or a list of them, got {type(value).__name__}."
        )
    return list(value)


def _one_of(argument: str, value, choices: tuple[str, ...]):
    if value not in choices:
        raise ConfigError(f"{argument} must be one of {', '.join(choices)}, got {value!r}.")
    return value


def _length(override, default) -> int:
    length = default if override is None else override
    if not isinstance(length, (int, np.integer)) or length < 1:
        raise ConfigError(f"sequence_length must be a whole number of at least 1, got {length!r}.")
    return int(length)


def _room(length: int, specials: int) -> int:
    if specials > length:
        raise ConfigError(
            f"sequence_length={length} has no room for the {specials} start, separator and end "
            f"values. Make it larger than {specials}."
        )
    return length - specials
