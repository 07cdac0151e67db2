"""Numbers: those that users hand in, whole, and how large; logits as probabilities."""

import numpy as np

from clozework.backend import known_values
from clozework.data.columns import as_array
from clozework.errors import ConfigError, InputError

__all__ = ["check_count", "check_outputs", "check_share", "known_range", "sigmoid", "softmax"]


def check_count(name: str, value, highest: int | None = None) -> None:
    """Raises `InputError` unless a value is a whole number from 1 to `highest`, if that is given.

    >>> check_count("top_k", 3, highest=5)
    """
    is_count = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not is_count or value < 1 or (highest is not None and value > highest):
        expected = "of at least 1" if highest is None else f"from 1 to {highest}"
        raise InputError(f"`{name}` must be a whole number {expected}. Received: {value!r}.")


def check_outputs(outputs: np.ndarray) -> None:
    """Raises `ConfigError` if what a model computed is not a number: nothing follows from that.

    >>> check_outputs(np.array([0.5, 2.0]))
    """
    if np.isnan(outputs).any():
        raise ConfigError(
            "The model's outputs are NaN. Its weights are NaN if its loss became so in training: "
            "train it anew with a lower learning rate. Else its numbers are too large for float16: "
            "load it with dtype='bfloat16' or 'float32'."
        )


def check_share(name: str, value) -> None:
    """Raises `InputError` unless a value is a number from 0 to 1, or None.

    >>> check_share("threshold", 0.5)
    """
    is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if value is not None and not (is_number and 0 <= value <= 1):
        raise InputError(f"`{name}` must be a number from 0 to 1, or None. Received: {value!r}.")


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
