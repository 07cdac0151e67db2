"""Texts that share rows give, and teach, what each gives and teaches in a row of its own."""

import keras
import numpy as np
import pytest

from clozework import models
from clozework.models import Task
from clozework.tasks.arguments import argument_defaults
from tests.contract.families import (
    TASKS,
    family_of_task,
    tiny_backbone,
    tiny_preprocessor,
    tiny_task,
)
from tests.contract.test_training import examples_for

# Of several lengths, so that some share a row.
TEXTS = ["the fox", "the quick brown fox and the dog", "fox", "heaven and earth", "the dog", "a"]
LABELS = {
    "TextClassifier": [0, 2, 1, 1, 0, 2],
    "TextEmbedder": np.arange(48.0).reshape(6, 8) / 48,
    "QuestionAnswerer": [(0, 3), (4, 9), (0, 0), (0, 6), (4, 7), (0, 1)],
    "TokenClassifier": [[(4, 7, "A")], [(4, 9, "B")], [], [(0, 6, "A")], [(4, 7, "B")], []],
}
# What is special about a task is the same in every family; the heads of classifiers differ.
KINDS = [
    name
    for name, task_cls in TASKS.items()
    if (issubclass(task_cls, models.TextClassifier) or family_of_task(task_cls).name == "bert")
    and task_cls.call_packed is not Task.call_packed
    and "padding_mask" in family_of_task(task_cls).backbone.input_names
]


@pytest.fixture(scope="module", params=KINDS)
def packing_task_cls(request):
    """A task class whose texts share rows."""
    return TASKS[request.param]


@pytest.fixture
def unpacked(monkeypatch):
    """Within it each text has a row of its own."""

    def switch():
        monkeypatch.setattr(Task, "packs_texts", False)

    return switch


def task_without_dropout(task_cls, **changes):
    """Returns a task that learns by plain gradients."""
    family = family_of_task(task_cls)
    if "dropout" in argument_defaults(task_cls):
        changes["dropout"] = 0.0
    if issubclass(task_cls, models.MaskedLM):
        changes["preprocessor"] = tiny_preprocessor(task_cls, mask_seed=3)
    rates = {name: 0.0 for name in argument_defaults(family.backbone) if name.endswith("dropout")}
    task = tiny_task(task_cls, backbone=tiny_backbone(family, **rates), **changes)
    loss = "mse" if issubclass(task_cls, models.TextEmbedder) else "auto"
    task.compile(optimizer=keras.optimizers.SGD(0.1), loss=loss)
    return task


def learnt(task_cls):
    task = task_without_dropout(task_cls)
    texts = examples_for(task_cls, TEXTS)
    # Two steps, the second of which is not full.
    history = task.fit(texts, LABELS.get(task_cls.kind), batch_size=4, shuffle=False, verbose=0)
    return history.history, task.get_weights()


def test_packed_texts_teach_what_single_ones_do(packing_task_cls, unpacked):
    history, weights = learnt(packing_task_cls)
    unpacked()
    expected_history, expected_weights = learnt(packing_task_cls)
    for name, values in expected_history.items():
        np.testing.assert_allclose(history[name], values, rtol=1e-5, err_msg=name)
    for weight, expected in zip(weights, expected_weights, strict=True):
        np.testing.assert_allclose(weight, expected, atol=1e-5, rtol=0)


def test_packed_texts_are_trained_with_dropout():
    backbone = tiny_backbone(family_of_task(models.BertTextClassifier), dropout=0.5)
    task = tiny_task(models.BertTextClassifier, backbone=backbone, dropout=0.0)
    task.compile(optimizer=keras.optimizers.SGD(0.0), loss="auto")
    losses = task.fit(TEXTS, LABELS["TextClassifier"], epochs=3, shuffle=False, verbose=0)
    # Nothing is learnt: only what is dropped differs.
    assert len(set(losses.history["loss"])) == 3


def test_predict_gives_what_each_text_gives_alone(packing_task_cls, unpacked):
    task = tiny_task(packing_task_cls)
    texts = examples_for(packing_task_cls, TEXTS)
    if issubclass(packing_task_cls, models.MaskedLM):
        texts = [f"{text} {task.preprocessor.tokenizer.mask_token}" for text in texts]
    outputs = task.predict(texts, verbose=0)
    unpacked()
    expected = task.predict(texts, verbose=0)
    assert outputs.shape == expected.shape
    if issubclass(packing_task_cls, models.TokenClassifier):
        # What stands at padding means nothing.
        is_token = task.preprocessor(texts)["padding_mask"]
        outputs, expected = outputs[is_token], expected[is_token]
    np.testing.assert_allclose(outputs, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("task_cls", [models.BertTextClassifier, models.ModernBertTextClassifier])
def test_evaluate_weighs_texts_as_they_are_given(task_cls, unpacked):
    task = task_without_dropout(task_cls)
    arguments = {"sample_weight": [1.0, 2.0, 0.5, 1.0, 0.0, 3.0], "batch_size": 4, "verbose": 0}
    found = task.evaluate(TEXTS, LABELS["TextClassifier"], **arguments)
    unpacked()
    expected = task.evaluate(TEXTS, LABELS["TextClassifier"], **arguments)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("mode", ["mean", "cls"])
def test_a_head_pools_the_texts_of_a_row(mode, unpacked):
    classifier = tiny_task(models.ModernBertTextClassifier, pooling_mode=mode)
    outputs = classifier.predict(TEXTS, verbose=0)
    unpacked()
    np.testing.assert_allclose(outputs, classifier.predict(TEXTS, verbose=0), atol=1e-5, rtol=0)


@pytest.mark.parametrize("mode", ["mean", "cls", "max", "lasttoken"])
def test_pooling_knows_the_texts_of_a_row(mode, unpacked):
    embedder = tiny_task(models.BertTextEmbedder, pooling_mode=mode)
    vectors = embedder.embed(TEXTS)
    unpacked()
    np.testing.assert_allclose(vectors, embedder.embed(TEXTS), atol=1e-6, rtol=0)


def test_texts_keep_their_rows_where_devices_share_batches(monkeypatch):
    task = tiny_task(models.BertTextClassifier)
    assert task.packs_texts
    monkeypatch.setattr(keras.distribution, "distribution", object)
    assert not task.packs_texts
