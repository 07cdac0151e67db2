"""Scores of classes against scikit-learn and by hand, and the page that shows them."""

from xml.etree import ElementTree

import numpy as np
import pytest

from clozework.tasks import ClassLabel
from clozework.training import evaluate_classifier, report_page

LABELS = ["a", "a", "a", "b", "b", "<c>"]
PREDICTED = ["a", "a", "b", "b", "a", "b"]
PROBABILITIES = [0.9, 0.6, 0.95, 0.8, 0.55, 0.5]


class Classifier:
    """Says what it is told to."""

    class preprocessor:  # noqa: N801
        sequence_length = 4

        class tokenizer:  # noqa: N801
            @staticmethod
            def encode_ids(texts):
                return [text.split() for text in texts]

    def classify(self, texts):
        return [
            [ClassLabel(label, probability)]
            for label, probability in zip(PREDICTED, PROBABILITIES, strict=True)
        ]


@pytest.fixture(scope="module")
def evaluation():
    texts = [f"text & number {i}" if i % 2 else "short" for i in range(6)]
    return evaluate_classifier(Classifier(), texts, LABELS)


def test_scores_are_those_of_their_definitions(evaluation):
    assert evaluation.accuracy == pytest.approx(3 / 6)
    scores = {one.label: one for one in evaluation.classes}
    assert (scores["a"].precision, scores["a"].recall) == pytest.approx((2 / 3, 2 / 3))
    assert (scores["b"].precision, scores["b"].recall) == pytest.approx((1 / 3, 1 / 2))
    assert (scores["<c>"].f1, scores["<c>"].support) == (0, 1)
    assert evaluation.macro_f1 == pytest.approx((2 / 3 + 0.4 + 0) / 3)
    assert [one.label for one in evaluation.classes] == ["<c>", "a", "b"]
    assert evaluation.confusion == [[0, 0, 1], [0, 2, 1], [0, 1, 1]]


def test_probabilities_are_compared_with_accuracy(evaluation):
    found = [(one.count, one.accuracy) for one in evaluation.calibration]
    assert found == [(2, 0.0), (1, 1.0), (1, 1.0), (2, 0.5)]
    means = [0.525, 0.6, 0.8, 0.925]
    assert [one.probability for one in evaluation.calibration] == pytest.approx(means)
    expected = np.dot([2, 1, 1, 2], [0.525, 0.4, 0.2, 0.425]) / 6
    assert evaluation.calibration_error == pytest.approx(expected)


def test_the_surest_mistakes_come_first_and_lengths_are_counted(evaluation):
    assert [one.probability for one in evaluation.mistakes] == [0.95, 0.55, 0.5]
    assert [one.predicted for one in evaluation.mistakes] == ["b", "a", "b"]
    assert evaluation.lengths == [1, 4, 1, 4, 1, 4]
    assert (evaluation.longest_text, evaluation.num_cut) == (2, 3)


@pytest.mark.parametrize("has_classes", [True, False])
def test_a_page_is_whole_and_escaped(evaluation, has_classes):
    page = report_page(
        title="films & <books>",
        facts=["10 rows."],
        command="clozework train 'a b.csv'",
        history={"loss": [0.9, 0.5], "val_loss": [0.8, 0.7], "accuracy": [0.5, 0.5]},
        evaluation=evaluation if has_classes else None,
    )
    assert "films &amp; &lt;books&gt;" in page
    assert "<c>" not in page
    charts = page.split("<svg")[1:]
    assert len(charts) == (5 if has_classes else 2)
    for chart in charts:
        ElementTree.fromstring("<svg" + chart.split("</svg>")[0] + "</svg>")
