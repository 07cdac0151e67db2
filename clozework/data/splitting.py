"""Setting the last part of the examples aside for validation."""

import math

import keras

from clozework.data.examples import read_examples
from clozework.data.streams import open_stream
from clozework.errors import ConfigError, InputError

__all__ = ["split_validation"]


def split_validation(x, y=None, sample_weight=None, *, validation_split: float, is_text: bool):
    """Splits off the last examples, as Keras does: before any shuffling.

    Args:
        x: a collection, as for `make_dataset`; a stream cannot be split.
        y: labels, or None.
        sample_weight: weights, or None.
        validation_split: which part is for validation, between 0 and 1 (both excluded).
        is_text: whether x holds texts.

    Returns: `(x, y, sample_weight)` for training and the same for validation, in forms that
        `make_dataset` takes.

    Raises `InputError` for a stream, or where a part would be empty.

    >>> split_validation(["a", "b", "c", "d"], [0, 1, 0, 1], validation_split=0.25, is_text=True)
    ((['a', 'b', 'c'], array([0, 1, 0]), None), (['d'], array([1]), None))
    """
    if isinstance(x, keras.utils.PyDataset) or open_stream(x) is not None:
        raise InputError(
            f"validation_split={validation_split} was given, but x is a stream "
            f"({type(x).__name__}), which cannot be split. Hand in validation_data."
        )
    if not 0 < validation_split < 1:
        raise ConfigError(
            f"validation_split={validation_split}, but a part of the examples lies between 0 and 1."
        )
    examples = read_examples(x, y, sample_weight, is_text=is_text)
    size = len(examples)
    start = math.floor(size * (1 - validation_split))
    if not 0 < start < size:
        raise InputError(
            f"validation_split={validation_split} of {size} examples would leave {start} for "
            f"training and {size - start} for validation. Both need one at least."
        )
    return examples.part(0, start), examples.part(start, size)
