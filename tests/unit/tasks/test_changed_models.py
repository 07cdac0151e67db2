"""Tasks that are cloned, cut, changed, or used by several threads at once."""

import threading

import keras
import numpy as np
import pytest

from clozework import models
from clozework.errors import ConfigError
from tests.contract.families import tiny_task
from tests.unit.tasks.tiny_models import tiny_backbone, tiny_classifier, values

TEXTS = ["a b", "b c", "heaven a", "earth"]
LABELS = [0, 1, 0, 1]


def test_threads_take_turns_and_leave_the_weights():
    classifier = tiny_classifier()
    classifier.fit(TEXTS, LABELS, verbose=0)
    before = values(classifier)
    expected = classifier.predict(TEXTS, verbose=0)
    results = []

    def use():
        for _ in range(3):
            results.append(classifier.predict(TEXTS, verbose=0))

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 12
    for result in results:
        np.testing.assert_array_equal(result, expected)
    for ours, kept in zip(values(classifier), before, strict=True):
        np.testing.assert_array_equal(ours, kept)


def test_a_task_can_be_cloned():
    task = tiny_classifier()
    clone = keras.models.clone_model(task)
    clone.set_weights(task.get_weights())
    inputs = {name: np.ones((1, 4), "int32") for name in task.input}
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(clone(inputs)),
        keras.ops.convert_to_numpy(task(inputs)),
        rtol=0,
        atol=1e-6,
    )


def test_a_model_cut_from_a_classifier_can_be_saved(tmp_path):
    classifier = tiny_task(models.DebertaV3TextClassifier)
    cut = keras.Model(classifier.input, classifier.layers[-2].output)
    cut.save(tmp_path / "cut.keras")
    inputs = {name: np.ones((1, 4), "int32") for name in cut.input}
    loaded = keras.saving.load_model(tmp_path / "cut.keras")
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(loaded(inputs)), keras.ops.convert_to_numpy(cut(inputs))
    )


def test_validation_batches_keep_their_size():
    classifier = tiny_classifier()
    batches = [(TEXTS[:3], LABELS[:3]), (TEXTS[3:], LABELS[3:])]
    history = classifier.fit(
        TEXTS, LABELS, batch_size=2, validation_data=iter(batches), verbose=0
    ).history
    expected = classifier.evaluate(TEXTS, LABELS, verbose=0)[0]
    assert history["val_loss"][0] == pytest.approx(expected, rel=1e-5)


def test_numbers_may_be_of_numpy():
    labels = np.array([0, 2, 1])
    classifier = tiny_classifier(num_classes=labels.max() + 1)
    assert type(classifier.get_config()["num_classes"]) is int


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_heads": None}, "`num_heads` must be a positive integer, not None"),
        ({"layer_norm_epsilon": "x"}, "`layer_norm_epsilon` must be a positive number, not 'x'"),
        ({"layer_norm_epsilon": 0}, "`layer_norm_epsilon` must be a positive number, not 0"),
    ],
)
def test_impossible_numbers_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        tiny_backbone(**changes)
