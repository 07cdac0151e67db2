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
) -> list[ClassLabel]:
    """Returns the classes of a text, best first.

    >>> best_labels(np.array([0.25, 0.75]), ["bad", "good"], 1, None)
    [ClassLabel(label='good', probability=0.75)]
    """
    order = np.argsort(-probabilities, kind="stable")[:top_k]
    labels = [ClassLabel(names[int(i)], float(probabilities[i])) for i in order]
    return [one for one in labels if threshold is None or one.probability >= threshold]
