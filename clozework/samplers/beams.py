"""Several continuations of each row, side by side in the batch."""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
from keras import ops

__all__ = ["SharedCache", "gathered", "merged", "repeated", "split"]


class SharedCache(NamedTuple):
    """The part of a cache that all continuations of a text read; the rest has a row for each.

    Attributes:
        tensors: Any structure of tensors `(batch, ...)`, which are neither repeated nor gathered.
    """

    tensors: Any


def repeated(tree: Any, times: int):
    """Returns tensors `(batch * times, ...)`: each row `times` times in a row."""
    return _of_each(lambda x: ops.repeat(x, times, axis=0), tree)


def split(x, num_beams: int):
    """Returns `(batch * beams, ...)` as `(batch, beams, ...)`."""
    return ops.reshape(x, (-1, num_beams, *x.shape[1:]))


def merged(x):
    """Returns `(batch, beams, ...)` as `(batch * beams, ...)`."""
    return ops.reshape(x, (-1, *x.shape[2:]))


def gathered(tree: Any, num_beams: int, beam_ids):
    """Returns the beams that are asked for, of tensors `(batch * beams, ...)`.

    Args:
        tree: Any structure of such tensors.
        num_beams: Beams of each row now.
        beam_ids: `(batch, chosen)`, numbers below `num_beams`.

    Returns:
        Tensors `(batch * chosen, ...)`.

    Example:
    >>> x = np.array([[1], [2], [3], [4]])
    >>> ops.convert_to_numpy(gathered(x, 2, np.array([[1], [0]]))).tolist()
    [[2], [3]]
    """
    first = ops.arange(ops.shape(beam_ids)[0], dtype="int32")[:, None] * num_beams
    rows = ops.reshape(first + ops.cast(beam_ids, "int32"), (-1,))
    return _of_each(lambda x: ops.take(x, rows, axis=0), tree)


def _of_each(function: Callable, tree: Any):
    """Returns the structure with a function's results in place of tensors that are not shared."""

    def changed(part):
        if isinstance(part, SharedCache):
            return part
        return None if keras.tree.is_nested(part) else function(part)

    return keras.tree.traverse(changed, tree)
