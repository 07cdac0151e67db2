"""Numbers: those that users hand in, whole, and how large; logits as probabilities."""

import numpy as np

from clozework.backend import known_values
from clozework.data.columns import as_array
from clozework.errors import InputError

__all__ = ["known_range", "sigmoid", "softmax"]


def known_range(name: str, values) -> tuple[int, int] | None:
    """Returns the lowest and the highest of whole numbers.

    Args:
        name: How a message calls the numbers.
        values: An array, a tensor or lists.

    Returns:
        None where there are none, or where they are not known yet; see `known_values`.

    Raises:
        InputError: If any is not a whole number.

    Example:
    >>> known_range("token_ids", [[3, 1], [2, 0]])
    (0, 3)
    """
    is_nested = isinstance(values, list | tuple)
    known = as_array(values, name) if is_nested else known_values(values)
    if known is None or not known.size:
        return None
    flat = known.ravel()
    if known.dtype.kind == "f":
        wrong = flat[~np.isfinite(flat) | (flat != np.floor(flat))]
    elif known.dtype.kind in "iub":
        wrong = flat[:0]
    else:
        wrong = [value for value in flat if not isinstance(value, int)]
    if len(wrong):
        raise InputError(f"{name} must be whole numbers, not {wrong[0]} ({known.dtype}).")
    return int(flat.min()), int(flat.max())


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Returns the probability that each logit stands for.

    >>> sigmoid(np.array([0.0, -1000.0])).tolist()
    [0.5, 0.0]
    """
    # Unlike the quotient of exponentials, without overflow.
    return 0.5 * (1 + np.tanh(logits / 2))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Returns probabilities that sum to 1 along the last axis.

    >>> softmax(np.array([0.0, 0.0])).tolist()
    [0.5, 0.5]
    """
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)
