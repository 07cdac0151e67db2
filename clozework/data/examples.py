"""Collections of examples with their labels and weights."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clozework.data.arrays import Arrays, read_arrays, read_labels, read_weights
from clozework.data.columns import as_frame, kind_of
from clozework.data.texts import Texts, read_texts
from clozework.errors import InputError

__all__ = ["Examples", "read_examples", "read_row"]

_LABEL_NAMES = ("label", "labels")


@dataclass(frozen=True)
class Examples:
    """Texts or arrays, and what belongs to each of them."""

    features: Texts | Arrays
    labels: Arrays | None
    weights: Arrays | None

    def __len__(self) -> int:
        return len(self.features)

    def all(self) -> tuple:
        """Returns `(x, y, sample_weight)` of all examples, as `take` does."""
        return self._from_each(lambda values: values.all())

    def take(self, indices: Sequence[int]) -> tuple:
        """Returns `(x, y, sample_weight)` of the examples at `indices`."""
        return self._from_each(lambda values: values.take(indices))

    def part(self, start: int, stop: int) -> tuple:
        """Returns `(x, y, sample_weight)` of some successive ones, as `read_examples` takes it."""
        return self._from_each(lambda values: values.part(start, stop))

    def _from_each(self, get: Callable) -> tuple:
        parts = (self.features, self.labels, self.weights)
        return tuple(None if values is None else get(values) for values in parts)


def read_examples(x, y=None, sample_weight=None, *, is_text: bool) -> Examples:
    """Returns a collection of examples, checked.

    Raises `InputError` for what cannot be read and where lengths differ.
    """
    if kind_of(x) == "datasets.DatasetDict":
        raise InputError(
            f"x holds several splits, {', '.join(map(repr, x))}. Choose one, as in "
            'x=splits["train"]["text"], y=splits["train"]["label"].'
        )
    if is_text and y is None and kind_of(x) == "datasets.Dataset":
        columns = dict(as_frame(x) or ())
        x, y, sample_weight = read_row(columns)
        _check_rows_are_examples(columns)
    features = read_texts(x) if is_text else read_arrays(x)
    examples = Examples(
        features,
        None if y is None else read_labels(y, is_text=is_text),
        None if sample_weight is None else read_weights(sample_weight, is_text=is_text),
    )
    for name, values in (("y", examples.labels), ("sample_weight", examples.weights)):
        if values is not None and len(values) != len(features):
            raise InputError(
                f"x holds {len(features)} examples, but {name} has {len(values)} entries. "
                "There must be one for each example."
            )
    return examples


def read_row(row: dict) -> tuple:
    """Returns `(x, y, sample_weight)` of a row, or of columns, whose names leave no doubt.

    Raises `InputError` unless these are "text" and perhaps "label" and "sample_weight".
    """
    labels = [name for name in _LABEL_NAMES if name in row]
    if "text" not in row or len(labels) > 1 or set(row) - {"text", "sample_weight", *labels}:
        raise InputError(
            f"The rows have the columns {', '.join(map(repr, row))}, where only 'text' and 'label' "
            'are understood by themselves. Hand in the columns, x=dataset["..."] and '
            'y=dataset["..."], or of a stream ((row["..."], row["..."]) for row in dataset).'
        )
    return row["text"], row[labels[0]] if labels else None, row.get("sample_weight")


def _check_rows_are_examples(columns: Mapping[str, Any]) -> None:
    """Raises `InputError` for a table whose rows seem to be batches: lists of the same length."""
    rows = zip(*columns.values(), strict=True) if len(columns) > 1 else ()
    first = next(iter(rows), ())
    lengths = {len(cell) if isinstance(cell, list | tuple) else None for cell in first}
    if len(lengths) == 1 and None not in lengths:
        raise InputError(
            f"Each row of x has lists of {lengths.pop()} in all of its columns "
            f"({', '.join(map(repr, columns))}), as a batch has. Hand in the dataset as it was "
            f"before `batch`, with `batch_size`; or iter(x) for its batches; or, if these are "
            f'examples of several texts with several labels, x["text"] and y.'
        )
