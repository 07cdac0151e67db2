"""Labels: numbers, one-hot vectors and names; what is refused before anything is trained."""

import keras
import numpy as np
import pandas as pd
import pytest

from clozework.errors import ConfigError, InputError
from tests.unit.tasks.tiny_models import tiny_classifier, tiny_masked_lm, values

TEXTS = ["a b", "b c", "heaven", "earth a"]
NUMBERS = [0, 1, 0, 1]
NAMES = ["calm", "storm", "calm", "storm"]
ONE_HOT = [[1, 0], [0, 1], [1, 0], [0, 1]]
BAD_NUMBERS = {
    "too large": ([0, 1, 2, 0], "go from 0 to 2, but num_classes=2: class numbers are 0 to 1"),
    "negative": ([0, -1, 0, 1], "go from -1 to 1, but num_classes=2"),
    "fraction": ([1, 0, 0.5, 1], r"must be whole numbers, not 0\.5"),
    "three columns": ([[0, 1, 0]] * 4, r"have the shape \(4, 3\), but a model of 2 classes"),
    "two hot": ([[1, 1]] * 4, "must be one-hot for this loss"),
    "soft": ([[0.5, 0.5]] * 4, "must be one-hot for this loss"),
    "none": (None, "needs labels: pass `y`"),
    "short": ([0, 1], "x holds 4 examples, but y has 2 entries"),
    "missing": ([0, None, 1, 0], r"y\[1\] is None"),
}


def categorical():
    return keras.losses.CategoricalCrossentropy(from_logits=True)


@pytest.fixture(scope="module")
def classifier():
    """Shared by tests that leave it as it was."""
    return tiny_classifier()


@pytest.fixture(scope="module")
def named():
    """Shared by tests that leave it as it was; knows its labels."""
    return tiny_classifier(label_names=["calm", "storm"])


@pytest.mark.parametrize(
    "labels",
    [
        NUMBERS,
        np.array(NUMBERS),
        [[0], [1], [0], [1]],
        [0.0, 1.0, 0.0, 1.0],
        [False, True, False, True],
        ONE_HOT,
        np.array(ONE_HOT, "float32"),
        NAMES,
        tuple(NAMES),
        np.array(NAMES),
        np.array(NAMES, dtype=object),
        np.array(NAMES, dtype="S"),
        pd.Series(NAMES),
    ],
    ids=repr,
)
def test_every_form_of_labels_means_the_same(named, labels):
    loss = named.evaluate(TEXTS, labels, verbose=0)
    assert loss == named.evaluate(TEXTS, NUMBERS, verbose=0)


@pytest.mark.parametrize(("labels", "message"), BAD_NUMBERS.values(), ids=BAD_NUMBERS)
def test_bad_labels_are_refused_before_anything_is_trained(classifier, labels, message):
    before = values(classifier)
    with pytest.raises(InputError, match=message):
        classifier.fit(TEXTS, labels, batch_size=1, verbose=0)
    for value, expected in zip(values(classifier), before, strict=True):
        np.testing.assert_array_equal(value, expected)
    assert classifier.optimizer.iterations == 0


@pytest.mark.parametrize(("labels", "message"), BAD_NUMBERS.values(), ids=BAD_NUMBERS)
@pytest.mark.parametrize("method", ["evaluate", "train_on_batch", "test_on_batch"])
def test_bad_labels_are_refused_everywhere(classifier, method, labels, message):
    with pytest.raises(InputError, match=message):
        getattr(classifier, method)(TEXTS, labels)


@pytest.mark.parametrize(("labels", "message"), BAD_NUMBERS.values(), ids=BAD_NUMBERS)
def test_bad_validation_labels_are_refused_before_anything_is_trained(classifier, labels, message):
    with pytest.raises(InputError, match=message):
        classifier.fit(TEXTS, NUMBERS, validation_data=(TEXTS, labels), verbose=0)
    assert classifier.optimizer.iterations == 0


def test_the_model_is_usable_after_bad_labels():
    classifier = tiny_classifier()
    expected = classifier.predict(TEXTS, verbose=0)
    with pytest.raises(InputError, match="class numbers are 0 to 1"):
        classifier.fit(((text, 7) for text in TEXTS), verbose=0)
    np.testing.assert_array_equal(classifier.predict(TEXTS, verbose=0), expected)
    assert np.isfinite(classifier.fit(TEXTS, NUMBERS, verbose=0).history["loss"]).all()


def test_a_bad_label_late_in_a_stream_is_refused():
    classifier = tiny_classifier()
    rows = [*zip(TEXTS, NUMBERS, strict=True), ("a", 2)]
    with pytest.raises(InputError, match="go from 2 to 2, but num_classes=2"):
        classifier.fit((row for row in rows), batch_size=2, verbose=0)
    assert all(np.isfinite(value).all() for value in values(classifier))


def test_names_are_learned_in_sorted_order():
    classifier = tiny_classifier()
    classifier.fit(TEXTS, ["storm", "calm", "storm", "calm"], verbose=0)
    assert classifier.label_names == ["calm", "storm"]
    assert classifier.evaluate(TEXTS, NAMES, verbose=0) == classifier.evaluate(
        TEXTS, NUMBERS, verbose=0
    )


def test_names_are_learned_from_a_stream_that_can_be_read_again():
    classifier = tiny_classifier()
    classifier.fit(Rows(), verbose=0)
    assert classifier.label_names == ["calm", "storm"]


def test_names_that_occur_in_validation_only_are_learned_too():
    classifier = tiny_classifier()
    classifier.fit(TEXTS, ["calm", "calm", "calm", "storm"], validation_split=0.25, verbose=0)
    assert classifier.label_names == ["calm", "storm"]


def test_validation_labels_may_be_names(named):
    history = named.fit(TEXTS, NAMES, validation_data=(TEXTS, NAMES), verbose=0).history
    np.testing.assert_allclose(history["val_loss"][0], named.evaluate(TEXTS, NAMES, verbose=0)[0])


def test_validation_data_may_be_a_stream_of_names(named):
    rows = list(zip(TEXTS, NAMES, strict=True))
    history = named.fit(TEXTS, NAMES, validation_data=iter(rows), verbose=0).history
    np.testing.assert_allclose(history["val_loss"][0], named.evaluate(TEXTS, NAMES, verbose=0)[0])


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            ["a", "b", "c", "a"],
            "3 different labels .'a', 'b', 'c'., but the model has num_classes=2",
        ),
        (["a"] * 4, "1 different labels .'a'., .* Make it with num_classes=1"),
        ([f"name {i}" for i in range(4)], "4 different labels"),
    ],
    ids=["three", "one", "four"],
)
def test_a_wrong_number_of_names_is_refused(classifier, labels, message):
    with pytest.raises(InputError, match=message):
        classifier.fit(TEXTS, labels, verbose=0)
    assert classifier.label_names is None


def test_a_long_list_of_names_is_cut_in_the_message(classifier):
    labels = [f"name {i:02}" for i in range(12)]
    with pytest.raises(InputError, match=r"'name 09', \.\.\. \(12 in all\)"):
        classifier.fit(["a"] * 12, labels, verbose=0)


@pytest.mark.parametrize("method", ["evaluate", "train_on_batch", "test_on_batch"])
def test_names_nobody_gave_are_refused(classifier, method):
    with pytest.raises(InputError, match=r"Labels are names \('calm', 'storm'\), .* `label_names`"):
        getattr(classifier, method)(TEXTS, NAMES)


def test_unknown_names_are_refused(named):
    with pytest.raises(InputError, match="Labels 'fog' are not among the model's: 'calm', 'storm'"):
        named.fit(TEXTS, ["calm", "fog", "storm", "calm"], verbose=0)


def test_an_unknown_name_in_validation_is_refused_before_training(named):
    before = values(named)
    with pytest.raises(InputError, match="Labels 'fog' are not among the model's"):
        named.fit(TEXTS, NAMES, validation_data=(TEXTS, ["fog"] * 4), verbose=0)
    np.testing.assert_array_equal(values(named)[0], before[0])


@pytest.mark.parametrize("names", [["a"], ["a", "a"], ["a", "b", "c"]], ids=repr)
def test_label_names_must_be_one_for_each_class(names):
    with pytest.raises(ConfigError, match="`label_names` must be 2 different names"):
        tiny_classifier(label_names=names)


@pytest.mark.parametrize("labels", [ONE_HOT, NUMBERS, NAMES], ids=["one-hot", "numbers", "names"])
@pytest.mark.parametrize(
    "loss", [categorical(), "categorical_crossentropy"], ids=["object", "name"]
)
def test_a_loss_of_vectors_takes_every_form(loss, labels):
    activation = "softmax" if isinstance(loss, str) else None
    classifier = tiny_classifier(activation=activation, label_names=["calm", "storm"])
    expected = classifier.evaluate(TEXTS, NUMBERS, verbose=0)
    classifier.compile("adam", loss)
    assert classifier.evaluate(TEXTS, labels, verbose=0) == pytest.approx(expected, abs=1e-6)


def test_a_loss_of_vectors_takes_soft_labels_and_smoothing(classifier):
    classifier = tiny_classifier()
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
    classifier.compile("adam", loss)
    smooth = [[0.95, 0.05], [0.05, 0.95], [0.95, 0.05], [0.05, 0.95]]
    smoothed = classifier.evaluate(TEXTS, NUMBERS, verbose=0)[0]
    classifier.compile("adam", categorical())
    assert classifier.evaluate(TEXTS, smooth, verbose=0)[0] == pytest.approx(smoothed, abs=1e-6)


@pytest.mark.parametrize("loss", [categorical(), keras.losses.categorical_crossentropy])
def test_a_loss_of_vectors_refuses_bad_labels(loss):
    classifier = tiny_classifier()
    classifier.compile("adam", loss)
    with pytest.raises(InputError, match="go from 0 to 5, but num_classes=2"):
        classifier.fit(TEXTS, [0, 5, 1, 0], verbose=0)


@pytest.mark.parametrize(
    "loss",
    ["sparse_categorical_crossentropy", keras.losses.sparse_categorical_crossentropy],
    ids=["name", "function"],
)
def test_a_loss_of_numbers_is_known_in_every_form(loss):
    classifier = tiny_classifier(activation="softmax")
    classifier.compile("adam", loss)
    with pytest.raises(InputError, match="go from 0 to 5, but num_classes=2"):
        classifier.fit(TEXTS, [0, 5, 1, 0], verbose=0)


def test_binary_and_other_losses_take_labels_as_they_are():
    classifier = tiny_classifier(activation="sigmoid")
    classifier.compile("adam", "binary_crossentropy")
    history = classifier.fit(TEXTS, [[1, 1], [0, 1], [1, 0], [0, 0]], verbose=0).history
    assert list(history) == ["loss"]


def test_metrics_follow_the_loss():
    classifier = tiny_classifier()
    assert metric_names(classifier) == ["SparseCategoricalAccuracy"]
    classifier.compile("adam", categorical())
    assert metric_names(classifier) == ["CategoricalAccuracy"]
    classifier.compile("adam", mean_of_outputs)
    assert metric_names(classifier) == ["SparseCategoricalAccuracy"]
    classifier.compile("adam", "mse")
    assert metric_names(classifier) == []


def test_metrics_of_an_earlier_compile_are_gone():
    classifier = tiny_classifier()
    classifier.compile("adam", "mse", metrics=None)
    assert [metric.name for metric in classifier.metrics] == ["loss"]


def test_class_weights_go_by_number_or_name(named):
    expected = weighted_loss(named, NUMBERS, {0: 1.0, 1: 3.0})
    assert expected != weighted_loss(named, NUMBERS, None)
    assert weighted_loss(named, NAMES, {"calm": 1.0, "storm": 3.0}) == expected
    assert weighted_loss(named, NUMBERS, {"storm": 3.0}) == expected
    assert weighted_loss(named, ONE_HOT, {np.int64(1): 3.0}) == expected


def test_class_weights_equal_sample_weights(named):
    expected = weighted_loss(named, NUMBERS, None, sample_weight=[1, 3, 1, 3])
    assert weighted_loss(named, NUMBERS, {0: 1.0, 1: 3.0}) == expected


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"fog": 1.0}, "`class_weight` has weights for 'fog', but the classes are 'calm', 'storm'"),
        ({2: 1.0}, "`class_weight` has weights for 2, but"),
        ([1.0, 2.0], "`class_weight` must be a dict"),
    ],
    ids=repr,
)
def test_class_weights_of_no_class_are_refused(named, weights, message):
    with pytest.raises(InputError, match=message):
        named.fit(TEXTS, NAMES, class_weight=weights, verbose=0)


def test_class_weights_are_numbered_where_classes_have_no_names(classifier):
    with pytest.raises(InputError, match="weights for 'calm', but the classes are 0, 1"):
        classifier.fit(TEXTS, NUMBERS, class_weight={"calm": 1.0}, verbose=0)


def test_a_sample_weight_of_zero_leaves_an_example_out(named):
    assert weighted_loss(named, NUMBERS, None, sample_weight=[0.0] * 4) == 0.0


def test_a_masked_lm_needs_labels_for_arrays():
    masked_lm = tiny_masked_lm()
    x, _, _ = masked_lm.preprocessor(TEXTS)
    masked_lm.preprocessor = None
    with pytest.raises(InputError, match="pass as `y` the ids that stood at `mask_positions`"):
        masked_lm.fit(x, verbose=0)


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (99, "go from 99 to 99, but the vocabulary has the ids 0 to 10"),
        (-1, "go from -1 to -1, but the vocabulary"),
        (1.5, r"must be whole numbers, not 1\.5"),
    ],
)
def test_a_masked_lm_refuses_labels_outside_the_vocabulary(label, message):
    masked_lm = tiny_masked_lm()
    x, y, _ = masked_lm.preprocessor(TEXTS)
    masked_lm.preprocessor = None
    for method in ("fit", "evaluate", "train_on_batch", "test_on_batch"):
        with pytest.raises(InputError, match=message):
            getattr(masked_lm, method)(x, np.full(y.shape, label))
    assert masked_lm.optimizer.iterations == 0


@keras.saving.register_keras_serializable("clozework tests")
def mean_of_outputs(y_true, y_pred):
    return keras.ops.mean(y_pred)


class Rows:
    """Something that can be read again and again."""

    def __iter__(self):
        return iter(zip(TEXTS, NAMES, strict=True))


def metric_names(classifier):
    metrics = classifier.get_compile_config()["metrics"]
    return [m if isinstance(m, str) else m["class_name"] for m in metrics or ()]


def weighted_loss(classifier, labels, class_weight, **options):
    """Returns the loss of one step whose update is taken back."""
    before = classifier.get_weights()
    history = classifier.fit(
        TEXTS, labels, class_weight=class_weight, shuffle=False, verbose=0, **options
    ).history
    classifier.set_weights(before)
    return history["loss"][0]
