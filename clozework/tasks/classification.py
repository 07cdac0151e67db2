"""What classifiers say of texts, as Python objects."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["ClassLabel", "RankedDocument", "best_labels"]


@dataclass(frozen=True)
class ClassLabel:
    """A class of a text.

    Attributes:
        label: Name of the class.
        probability: That the text is of this class.
    """

    label: str
    probability: float


@dataclass(frozen=True)
class RankedDocument:
    """A document, and how well it answers a query.

    Attributes:
        index: Its place among the documents that were handed in.
        text: The document.
        score: The higher, the better.
    """

    index: int
    text: str
    score: float


def best_labels(
    probabilities: np.ndarray, names: Sequence[str], top_k: int | None, threshold: float | None
) -> list[list[ClassLabel]]:
    """Returns the classes of each text, best first.

    Args:
        probabilities: `(texts, classes)`.
        names: Of the classes.
        top_k: Most classes of a text; None for all.
        threshold: Lowest probability; None for any.

    >>> best_labels(np.array([[0.25, 0.75]]), ["bad", "good"], 1, None)
    [[ClassLabel(label='good', probability=0.75)]]
    """
    # All texts at once: numbers are taken out of an array one by one in many times as long.
    order = np.argsort(-probabilities, axis=-1, kind="stable")[:, :top_k]
    values = np.take_along_axis(probabilities, order, axis=-1)
    numbers: list[list[int]] = order.tolist()
    lowest = -np.inf if threshold is None else threshold
    return [
        [
            ClassLabel(names[i], value)
            for i, value in zip(classes, of_text, strict=True)
            if value >= lowest
        ]
        for classes, of_text in zip(numbers, values.tolist(), strict=True)
    ]
