"""Two classifiers on the same texts: a difference, and how sure it is."""

import pytest

from clozework.tasks import ClassLabel
from clozework.training import compare_classifiers


class Answers:
    """Says what it is told to."""

    def __init__(self, labels):
        self.labels = labels

    def classify(self, texts):
        return [[ClassLabel(label, 0.5)] for label in self.labels]


def compared(first, second, labels):
    return compare_classifiers(Answers(first), Answers(second), ["a text"] * len(labels), labels)


def test_differences_are_counted_by_text():
    found = compared("aabb" * 50, "aaab" * 50, "aaaa" * 50)
    assert found.num_texts == 200
    assert found.accuracies == (0.5, 0.75)
    assert found.difference == pytest.approx(0.25)
    assert (found.only_first, found.only_second) == (0, 50)
    low, high = found.interval
    # The normal interval of a share of a quarter of 200.
    assert (low, high) == pytest.approx((0.19, 0.31), abs=0.01)
    assert found.is_clear


def test_a_small_difference_may_be_chance():
    found = compared("ab" * 10, "ab" * 9 + "aa", "aa" * 10)
    assert found.difference == pytest.approx(0.05)
    assert not found.is_clear


def test_equal_answers_differ_by_nothing():
    found = compared("ab", "ab", "aa")
    assert (found.difference, found.interval) == (0, (0, 0))
    assert not found.is_clear
