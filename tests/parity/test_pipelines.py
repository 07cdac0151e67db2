"""What the pipelines of `transformers` say, said by our verbs on the same model."""

import pytest
import sentence_transformers
import transformers

from clozework import models
from tests.contract.families import TEXTS, tiny_task

LABELS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
SENTENCES = [*TEXTS, "the foxs. and earths.", "quick, brown", "heavens earth the dogs"]


def exported(task, directory):
    task.export_to_transformers(directory)
    return str(directory)


@pytest.mark.parametrize(
    ("task_cls", "aggregation"),
    [
        (models.BertTokenClassifier, "simple"),
        (models.BertTokenClassifier, "first"),
        (models.DistilBertTokenClassifier, "first"),
        (models.RobertaTokenClassifier, "simple"),
    ],
)
def test_entities_are_those_of_the_pipeline(tmp_path, task_cls, aggregation):
    tagger = tiny_task(task_cls, num_classes=5, label_names=LABELS)
    pipeline = transformers.pipeline(
        "token-classification",
        model=exported(tagger, tmp_path / "exported"),
        aggregation_strategy=aggregation,
        device="cpu",
    )
    found = 0
    tagged = tagger.tag(SENTENCES, aggregation=aggregation)
    for text, entities in zip(SENTENCES, tagged, strict=True):
        theirs = pipeline(text)
        assert [(e.label, e.start, e.end) for e in entities] == [
            (entity["entity_group"], entity["start"], entity["end"]) for entity in theirs
        ]
        scores = [entity["score"] for entity in theirs]
        assert [e.score for e in entities] == pytest.approx(scores, abs=1e-5)
        found += len(entities)
    assert found > 5


@pytest.mark.parametrize(
    "problem_type", ["single_label_classification", "multi_label_classification"]
)
def test_classes_are_those_of_the_pipeline(tmp_path, problem_type):
    classifier = tiny_task(
        models.RobertaTextClassifier,
        label_names=["bad", "good", "so so"],
        problem_type=problem_type,
    )
    pipeline = transformers.pipeline(
        "text-classification", model=exported(classifier, tmp_path / "exported"), device="cpu"
    )
    for text, labels in zip(TEXTS, classifier.classify(TEXTS, threshold=0.0), strict=True):
        theirs = pipeline(text, top_k=None)
        assert [one.label for one in labels] == [label["label"] for label in theirs]
        scores = [label["score"] for label in theirs]
        assert [one.probability for one in labels] == pytest.approx(scores, abs=1e-5)


def test_ranks_are_those_of_a_cross_encoder(tmp_path):
    ranker = tiny_task(models.BertTextClassifier, num_classes=1)
    ranked = ranker.rerank(TEXTS[0], SENTENCES)
    theirs = sentence_transformers.CrossEncoder(
        exported(ranker, tmp_path / "exported"), device="cpu"
    ).rank(TEXTS[0], SENTENCES)
    assert [one.index for one in ranked] == [one["corpus_id"] for one in theirs]
    expected = [float(one["score"]) for one in theirs]
    assert [one.score for one in ranked] == pytest.approx(expected, abs=1e-5)
