"""What a trained classifier gets right and wrong, on examples that it has not seen."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clozework.training.evaluations.evaluation import (
    Evaluation,
    ScoreTable,
    check_examples,
    import_scores,
    measured_lengths,
)

__all__ = [
    "CalibrationBin",
    "ClassScores",
    "ClassifierEvaluation",
    "Mistake",
    "evaluate_classifier",
    "score_table",
]

_NUM_BINS = 10
_NUM_MISTAKES = 20


@dataclass(frozen=True)
class ClassScores:
    """How well one class is found.

    Attributes:
        label: Its name.
        precision: Of the texts that were given it, how many are of it.
        recall: Of the texts that are of it, how many were given it.
        f1: The harmonic mean of both.
        support: How many texts are of it.
    """

    label: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class CalibrationBin:
    """Texts whose likeliest class had about the same probability.

    Attributes:
        probability: Its mean.
        accuracy: How many of them were right.
        count: How many there are.
    """

    probability: float
    accuracy: float
    count: int


@dataclass(frozen=True)
class Mistake:
    """A text that was given another class than its own, and with which probability."""

    text: str
    label: str
    predicted: str
    probability: float


@dataclass(frozen=True)
class ClassifierEvaluation(Evaluation):
    """What `evaluate_classifier` found.

    Attributes:
        accuracy: Share of texts that are right.
        macro_f1: Mean of the classes' F1.
        classes: Scores of each class that occurs.
        confusion: `confusion[i][j]`: texts of class i that were given class j, in that order.
        calibration: Whether probabilities are what they say.
        calibration_error: Mean distance of probability and accuracy, weighted by texts.
        mistakes: The surest of those that are wrong.
        lengths: Of the texts.
    """

    accuracy: float
    macro_f1: float
    classes: list[ClassScores]
    confusion: list[list[int]]
    calibration: list[CalibrationBin]
    calibration_error: float
    mistakes: list[Mistake]

    def summary(self):
        return (
            f"{self.accuracy:.1%} of {len(self.lengths.counts)} texts get the right class; the "
            f"mean F1 of the classes is {self.macro_f1:.3f}."
        )

    def scores(self):
        return score_table("class", self.classes, "texts")

    def worst(self):
        rows = [
            [one.text, one.label, one.predicted, f"{one.probability:.1%}"] for one in self.mistakes
        ]
        return ScoreTable(["text", "is", "was taken for", "probability"], rows, first_number=3)


def score_table(kind: str, scores: Sequence[ClassScores], counted: str) -> ScoreTable:
    """Returns a table of scores, the worst first; `kind` and `counted` head its ends."""
    rows = [
        [one.label, f"{one.precision:.3f}", f"{one.recall:.3f}", f"{one.f1:.3f}", str(one.support)]
        for one in sorted(scores, key=lambda one: one.f1)
    ]
    return ScoreTable([kind, "precision", "recall", "F1", counted], rows)


def evaluate_classifier(
    classifier, texts: Sequence[str], labels: Sequence[str]
) -> ClassifierEvaluation:
    """Returns what a classifier gets right of labelled texts.

    Args:
        classifier: A `TextClassifier` with names of its classes.
        texts, labels: Examples, and the names of their classes.

    Raises:
        MissingPackageError: If scikit-learn is not there.
        NoExamplesError: If there are no examples.
    """
    check_examples(texts)
    metrics = import_scores("sklearn.metrics", "scikit-learn")
    found = classifier.classify(list(texts))
    predicted = [of_text[0].label for of_text in found]
    probabilities = np.array([of_text[0].probability for of_text in found])
    is_right = np.array([p == label for p, label in zip(predicted, labels, strict=True)])
    names = sorted({*labels, *predicted})
    scores = metrics.precision_recall_fscore_support(
        labels, predicted, labels=names, zero_division=0
    )
    calibration = _calibration(probabilities, is_right)
    distances = [abs(one.probability - one.accuracy) * one.count for one in calibration]
    order = np.argsort(-probabilities, kind="stable")
    mistakes = [
        Mistake(texts[i], labels[i], predicted[i], float(probabilities[i]))
        for i in map(int, order)
        if not is_right[i]
    ]
    return ClassifierEvaluation(
        accuracy=float(is_right.mean()),
        macro_f1=float(np.mean(scores[2])),
        classes=[
            ClassScores(name, float(p), float(r), float(f), int(n))
            for name, p, r, f, n in zip(names, *scores, strict=True)
        ],
        confusion=metrics.confusion_matrix(labels, predicted, labels=names).tolist(),
        calibration=calibration,
        calibration_error=sum(distances) / len(is_right),
        mistakes=mistakes[:_NUM_MISTAKES],
        lengths=measured_lengths(classifier, texts),
    )


def _calibration(probabilities: np.ndarray, is_right: np.ndarray) -> list[CalibrationBin]:
    places = np.minimum((probabilities * _NUM_BINS).astype(int), _NUM_BINS - 1)
    return [
        CalibrationBin(
            float(probabilities[places == i].mean()),
            float(is_right[places == i].mean()),
            int((places == i).sum()),
        )
        for i in range(_NUM_BINS)
        if (places == i).any()
    ]
