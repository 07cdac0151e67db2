"""What the pipelines of `transformers` say, said by our verbs on the same model."""

import pytest
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
