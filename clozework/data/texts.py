"""Collections of texts, checked."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from clozework.data import tensorflow
from clozework.data.columns import as_frame, as_list, describe, is_text, plain_row
from clozework.errors import InputError

__all__ = ["Texts", "checked_strings", "read_texts"]

_LABEL_COLUMNS = frozenset({"label", "labels"})


@dataclass(frozen=True)
class Texts:
    """Examples of text, one column for each text of an example."""

    columns: tuple[list[str], ...]

    def __len__(self) -> int:
        return len(self.columns[0])

    def take(self, indices: Sequence[int]) -> list:
        """Returns the examples at `indices`: strings, or tuples of strings."""
        picked = [[column[i] for i in indices] for column in self.columns]
        return picked[0] if len(picked) == 1 else list(zip(*picked, strict=True))

    def all(self) -> list:
        """Returns all examples, as `take` does."""
        return self.take(range(len(self)))

    def part(self, start: int, stop: int) -> list | tuple:
        """Returns some successive examples in a form that `read_texts` takes."""
        parts = tuple(column[start:stop] for column in self.columns)
        return parts[0] if len(parts) == 1 else parts


def read_texts(x) -> Texts:
    """Returns the texts of a list, array, column or table of them, or of a tuple of columns.

    Raises `InputError` for anything that is no string, naming where it stands.
    """
    if tensorflow.is_tensor(x):
        x = x.numpy()
    if is_text(x):
        raise InputError(
            f"x is one text, {describe(x)}. Wrap it in a list, x=[text]: models work on batches."
        )
    if isinstance(x, tuple) and x and not all(map(is_text, x)):
        return _from_columns(x)
    frame = as_frame(x)
    if frame is not None:
        return _from_frame(frame)
    if isinstance(x, np.ndarray) and x.ndim != 1:
        return _from_matrix(x)
    items = as_list(x)
    if isinstance(x, Mapping):
        raise InputError(
            f"x is a dict with {', '.join(map(repr, x)) or 'nothing'}, which holds no texts that "
            f"can be read. Hand in the columns that are meant: x=table['text'], or a tuple of "
            f"columns for pairs, x=(table['question'], table['context'])."
        )
    if items is None:
        raise InputError(
            f"x is {describe(x)}, which holds no texts that can be read. Expected a list of "
            "strings, a column (NumPy, pandas, polars, pyarrow, datasets), a tuple of these for "
            "pairs of texts, or a stream of batches."
        )
    if any(issubclass(kind, np.ndarray) for kind in set(map(type, items))):
        items = [plain_row(item) for item in items]
    if any(issubclass(kind, (list, tuple)) for kind in set(map(type, items))):
        return _from_rows(items)
    return Texts((checked_strings(items, "x[{}]".format),))


def checked_strings(items: list, place: Callable[[int], str], what: str = "text") -> list[str]:
    """Returns `items` as plain `str`, bytes decoded as UTF-8.

    Args:
        items: what should be strings.
        place: how a message calls the place of the item at an index.
        what: how a message calls an item.
    """
    if all(kind is str for kind in set(map(type, items))):
        return items
    wrong = [i for i, item in enumerate(items) if not is_text(item)]
    if wrong:
        first = wrong[0]
        more = f" (and {len(wrong) - 1} more of {len(items)})" if len(wrong) > 1 else ""
        raise InputError(
            f"{place(first)} is {describe(items[first])}{more}, but each {what} must be a string. "
            "Leave such rows out, or put strings in their place."
        )
    return [_decoded(item, place, i) for i, item in enumerate(items)]


def _decoded(item, place: Callable[[int], str], i: int) -> str:
    if isinstance(item, np.ndarray):
        item = item.item()
    if isinstance(item, str):
        return str(item)
    try:
        return bytes(item).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{place(i)} is {describe(item)}, which is not UTF-8. Decode it with its own encoding."
        ) from error


def _from_columns(x: tuple) -> Texts:
    columns = []
    for number, values in enumerate(x):
        items = None if is_text(values) else as_list(values)
        if items is None:
            raise InputError(
                f"x[{number}] is {describe(values)}. A tuple holds columns: all first texts, all "
                "second texts, and so on. Expected a list or column of strings."
            )
        columns.append(checked_strings(items, f"x[{number}][{{}}]".format))
    lengths = [len(column) for column in columns]
    if len(set(lengths)) > 1:
        raise InputError(
            f"x is a tuple of {len(x)} columns with {_listed(lengths)} texts. It holds all first "
            "texts, all second texts, and so on: as many of each. Use a list for single examples."
        )
    return Texts(tuple(columns))


def _from_frame(frame: list[tuple[str, object]]) -> Texts:
    names = [name for name, _ in frame]
    labels = sorted(_LABEL_COLUMNS.intersection(names))
    if labels or not frame:
        raise InputError(
            f"x is a table with the columns {', '.join(map(repr, names)) or '(none)'}. Hand in the "
            'columns that are meant: x=table["text"], y=table["label"].'
        )
    columns = []
    for name, column in frame:
        place = f"x[{name!r}]".replace("{", "{{").replace("}", "}}")
        columns.append(checked_strings(as_list(column) or [], f"{place}[{{}}]".format))
    return Texts(tuple(columns))


def _from_matrix(x: np.ndarray) -> Texts:
    if x.ndim != 2 or not x.shape[1]:
        raise InputError(
            f"x is a NumPy array of shape {x.shape}. Expected one axis, (examples,), or two for "
            "examples of several texts, (examples, texts)."
        )
    columns = (x[:, j].tolist() for j in range(x.shape[1]))
    return Texts(
        tuple(checked_strings(column, f"x[{{}}, {j}]".format) for j, column in enumerate(columns))
    )


def _from_rows(rows: list) -> Texts:
    first = rows[0]
    for i, row in enumerate(rows):
        if _num_texts(row) == 0 or _num_texts(row) != _num_texts(first):
            raise InputError(
                f"x[{i}] is {describe(row)}, while x[0] is {describe(first)}. All examples must be "
                "strings, or all must be tuples of the same number of strings."
            )
    columns = zip(*rows, strict=True)
    return Texts(
        tuple(
            checked_strings(list(column), f"x[{{}}][{j}]".format)
            for j, column in enumerate(columns)
        )
    )


def _num_texts(row) -> int | None:
    return len(row) if isinstance(row, (list, tuple)) else None


def _listed(numbers: list[int]) -> str:
    return f"{', '.join(map(str, numbers[:-1]))} and {numbers[-1]}"
