"""Scores of each kind of model against those by hand, and the page that shows them."""

import sys
from xml.etree import ElementTree

import numpy as np
import pytest

from clozework.errors import InputError, MissingPackageError, NoExamplesError
from clozework.tasks import Answer, ClassLabel
from clozework.training import (
    TextLengths,
    evaluate_answerer,
    evaluate_classifier,
    evaluate_embedder,
    evaluate_summarizer,
    evaluate_tagger,
    report_page,
)

LABELS = ["a", "a", "a", "b", "b", "<c>"]
PREDICTED = ["a", "a", "b", "b", "a", "b"]
PROBABILITIES = [0.9, 0.6, 0.95, 0.8, 0.55, 0.5]


class Classifier:
    """Says what it is told to."""

    class preprocessor:  # noqa: N801
        sequence_length = 4
        length_names = ("sequence_length",)

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
    assert evaluation.lengths == TextLengths([1, 4, 1, 4, 1, 4], longest_text=2, num_cut=3)


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


class Tagger(Classifier):
    """Says what it is told to, of words."""

    def __init__(self, tags):
        self.tags = tags

    def tag_words(self, sentences):
        return self.tags


SENTENCES = [["Ada", "Byron", "went", "to", "Rome"], ["Turin", "is", "far"]]
TAGS = [["B-PER", "I-PER", "O", "O", "B-LOC"], ["B-LOC", "O", "O"]]


def test_entities_count_where_words_and_label_are_right():
    found = [["B-PER", "O", "O", "O", "B-LOC"], ["B-PER", "O", "O"]]
    evaluation = evaluate_tagger(Tagger(found), SENTENCES, TAGS)
    assert (evaluation.precision, evaluation.recall) == pytest.approx((1 / 3, 1 / 3))
    assert evaluation.accuracy == pytest.approx(6 / 8)
    scores = {one.label: (one.precision, one.recall, one.support) for one in evaluation.entities}
    assert scores == {"LOC": (1.0, 0.5, 2), "PER": (0.0, 0.0, 1)}
    assert [one.words[0] for one in evaluation.mistakes] == ["Ada", "Turin"]
    expected, given = evaluation.worst().rows[0]
    assert expected == "[Ada B-PER] [Byron I-PER] went to [Rome B-LOC]"
    assert given == "[Ada B-PER] Byron went to [Rome B-LOC]"


def test_tags_without_a_prefix_make_entities_of_runs():
    tags = [["PER", "PER", "O", "O", "LOC"], ["LOC", "O", "O"]]
    found = [["PER", "PER", "O", "O", "O"], ["LOC", "O", "O"]]
    evaluation = evaluate_tagger(Tagger(found), SENTENCES, tags)
    assert (evaluation.precision, evaluation.recall) == pytest.approx((1.0, 2 / 3))


def test_prefixes_of_other_schemes_are_known():
    # L for the last word of an entity, U for the only one.
    tags = [["B-PER", "L-PER", "U-PER", "U-LOC", "U-LOC"], ["O", "O", "O"]]
    evaluation = evaluate_tagger(Tagger(tags), SENTENCES, tags)
    assert {one.label: one.support for one in evaluation.entities} == {"LOC": 2, "PER": 2}
    assert evaluation.f1 == 1


def test_a_sentence_without_a_tag_for_each_word_is_named():
    with pytest.raises(InputError, match="Text 1 has 3 words, but its tags are"):
        evaluate_tagger(Tagger(TAGS), SENTENCES, [TAGS[0], ["O", "O"]])


@pytest.mark.parametrize(
    ("evaluate", "examples"),
    [
        (evaluate_classifier, ([], [])),
        (evaluate_tagger, ([], [])),
        (evaluate_embedder, ([],)),
        (evaluate_answerer, ([], [])),
        (evaluate_summarizer, ({"encoder_text": [], "decoder_text": []},)),
    ],
)
def test_nothing_cannot_be_evaluated(evaluate, examples):
    with pytest.raises(NoExamplesError, match="Give one at least"):
        evaluate(Classifier(), *examples)


def test_a_tagger_that_finds_nothing_has_scores_of_zero():
    nothing = [["O"] * len(words) for words in SENTENCES]
    assert evaluate_tagger(Tagger(nothing), SENTENCES, TAGS).f1 == 0
    assert evaluate_tagger(Tagger(nothing), SENTENCES, nothing).f1 == 0


class Embedder(Classifier):
    """Places texts on a line, by the number that they are."""

    def embed(self, texts):
        return np.array([[float(text), 1.0] for text in texts])

    @staticmethod
    def similarity(queries, documents):
        return -np.abs(queries[:, :1] - documents[:, 0])


def test_ranks_count_all_documents_and_equal_ones_once():
    pairs = [("1", "1.1"), ("2", "4"), ("3", "3.2", "9"), ("5", "4")]
    evaluation = evaluate_embedder(Embedder(), pairs)
    # Of 1.1, 4, 3.2 and 9: 2 is nearest to 1.1, then 3.2, then 4.
    assert evaluation.num_documents == 4
    assert evaluation.recall_at == {1: 0.75, 3: 1.0, 10: 1.0}
    assert evaluation.mean_reciprocal_rank == pytest.approx((3 + 1 / 3) / 4)
    [far] = evaluation.mistakes
    assert (far.query, far.document, far.rank, far.nearest) == ("2", "4", 3, "1.1")


@pytest.mark.parametrize("place", [0.0, float("nan")])
def test_an_embedder_that_tells_nothing_apart_ranks_last(monkeypatch, place):
    monkeypatch.setattr(Embedder, "embed", lambda self, texts: np.full((len(texts), 2), place))
    evaluation = evaluate_embedder(Embedder(), [("1", "1.1"), ("2", "4")])
    assert evaluation.recall_at[1] == 0
    assert evaluation.mean_reciprocal_rank == 0.5


class Summarizer(Classifier):
    def generate(self, texts):
        return ["the cat sat", "a dog"]


def test_summaries_have_the_scores_of_rouge():
    examples = {"encoder_text": ["one", "two"], "decoder_text": ["the cat ran", "a dog"]}
    evaluation = evaluate_summarizer(Summarizer(), examples)
    # Two of three words, one of two pairs of words.
    assert evaluation.rouge == pytest.approx(
        {"rouge1": (2 / 3 + 1) / 2, "rouge2": (1 / 2 + 1) / 2, "rougeL": (2 / 3 + 1) / 2}
    )
    assert evaluation.mistakes[0].expected == "the cat ran"


class Answerer(Classifier):
    def answer(self, questions, contexts):
        return [[Answer("The sea!", 0, 8, 0.9)], [Answer("in the sea", 0, 10, 0.5)], []]


def test_answers_have_the_scores_of_squad():
    contexts = ["sea and land", "the deep sea", "nothing"]
    pairs = [(f"Where {i}?", context) for i, context in enumerate(contexts)]
    evaluation = evaluate_answerer(Answerer(), pairs, [(0, 3), (4, 12), (0, 7)])
    assert evaluation.exact_match == pytest.approx(1 / 3)
    # "deep sea" and "in sea" share one of two words each.
    assert evaluation.f1 == pytest.approx((1 + 0.5 + 0) / 3)
    assert [one.given for one in evaluation.mistakes] == ["", "in the sea"]


@pytest.mark.parametrize(
    "evaluation",
    [
        evaluate_tagger(Tagger(TAGS), SENTENCES, TAGS),
        evaluate_embedder(Embedder(), [("1", "1.1"), ("2", "4")]),
        evaluate_answerer(Answerer(), [("a?", "sea"), ("b?", "c"), ("d?", "e")], [(0, 1)] * 3),
    ],
    ids=["tagger", "embedder", "answerer"],
)
def test_each_kind_has_a_page(evaluation):
    page = report_page(
        title="model", facts=[], command="", history={"loss": [0.9, 0.5]}, evaluation=evaluation
    )
    assert evaluation.summary() in page
    for table in (evaluation.scores(), evaluation.worst()):
        assert all(len(row) == len(table.header) for row in table.rows)


def test_a_package_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "seqeval.metrics", None)
    with pytest.raises(MissingPackageError, match="pip install seqeval"):
        evaluate_tagger(Tagger(TAGS), SENTENCES, TAGS)
