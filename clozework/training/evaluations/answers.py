"""How near the answers of a trained model are to those that were expected."""

import re
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clozework.training.evaluations.evaluation import (
    Evaluation,
    ScoreTable,
    check_examples,
    measured_lengths,
)

__all__ = ["AnswerEvaluation", "ScoredAnswer", "evaluate_answerer"]

_NUM_MISTAKES = 20
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


@dataclass(frozen=True)
class ScoredAnswer:
    """A question, the answer that was expected, the one that was given, and its F1."""

    question: str
    expected: str
    given: str
    f1: float


@dataclass(frozen=True)
class AnswerEvaluation(Evaluation):
    """What `evaluate_answerer` found.

    Attributes:
        exact_match: Share of answers that are as expected, but for case, punctuation and articles.
        f1: Mean F1 of the words of answers.
        mistakes: The answers that are the farthest from right.
        lengths: Of the contexts.
    """

    exact_match: float
    f1: float
    mistakes: list[ScoredAnswer]

    def summary(self):
        return (
            f"{self.exact_match:.1%} of {len(self.lengths.counts)} answers are as expected; the "
            f"mean F1 of their words is {self.f1:.3f}."
        )

    def scores(self):
        rows = [["exact match", f"{self.exact_match:.1%}"], ["F1 of words", f"{self.f1:.3f}"]]
        return ScoreTable(["score", "value"], rows)

    def worst(self):
        rows = [[one.question, one.expected, one.given, f"{one.f1:.3f}"] for one in self.mistakes]
        return ScoreTable(["question", "expected", "given", "F1"], rows, first_number=3)


def evaluate_answerer(
    answerer, pairs: Sequence[tuple[str, str]], spans: Sequence[tuple[int, int]]
) -> AnswerEvaluation:
    """Returns how near answers are to those expected.

    Scores are those of SQuAD: Rajpurkar et al., 2016, https://arxiv.org/abs/1606.05250

    Args:
        answerer: A `QuestionAnswerer`.
        pairs: Questions with their contexts.
        spans: Where the answers stand in the contexts, in characters.

    Raises:
        NoExamplesError: If there are no examples.
    """
    check_examples(pairs)
    expected = [context[start:end] for (_, context), (start, end) in zip(pairs, spans, strict=True)]
    found = answerer.answer([question for question, _ in pairs], [context for _, context in pairs])
    given = [answers[0].text if answers else "" for answers in found]
    words = [(_words(a), _words(b)) for a, b in zip(expected, given, strict=True)]
    scores = [_f1(*pair) for pair in words]
    order = sorted(range(len(pairs)), key=scores.__getitem__)
    return AnswerEvaluation(
        lengths=measured_lengths(answerer, [context for _, context in pairs]),
        exact_match=float(np.mean([a == b for a, b in words])),
        f1=float(np.mean(scores)),
        mistakes=[
            ScoredAnswer(pairs[i][0], expected[i], given[i], scores[i])
            for i in order[:_NUM_MISTAKES]
            if scores[i] < 1
        ],
    )


def _words(answer: str) -> list[str]:
    return _ARTICLES.sub(" ", answer.lower().translate(_PUNCTUATION)).split()


def _f1(expected: list[str], given: list[str]) -> float:
    """Returns the harmonic mean of precision and recall of words."""
    if not expected or not given:
        return float(expected == given)
    num_common = sum((Counter(expected) & Counter(given)).values())
    return 2 * num_common / (len(expected) + len(given))
