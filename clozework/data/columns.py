"""Columns, frames and tensors of other libraries, recognised without importing these."""

from collections.abc import Callable, Mapping, Sequence
from operator import methodcaller

import numpy as np

from clozework.data import tensorflow
from clozework.errors import InputError

__all__ = [
    "ITERATED_KINDS",
    "as_array",
    "as_frame",
    "as_list",
    "describe",
    "is_text",
    "kind_of",
    "plain_row",
]

# What one column of each kind is as a list of Python objects.
_COLUMNS: Mapping[str, Callable] = {
    "datasets.Column": lambda column: list(column[:]),
    "numpy.ndarray": methodcaller("tolist"),
    "pandas.ExtensionArray": methodcaller("tolist"),
    "pandas.Index": methodcaller("tolist"),
    "pandas.Series": methodcaller("tolist"),
    "polars.Series": methodcaller("to_list"),
    "pyarrow.Array": methodcaller("to_pylist"),
    "pyarrow.ChunkedArray": methodcaller("to_pylist"),
}
# What a table of each kind is as a list of names and columns.
_FRAMES: Mapping[str, Callable] = {
    "datasets.Dataset": lambda table: [(name, table[name]) for name in table.column_names],
    "pandas.DataFrame": lambda table: list(table.items()),
    "polars.DataFrame": lambda table: [(column.name, column) for column in table.get_columns()],
    "pyarrow.RecordBatch": lambda table: list(zip(table.column_names, table.columns, strict=True)),
    "pyarrow.Table": lambda table: list(zip(table.column_names, table.columns, strict=True)),
}
_ARRAYS: Mapping[str, Callable] = {
    "pandas.DataFrame": methodcaller("to_numpy"),
    "pandas.Index": methodcaller("to_numpy"),
    "pandas.Series": methodcaller("to_numpy"),
    "polars.DataFrame": methodcaller("to_numpy"),
    "torch.Tensor": lambda tensor: tensor.detach().cpu().numpy(),
}
# What can only be read one after another, whatever else these classes offer.
ITERATED_KINDS = frozenset(
    {
        "datasets.IterableColumn",
        "datasets.IterableDataset",
        "grain.DataLoader",
        "grain.IterDataset",
        "grain.MapDataset",
        "torch.IterableDataset",
    }
)
_KINDS = frozenset(
    {
        *_COLUMNS,
        *_FRAMES,
        *_ARRAYS,
        *ITERATED_KINDS,
        "datasets.DatasetDict",
        "torch.DataLoader",
        "torch.Dataset",
    }
)


def kind_of(value) -> str | None:
    """Returns the package and class that decide how `value` is read, as in `"pandas.Series"`."""
    for cls in type(value).__mro__:
        kind = f"{cls.__module__.partition('.')[0]}.{cls.__name__}"
        if kind in _KINDS:
            return kind
    return None


def is_text(value) -> bool:
    """Tells whether `value` is one string, perhaps as bytes or as a NumPy array without axes."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value.item()
    return isinstance(value, (str, bytes))


def as_list(values) -> list | None:
    """Returns the items of a column, or None if `values` is no column."""
    if isinstance(values, list):
        return values
    if tensorflow.is_tensor(values):
        values = values.numpy()
    to_list = _COLUMNS.get(kind_of(values) or "")
    if to_list is not None:
        # A NumPy array without axes gives its one item instead of a list.
        items = to_list(values)
        return items if isinstance(items, list) else None
    if isinstance(values, Sequence) and not isinstance(values, (str, bytes)):
        return list(values)
    return None


def as_frame(values) -> list[tuple[str, object]] | None:
    """Returns names and columns of a table, or None if `values` is no table."""
    to_columns = _FRAMES.get(kind_of(values) or "")
    return (
        None if to_columns is None else [(str(name), column) for name, column in to_columns(values)]
    )


def as_array(values, name: str) -> np.ndarray:
    """Returns `values` as a NumPy array, of `object` where it holds more than numbers.

    Raises `InputError` for rows of different lengths.
    """
    if isinstance(values, np.ndarray):
        return values
    if tensorflow.is_tensor(values):
        return np.asarray(values.numpy())
    to_array = _ARRAYS.get(kind_of(values) or "")
    if to_array is not None:
        return to_array(values)
    items = as_list(values)
    try:
        # Without `items`, what follows NumPy's array protocol: JAX arrays, for instance.
        array = np.asarray(values if items is None else items)
    except ValueError as error:
        raise InputError(
            f"{name} is no array: its rows differ in length. Pad them to one length."
        ) from error
    # Where there are strings, NumPy has made strings of the numbers beside them.
    return np.asarray(items, dtype=object) if items and array.dtype.kind in "SU" else array


def plain_row(row):
    """Returns the items of a row if it is a NumPy array, else the row itself."""
    return row.tolist() if isinstance(row, np.ndarray) else row


def describe(value) -> str:
    """Returns `value` and its type for a message, cut to a readable length."""
    text = repr(value)
    return f"{text if len(text) <= 60 else text[:57] + '...'} ({type(value).__name__})"
