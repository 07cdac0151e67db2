"""Temperature scaling: probabilities that are as often right as they say."""

import numpy as np

from clozework.errors import InputError
from clozework.tasks.numbers import sigmoid, softmax

__all__ = ["best_temperature"]

_LOWEST, _HIGHEST = 1e-2, 1e2


def best_temperature(logits: np.ndarray, targets: np.ndarray, *, is_multi_label: bool) -> float:
    """Returns what logits are to be divided by for the least cross-entropy.

    Args:
        logits: `(texts, classes)`.
        targets: What is true of each text, 0 to 1 for each class, `(texts, classes)`.
        is_multi_label: Whether each class is decided by itself, rather than one among them.

    Raises:
        InputError: If no temperature is the best: all texts are right, or there is nothing to tell.

    Paper: Guo et al., 2017, https://arxiv.org/abs/1706.04599

    Example:
    >>> logits = np.log([[0.9, 0.1]] * 4)
    >>> targets = np.eye(2)[[0, 0, 0, 1]]
    >>> round(best_temperature(logits, targets, is_multi_label=False), 4)
    2.0
    """
    logits, targets = logits.astype("float64"), targets.astype("float64")

    def slope(scale: float) -> float:
        """The derivative of the cross-entropy, which rises with the scale: it is convex."""
        scaled = scale * logits
        likely = sigmoid(scaled) if is_multi_label else softmax(scaled)
        return float(np.sum((likely - targets) * logits))

    low, high = 1 / _HIGHEST, 1 / _LOWEST
    # Where all is right the slope goes to zero from below, but for rounding.
    rounding = 1e-9 * float(np.abs(logits).sum())
    if slope(low) >= 0 or slope(high) <= rounding:
        raise InputError(
            f"No temperature from {_LOWEST} to {_HIGHEST} is the best for these {len(logits)} "
            f"texts: all of them are classified right, or no better than by chance. Give others "
            f"that the model was not trained on."
        )
    for _ in range(60):
        middle = np.sqrt(low * high)
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return float(1 / np.sqrt(low * high))
