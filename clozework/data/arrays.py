"""Numbers: preprocessed inputs, labels and weights, checked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np

from clozework.data.columns import as_array, as_list, describe, is_text, plain_row
from clozework.data.texts import checked_strings
from clozework.errors import InputError

__all__ = ["Arrays", "read_arrays", "read_labels", "read_weights"]


@dataclass(frozen=True)
class Arrays:
    """Examples as arrays: one, or a dict, tuple or list of them, examples along the first axis."""

    structure: object

    def __len__(self) -> int:
        return len(keras.tree.flatten(self.structure)[0])

    def take(self, indices: Sequence[int]):
        """Returns the same structure with the examples at `indices`."""
        return keras.tree.map_structure(lambda array: array[np.asarray(indices)], self.structure)

    def all(self):
        """Returns all examples."""
        return self.structure

    def part(self, start: int, stop: int):
        """Returns the same structure with some successive examples."""
        return keras.tree.map_structure(lambda array: array[start:stop], self.structure)

    def strings(self) -> list[str] | None:
        """Returns all labels, also those of rows and of spans, if they are strings; else None."""
        if not isinstance(self.structure, np.ndarray) or self.structure.dtype != object:
            return None
        names: list = [
            label[-1] if isinstance(label, (tuple, list)) and label else label
            for item in self.structure
            for label in (item if isinstance(item, list) else [item])
        ]
        return names if all(isinstance(name, str) for name in names) else None


def read_arrays(values, name: str = "x") -> Arrays:
    """Returns arrays of numbers in the structure of `values`: dicts, tuples, lists of arrays.

    A list (or tuple) of numbers, or of lists, is one array.

    Raises `InputError` for anything but numbers, and for different numbers of examples.
    """
    structure = _structure(values, name)
    sizes = {f"{len(array)}" for array in keras.tree.flatten(structure)}
    if len(sizes) > 1:
        raise InputError(
            f"{name} holds arrays of different lengths, {' and '.join(sorted(sizes))}. The first "
            "axis of each must be the examples."
        )
    if not sizes:
        raise InputError(f"{name} is {describe(values)}: there are no arrays in it.")
    return Arrays(structure)


def read_labels(y, *, is_text: bool) -> Arrays:
    """Returns labels: an array of numbers, or of `object` with strings, ragged rows or spans.

    A span is `(start, end, name)`, or any named tuple; a row of spans is the label of one text.

    Args:
        y: labels as anything that `make_dataset` takes.
        is_text: whether they belong to texts. If not, only numbers will do, in any structure.

    Raises `InputError` for missing labels and for mixtures of kinds.
    """
    if not is_text:
        return read_arrays(y, "y")
    items = None if isinstance(y, np.ndarray) else as_list(y)
    if items is None:
        array = _with_axes(as_array(y, "y"), "y")
        if array.dtype.kind in "biuf":
            return Arrays(_without_missing(array))
        items = array.tolist()
    items = [plain_row(item) for item in items]
    kinds = set(map(type, items))
    if any(issubclass(kind, (str, bytes)) for kind in kinds):
        return Arrays(_objects(checked_strings(items, "y[{}]".format, "label")))
    if kinds and all(issubclass(kind, (list, tuple)) for kind in kinds):
        return Arrays(_label_rows(items))
    return Arrays(_without_missing(_numbers(as_array(items, "y"), "y")))


def read_weights(sample_weight, *, is_text: bool) -> Arrays:
    """Returns weights as numbers. Raises `InputError` for anything else, and for NaN and infinity.

    A single one of these would make every weight of the model NaN.
    """
    if is_text:
        weights = Arrays(_numbers(as_array(sample_weight, "sample_weight"), "sample_weight"))
    else:
        weights = read_arrays(sample_weight, "sample_weight")
    for array in keras.tree.flatten(weights.structure):
        wrong = np.argwhere(~np.isfinite(array))
        if len(wrong):
            place = tuple(wrong[0].tolist())
            raise InputError(
                f"sample_weight[{', '.join(map(str, place))}] is {array[place]}: a model learns "
                f"nothing from it but NaN. Give a finite number; 0 leaves an example out."
            )
    return weights


def _structure(values, name: str):
    if isinstance(values, Mapping):
        return {key: _structure(value, f"{name}[{key!r}]") for key, value in values.items()}
    if isinstance(values, (tuple, list)) and any(map(_holds_examples, values)):
        parts = [_structure(value, f"{name}[{i}]") for i, value in enumerate(values)]
        return tuple(parts) if isinstance(values, tuple) else parts
    return _numbers(as_array(values, name), name)


def _holds_examples(value) -> bool:
    """Tells whether `value` is one of several inputs, rather than a row of one."""
    return isinstance(value, Mapping) or (
        not isinstance(value, (list, tuple, str, bytes)) and np.ndim(value) > 0
    )


def _numbers(array: np.ndarray, name: str) -> np.ndarray:
    array = _with_axes(array, name)
    if array.dtype.kind in "biufc" or array.dtype.name.startswith(("bfloat16", "float8")):
        return array
    flat = array.ravel().tolist()
    wrong = next((i for i, item in enumerate(flat) if not isinstance(item, (int, float))), None)
    if wrong is None:
        # Objects that are all numbers: a pandas column that once held something else.
        return np.asarray(flat).reshape(array.shape)
    place = np.unravel_index(wrong, array.shape)
    where = f"{name}[{', '.join(str(i) for i in place)}]"
    hint = (
        "Texts need a preprocessor; without one, hand in arrays."
        if is_text(flat[wrong])
        else "Leave such rows out, or put numbers in their place."
    )
    raise InputError(f"{where} is {describe(flat[wrong])}, but numbers were expected. {hint}")


def _with_axes(array: np.ndarray, name: str) -> np.ndarray:
    if array.ndim == 0:
        raise InputError(
            f"{name} is {describe(array.item())}, a single value. Expected one for each example."
        )
    return array


def _without_missing(array: np.ndarray) -> np.ndarray:
    """Refuses NaN among single labels, which is how pandas writes a missing integer."""
    if array.ndim == 1 and array.dtype.kind == "f" and np.isnan(array).any():
        raise InputError(
            f"y[{int(np.argmax(np.isnan(array)))}] is nan: a label is missing. Leave such rows out."
        )
    return array


def _label_rows(items: list) -> np.ndarray:
    """Returns rows of labels as one array; as `object` if they are ragged, or no numbers."""
    lengths = {len(row) for row in items}
    if len(lengths) == 1 and lengths != {0} and not any(_is_named(x) for row in items for x in row):
        return _numbers(np.asarray(items), "y")
    return _objects([list(row) for row in items])


def _is_named(label) -> bool:
    """Tells whether a label in a row is more than numbers: a string, or a span with a name."""
    if not isinstance(label, (tuple, list)):
        return is_text(label)
    return type(label) not in (tuple, list) or any(map(is_text, label))


def _objects(items: list) -> np.ndarray:
    array = np.empty(len(items), dtype=object)
    # One by one: NumPy would take rows of one length for a second axis.
    for i, item in enumerate(items):
        array[i] = item
    return array
