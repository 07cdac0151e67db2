"""Whether one classifier is better than another, or only luckier."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["ClassifierComparison", "compare_classifiers"]

_NUM_SAMPLES = 10_000


@dataclass(frozen=True)
class ClassifierComparison:
    """Two classifiers on the same texts.

    Attributes:
        num_texts: How many texts there are.
        accuracies: Share of texts that each has right.
        difference: The second accuracy less the first.
        interval: Where the difference would lie for other texts of this kind, 95 times in 100.
        only_first, only_second: How many texts only one of them has right.
    """

    num_texts: int
    accuracies: tuple[float, float]
    difference: float
    interval: tuple[float, float]
    only_first: int
    only_second: int

    @property
    def is_clear(self) -> bool:
        """Whether the difference is more than chance would give."""
        return not self.interval[0] <= 0 <= self.interval[1]


def compare_classifiers(
    first, second, texts: Sequence[str], labels: Sequence[str], *, seed: int = 0
) -> ClassifierComparison:
    """Compares two classifiers on labelled texts.

    The interval is that of a paired bootstrap: texts are drawn anew, with replacement.

    Args:
        first, second: `TextClassifier`s with the same names of classes.
        texts, labels: Examples that neither was trained on, and the names of their classes.
        seed: Of the draws.
    """
    is_right = np.array(
        [
            [of_text[0].label == label for of_text, label in zip(found, labels, strict=True)]
            for found in (first.classify(list(texts)), second.classify(list(texts)))
        ]
    )
    gains = is_right[1].astype("float64") - is_right[0]
    # The sums of texts drawn with replacement: how often each kind of gain, -1, 0 or 1, is drawn.
    kinds, counts = np.unique(gains, return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(
        len(gains), counts / len(gains), size=_NUM_SAMPLES
    )
    differences = drawn @ kinds / len(gains)
    low, high = np.quantile(differences, [0.025, 0.975])
    return ClassifierComparison(
        num_texts=len(texts),
        accuracies=(float(is_right[0].mean()), float(is_right[1].mean())),
        difference=float(gains.mean()),
        interval=(float(low), float(high)),
        only_first=int((is_right[0] & ~is_right[1]).sum()),
        only_second=int((is_right[1] & ~is_right[0]).sum()),
    )
