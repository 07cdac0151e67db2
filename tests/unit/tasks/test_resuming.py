"""Training that was interrupted and goes on: the same weights and history, bit for bit."""

import keras
import numpy as np
import pytest

from clozework.errors import ConfigError, PresetError
from clozework.tasks import Resumable
from tests.unit.tasks.tiny_models import tiny_backbone, tiny_classifier, tiny_masked_lm, values

TEXTS = ["a", "b", "c", "heaven", "earth", "a b", "b c", "a c", "heaven earth", "a b c"]
LABELS = [0, 1, 0, 1, 0, 1, 0, 1, 0, 1]
NUM_STEPS = 4


class Killed(BaseException):
    """What stands for the end of the process."""


class Killer(keras.callbacks.Callback):
    """Ends training after a number of steps, or of other moments."""

    def __init__(self, after=99, moment="train_batch_end"):
        super().__init__()
        self._left = after
        self._moment = moment

    def on_train_batch_end(self, batch, logs=None):
        self._tell("train_batch_end")

    def on_test_begin(self, logs=None):
        self._tell("test_begin")

    def on_epoch_begin(self, epoch, logs=None):
        self._tell("epoch_begin")

    def on_train_end(self, logs=None):
        self._tell("train_end")

    def _tell(self, moment):
        self._left -= moment == self._moment
        if self._left == 0:
            raise Killed


def new_classifier(seed):
    keras.utils.set_random_seed(seed)
    return tiny_classifier(backbone=tiny_backbone(dropout=0.3), dropout=0.3)


def train(model, resumable, killer=None, *, epochs=3, **options):
    """Returns weights and history."""
    stopping = keras.callbacks.EarlyStopping("val_loss", patience=1, restore_best_weights=True)
    history = model.fit(
        TEXTS,
        LABELS,
        batch_size=3,
        epochs=epochs,
        validation_data=(TEXTS[:4], LABELS[:4]),
        callbacks=[stopping, killer or Killer(), resumable],
        verbose=0,
        **options,
    )
    return values(model), history.history


def assert_same(one, other):
    for value, expected in zip(one[0], other[0], strict=True):
        np.testing.assert_array_equal(value, expected)
    assert one[1] == other[1]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What a training gives that is not interrupted."""
    return train(new_classifier(3), Resumable(tmp_path_factory.mktemp("whole")))


@pytest.mark.parametrize("every_steps", [1, 3])
@pytest.mark.parametrize("after", [2, NUM_STEPS, NUM_STEPS + 1, 3 * NUM_STEPS])
def test_a_training_that_was_killed_goes_on_as_if_nothing_had_happened(
    whole, tmp_path, after, every_steps
):
    with pytest.raises(Killed):
        train(new_classifier(3), Resumable(tmp_path, every_steps=every_steps), Killer(after))
    # The random state of another process.
    assert_same(train(new_classifier(11), Resumable(tmp_path, every_steps=1)), whole)


@pytest.mark.parametrize(
    ("moment", "after"), [("test_begin", 1), ("epoch_begin", 2), ("train_end", 1)]
)
def test_kills_between_steps_change_nothing(whole, tmp_path, moment, after):
    with pytest.raises(Killed):
        train(
            new_classifier(3), Resumable(tmp_path, every_steps=1), Killer(after, moment), epochs=3
        )
    assert_same(train(new_classifier(11), Resumable(tmp_path)), whole)


@pytest.mark.parametrize("moment", ["test_begin", "train_end"])
def test_a_training_that_was_to_stop_does_not_go_on(tmp_path, moment):
    def stopped(seed, directory, killer):
        stopping = keras.callbacks.EarlyStopping(
            "loss", baseline=-1.0, patience=1, restore_best_weights=True
        )
        classifier = new_classifier(seed)
        callbacks = [killer, stopping, Resumable(tmp_path / directory, every_steps=1)]
        history = classifier.fit(
            TEXTS,
            LABELS,
            batch_size=3,
            epochs=9,
            validation_data=(TEXTS, LABELS),
            callbacks=callbacks,
            verbose=0,
        ).history
        return values(classifier), history

    expected = stopped(3, "whole", Killer())
    assert len(expected[1]["loss"]) < 9
    with pytest.raises(Killed):
        stopped(
            3, "killed", Killer(len(expected[1]["loss"]) if moment == "test_begin" else 1, moment)
        )
    assert_same(stopped(11, "killed", Killer()), expected)


@pytest.mark.skipif(
    keras.backend.backend() == "torch", reason="Keras runs single steps with PyTorch"
)
def test_several_steps_at_once_are_counted_each(tmp_path):
    def trained(seed, directory, killer):
        classifier = new_classifier(seed)
        classifier.compile("sgd", "sparse_categorical_crossentropy", steps_per_execution=2)
        callbacks = [killer, Resumable(tmp_path / directory, every_steps=1)]
        history = classifier.fit(
            TEXTS, LABELS, batch_size=2, epochs=2, callbacks=callbacks, verbose=0
        ).history
        return values(classifier), history

    expected = trained(3, "whole", Killer())
    with pytest.raises(Killed):
        trained(3, "killed", Killer(2))
    assert_same(trained(11, "killed", Killer()), expected)


def test_several_kills_change_nothing(whole, tmp_path):
    for seed, after in enumerate((2, 1, 3, 2), start=3):
        with pytest.raises(Killed):
            train(new_classifier(seed), Resumable(tmp_path, every_steps=1), Killer(after))
    assert_same(train(new_classifier(11), Resumable(tmp_path)), whole)


def test_random_masks_are_those_of_a_run_without_interruption(tmp_path):
    def trained(seed, directory, killer):
        keras.utils.set_random_seed(seed)
        masked_lm = tiny_masked_lm()
        resumable = Resumable(tmp_path / directory, every_steps=1)
        history = masked_lm.fit(
            TEXTS, batch_size=3, epochs=2, callbacks=[killer, resumable], verbose=0
        )
        return values(masked_lm), history.history

    expected = trained(3, "whole", Killer())
    with pytest.raises(Killed):
        trained(3, "killed", Killer(6))
    assert_same(trained(11, "killed", Killer()), expected)


def test_what_has_ended_is_not_trained_again_but_may_go_on(tmp_path):
    options = {"seed": 5, "batch_size": 3, "verbose": 0}
    first, again, longer = (new_classifier(seed) for seed in (3, 4, 5))
    history = first.fit(TEXTS, LABELS, epochs=2, callbacks=[Resumable(tmp_path)], **options)
    known = again.fit(TEXTS, LABELS, epochs=2, callbacks=[Resumable(tmp_path)], **options)
    assert_same((values(again), known.history), (values(first), history.history))
    more = longer.fit(TEXTS, LABELS, epochs=3, callbacks=[Resumable(tmp_path)], **options)
    assert more.history["loss"][:2] == history.history["loss"]
    assert len(more.history["loss"]) == len(more.epoch) == 3


def test_training_that_stopped_early_stays_as_it_was(tmp_path):
    def stopped(seed):
        classifier = new_classifier(seed)
        stopping = keras.callbacks.EarlyStopping("loss", baseline=-1.0, patience=1)
        callbacks = [stopping, Resumable(tmp_path)]
        history = classifier.fit(
            TEXTS, LABELS, epochs=9, seed=5, callbacks=callbacks, verbose=0
        ).history
        return values(classifier), history

    first = stopped(3)
    assert len(first[1]["loss"]) < 9
    assert_same(stopped(4), first)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 5}, "an epoch of 4 batches in the order of seed="),
        ({"seed": 6}, "an epoch of 4 batches in the order of seed="),
        ({"callbacks": [Killer()]}, r"the callbacks \[\]"),
    ],
)
def test_another_training_is_refused(tmp_path, change, message):
    options = {"seed": 5, "batch_size": 3, "verbose": 0}
    new_classifier(3).fit(TEXTS, LABELS, callbacks=[Resumable(tmp_path)], **options)
    options |= change
    callbacks = [*options.pop("callbacks", ()), Resumable(tmp_path)]
    with pytest.raises(ConfigError, match=message):
        new_classifier(3).fit(TEXTS, LABELS, epochs=2, callbacks=callbacks, **options)


def test_another_model_is_refused(tmp_path):
    options = {"batch_size": 3, "verbose": 0}
    new_classifier(3).fit(TEXTS, LABELS, callbacks=[Resumable(tmp_path)], **options)
    other = tiny_classifier(num_classes=3)
    with pytest.raises(ConfigError, match="another model, or another optimizer"):
        other.fit(TEXTS, LABELS, epochs=2, callbacks=[Resumable(tmp_path)], **options)


def test_what_cannot_be_resumed_is_refused(tmp_path):
    classifier = new_classifier(3)
    rows = ((text, label) for text, label in zip(TEXTS, LABELS, strict=True))
    with pytest.raises(ConfigError, match="x is a stream"):
        classifier.fit(rows, callbacks=[Resumable(tmp_path)], verbose=0)
    with pytest.raises(ConfigError, match="leave out `steps_per_epoch`"):
        classifier.fit(TEXTS, LABELS, steps_per_epoch=1, callbacks=[Resumable(tmp_path)])
    with pytest.raises(ConfigError, match="several `Resumable`"):
        classifier.fit(TEXTS, LABELS, callbacks=[Resumable(tmp_path), Resumable(tmp_path)])
    with pytest.raises(ConfigError, match="`every_steps` must be at least 1"):
        Resumable(tmp_path, every_steps=0)
    classifier.compile(keras.optimizers.Adam(use_ema=True), "sparse_categorical_crossentropy")
    with pytest.raises(ConfigError, match="averages of `use_ema=True`"):
        classifier.fit(TEXTS, LABELS, callbacks=[Resumable(tmp_path)], verbose=0)
    assert not list(tmp_path.iterdir())


def test_another_file_in_its_place_is_named(tmp_path):
    Resumable(tmp_path).file.write_bytes(b"\x00" * 100)
    with pytest.raises(PresetError, match=r"training\.safetensors"):
        new_classifier(3).fit(TEXTS, LABELS, callbacks=[Resumable(tmp_path)], verbose=0)


def test_a_plain_model_of_keras_is_told_what_it_is_for(tmp_path):
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile(loss="mse")
    with pytest.raises(ConfigError, match="for `fit` of Clozework's tasks"):
        model.fit(np.ones((4, 2)), np.ones(4), callbacks=[Resumable(tmp_path)], verbose=0)


def test_it_is_saved_by_its_arguments(tmp_path):
    resumable = Resumable(tmp_path, every_seconds=9.0, every_steps=2)
    again = Resumable(**resumable.get_config())
    assert again.get_config() == resumable.get_config()
