"""Orders, seeds, interrupts: what training does to a model, and what it leaves."""

import keras
import numpy as np
import pytest

from clozework import models
from clozework.errors import InputError
from tests.unit.tasks.tiny_models import tiny_classifier, tiny_masked_lm, values

LETTERS = ["a", "b", "c", "heaven", "earth", "a b", "b c", "a c"]
LABELS = [0, 1, 0, 1, 0, 1, 0, 1]


class Interrupt(keras.callbacks.Callback):
    """Presses Ctrl-C after a number of batches, and notes the weights of that moment."""

    def __init__(self, after):
        super().__init__()
        self.after = after

    def on_train_batch_end(self, batch, logs=None):
        self._press(batch)

    def on_test_batch_end(self, batch, logs=None):
        self._press(batch)

    def on_predict_batch_end(self, batch, logs=None):
        self._press(batch)

    def _press(self, batch):
        if batch + 1 == self.after:
            raise KeyboardInterrupt


@pytest.fixture
def seen(monkeypatch):
    """The texts of each batch, as they reach the preprocessor."""
    batches = []
    original = models.BertTextClassifierPreprocessor.__call__

    def spy(self, x, *arguments, **options):
        batches.append(list(x))
        return original(self, x, *arguments, **options)

    monkeypatch.setattr(models.BertTextClassifierPreprocessor, "__call__", spy)
    return batches


@pytest.fixture(scope="module")
def classifier():
    """Shared by tests that don't mind what it has learned."""
    return tiny_classifier()


def epochs(batches, size):
    """Returns the texts of the last epochs, one list each; Keras may read ahead before them."""
    texts = [text for batch in batches for text in batch]
    texts = texts[len(texts) % size :]
    return [texts[i : i + size] for i in range(0, len(texts), size)]


def test_each_epoch_has_another_order(classifier, seen):
    classifier.fit(LETTERS, LABELS, batch_size=4, epochs=3, verbose=0)
    orders = epochs(seen, len(LETTERS))[-3:]
    assert all(sorted(order) == sorted(LETTERS) for order in orders)
    assert len({tuple(order) for order in orders}) == 3


def test_without_shuffle_the_order_is_that_of_the_data(classifier, seen):
    classifier.fit(LETTERS, LABELS, batch_size=4, epochs=2, shuffle=False, verbose=0)
    assert epochs(seen, len(LETTERS))[-2:] == [LETTERS, LETTERS]


def test_the_same_seed_gives_the_same_losses():
    losses = [
        tiny_classifier()
        .fit(LETTERS, LABELS, batch_size=4, epochs=2, seed=seed, verbose=0)
        .history["loss"]
        for seed in (1, 1, 2)
    ]
    assert losses[0] == losses[1] != losses[2]


def test_the_seed_of_keras_is_taken_where_none_is_given(classifier, seen):
    orders = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(seed)
        del seen[:]
        classifier.fit(LETTERS, LABELS, batch_size=4, verbose=0)
        orders.append(epochs(seen, len(LETTERS))[-1])
    assert orders[0] == orders[1] != orders[2]


def test_validation_is_not_shuffled(classifier, seen):
    validation = ["c b a", "heaven heaven", "earth earth", "b b"]
    data = (validation, [0, 1, 0, 1])
    classifier.fit(LETTERS, LABELS, batch_size=4, validation_data=data, verbose=0)
    assert seen[-1] == validation


def test_a_masked_lm_masks_other_tokens_in_each_epoch():
    masked_lm = tiny_masked_lm()
    masked = [masked_lm.preprocessor(LETTERS)[0]["token_ids"].tolist() for _ in range(3)]
    assert masked[0] != masked[1] or masked[1] != masked[2]


def test_two_predictions_of_one_masked_text_are_equal():
    masked_lm = tiny_masked_lm()
    first = masked_lm.predict(["a [MASK] b"], verbose=0)
    masked_lm.preprocessor(LETTERS)
    np.testing.assert_array_equal(masked_lm.predict(["a [MASK] b"], verbose=0), first)


def test_a_written_mask_is_predicted_in_context():
    masked_lm = tiny_masked_lm()
    outputs = masked_lm.predict(["a [MASK]", "earth [MASK]"], verbose=0)
    assert outputs.shape == (2, 1, masked_lm.backbone.vocabulary_size)
    assert np.abs(outputs[0] - outputs[1]).max() > 1e-3


@pytest.mark.parametrize("make", [tiny_classifier, tiny_masked_lm], ids=["classifier", "masked"])
def test_an_interrupt_leaves_the_weights_after_the_last_step(make):
    labels = [LABELS] if make is tiny_classifier else []
    interrupted, whole = make(), make()
    for task in (interrupted, whole):
        if make is tiny_masked_lm:
            task.preprocessor = seeded(task.preprocessor)
    with pytest.raises(KeyboardInterrupt):
        interrupted.fit(
            *(LETTERS, *labels), batch_size=2, shuffle=False, callbacks=[Interrupt(3)], verbose=0
        )
    whole.fit(*(LETTERS[:6], *(y[:6] for y in labels)), batch_size=2, shuffle=False, verbose=0)
    for value, expected in zip(values(interrupted), values(whole), strict=True):
        np.testing.assert_allclose(value, expected, atol=1e-6)
    assert int(interrupted.optimizer.iterations) == 3


def test_training_goes_on_after_an_interrupt():
    interrupted, whole = tiny_classifier(), tiny_classifier()
    with pytest.raises(KeyboardInterrupt):
        interrupted.fit(
            LETTERS, LABELS, batch_size=4, shuffle=False, callbacks=[Interrupt(1)], verbose=0
        )
    interrupted.fit(LETTERS[4:], LABELS[4:], batch_size=4, shuffle=False, verbose=0)
    whole.fit(LETTERS, LABELS, batch_size=4, shuffle=False, verbose=0)
    for value, expected in zip(values(interrupted), values(whole), strict=True):
        np.testing.assert_allclose(value, expected, atol=1e-6)
    assert int(interrupted.optimizer.iterations) == 2


@pytest.mark.parametrize("method", ["evaluate", "predict"])
def test_an_interrupt_of_evaluate_or_predict_changes_nothing(method):
    classifier = tiny_classifier()
    before = values(classifier)
    labels = [LABELS] if method == "evaluate" else []
    with pytest.raises(KeyboardInterrupt):
        getattr(classifier, method)(
            LETTERS, *labels, batch_size=2, callbacks=[Interrupt(2)], verbose=0
        )
    for value, expected in zip(values(classifier), before, strict=True):
        np.testing.assert_array_equal(value, expected)
    assert classifier.predict(LETTERS, verbose=0).shape == (8, 2)


@pytest.mark.parametrize("error", [OSError("the disk is gone"), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize("method", ["fit", "evaluate", "predict"])
def test_a_source_that_fails_leaves_the_weights(method, error):
    classifier = tiny_classifier()
    expected = classifier.predict(LETTERS, verbose=0)
    before = values(classifier)

    def rows():
        yield from zip(LETTERS[:4], LABELS, strict=False)
        raise error

    with pytest.raises(type(error)):
        getattr(classifier, method)(rows(), batch_size=2, verbose=0)
    assert all(np.isfinite(value).all() for value in values(classifier))
    if method == "fit":
        assert int(classifier.optimizer.iterations) in (1, 2)
        classifier.set_weights(before)
    np.testing.assert_allclose(classifier.predict(LETTERS, verbose=0), expected, atol=1e-6)


def test_a_validation_that_fails_leaves_what_was_learned():
    classifier, whole = tiny_classifier(), tiny_classifier()
    validation = iter([("a", 0), ("b", 1), ("c", 7)])
    with pytest.raises(InputError, match="go from 7 to 7, but num_classes=2"):
        classifier.fit(
            LETTERS,
            LABELS,
            shuffle=False,
            validation_data=validation,
            validation_batch_size=2,
            verbose=0,
        )
    whole.fit(LETTERS, LABELS, shuffle=False, verbose=0)
    for value, expected in zip(values(classifier), values(whole), strict=True):
        np.testing.assert_allclose(value, expected, atol=1e-6)


def test_one_batch_trains_as_one_step():
    by_batch, by_fit = tiny_classifier(), tiny_classifier()
    by_fit.fit(LETTERS, LABELS, shuffle=False, verbose=0)
    by_batch.train_on_batch(LETTERS, LABELS)
    for value, expected in zip(values(by_batch), values(by_fit), strict=True):
        np.testing.assert_allclose(value, expected, atol=1e-6)


def seeded(preprocessor):
    return type(preprocessor).from_config({**preprocessor.get_config(), "mask_seed": 3})
