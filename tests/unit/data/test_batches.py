"""Batches as Keras sees them: order, epochs, weights, preprocessing."""

import itertools
import math
import warnings

import keras
import numpy as np
import pytest

from clozework.data import make_dataset, quiet_end_of_stream
from clozework.errors import ConfigError, InputError, NoExamplesError

TEXTS = ["a" * i for i in range(10)]
LABELS = [i % 2 for i in range(10)]
ROWS = list(zip(TEXTS, LABELS, strict=True))


def flat(batches):
    """Returns the examples of some batches in one list."""
    return list(itertools.chain.from_iterable(batches))


class Again:
    """A stream that can be read again and again; `sized` ones have a length."""

    def __init__(self, rows):
        self.rows = rows

    def __iter__(self):
        return iter(self.rows)


class SizedAgain(Again):
    def __len__(self):
        return len(self.rows)


class Batched(keras.utils.PyDataset):
    """A user's dataset of batches of four, which counts the epochs."""

    def __init__(self, rows=tuple(ROWS)):
        super().__init__()
        self.rows = rows
        self.num_begun = self.num_ended = 0

    def __len__(self):
        return math.ceil(len(self.rows) / 4)

    def __getitem__(self, i):
        texts, labels = zip(*self.rows[i * 4 : i * 4 + 4], strict=True)
        return list(texts), list(labels)

    def on_epoch_begin(self):
        self.num_begun += 1

    def on_epoch_end(self):
        self.num_ended += 1


class Endless(Batched):
    """A user's dataset without an end."""

    @property
    def num_batches(self):
        return None

    def __getitem__(self, i):
        return super().__getitem__(i % 3)


class Recorder:
    """A preprocessor that remembers the examples that went through it."""

    def __init__(self, count):
        self.count = count
        self.seen = []

    def __call__(self, x, y, sample_weight):
        self.seen.append(list(x))
        return self.count(x, y, sample_weight)


@pytest.fixture
def recorder(count_characters):
    return Recorder(count_characters)


SOURCES = {
    "list": lambda: (TEXTS, LABELS),
    "stream": lambda: (Again(ROWS), None),
    "sized stream": lambda: (SizedAgain(ROWS), None),
    "PyDataset": lambda: (Batched(), None),
}


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_every_epoch_of_fit_reads_every_example_once(source, recorder, model):
    x, y = source()
    size = None if isinstance(x, Batched) else 4
    batches = make_dataset(
        x, y, batch_size=size, shuffle=True, seed=3, preprocess=recorder, is_text=True, epochs=3
    )
    with quiet_end_of_stream(batches):
        history = model.fit(batches, epochs=3, shuffle=False, verbose=0)
    # Before the first epoch Keras may have read some to build the model.
    epochs = [flat(recorder.seen[-9:][i : i + 3]) for i in (0, 3, 6)]
    assert len(history.history["loss"]) == 3
    assert all(sorted(texts) == TEXTS for texts in epochs)


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_evaluate_and_predict_read_in_order(source, recorder, model, count_characters):
    x, y = source()
    batches = make_dataset(x, y, preprocess=recorder, is_text=True)
    with quiet_end_of_stream(batches):
        model.evaluate(batches, verbose=0)
        recorder.seen.clear()
        outputs = model.predict(batches, verbose=0)
    assert flat(recorder.seen) == TEXTS
    expected = model.predict_on_batch(count_characters(TEXTS, None, None)[0])
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_validation_data_are_read_whole_each_epoch(source, recorder, model, count_characters):
    x, y = source()
    training = make_dataset(TEXTS, LABELS, preprocess=count_characters, is_text=True)
    validation = make_dataset(x, y, preprocess=recorder, is_text=True, epochs=2)
    with quiet_end_of_stream(training, validation):
        history = model.fit(training, epochs=2, validation_data=validation, verbose=0)
    assert len(history.history["val_loss"]) == 2
    assert flat(recorder.seen) == TEXTS * 2


@pytest.mark.parametrize("rows", [ROWS, ROWS * 20], ids=["short", "long"])
def test_an_iterator_is_read_once_and_nothing_is_lost(rows, recorder, model):
    batches = make_dataset(iter(rows), batch_size=4, preprocess=recorder, is_text=True)
    with quiet_end_of_stream(batches):
        model.fit(batches, verbose=0)
    num_batches = math.ceil(len(rows) / 4)
    assert flat(recorder.seen[-num_batches:]) == [text for text, _ in rows]


@pytest.mark.parametrize("rows", [ROWS, ROWS * 20], ids=["short", "long"])
def test_predict_reads_an_iterator_whole_with_a_model_not_built(rows, count_characters):
    model = keras.Sequential([keras.layers.Dense(1)])
    batches = make_dataset(
        (text for text, _ in rows),
        batch_size=4,
        preprocess=lambda x, y, weight: count_characters(x, y, weight)[0]["lengths"],
        is_text=True,
    )
    with quiet_end_of_stream(batches):
        assert model.predict(batches, verbose=0).shape == (len(rows), 1)


def test_steps_per_epoch_goes_on_in_the_same_pass(recorder, model):
    batches = make_dataset(
        TEXTS, LABELS, batch_size=2, shuffle=True, seed=1, preprocess=recorder, is_text=True
    )
    model.fit(batches, epochs=5, steps_per_epoch=1, shuffle=False, verbose=0)
    assert sorted(flat(recorder.seen[-5:])) == TEXTS


def test_steps_per_epoch_of_an_iterator_without_end(recorder, model):
    def endless():
        while True:
            yield from ROWS

    batches = make_dataset(endless(), batch_size=5, preprocess=recorder, is_text=True)
    model.fit(batches, epochs=2, steps_per_epoch=2, verbose=0)
    assert flat(recorder.seen[-4:]) == TEXTS * 2


def test_steps_per_epoch_of_a_py_dataset_without_end(recorder, model):
    batches = make_dataset(Endless(), preprocess=recorder, is_text=True, shuffle=True)
    assert batches.num_batches is None
    model.fit(batches, epochs=2, steps_per_epoch=3, shuffle=False, verbose=0)
    assert flat(recorder.seen[-6:-3]) == TEXTS


def test_a_py_dataset_without_end_has_no_length():
    batches = make_dataset(Endless(), preprocess=None, is_text=True)
    with pytest.raises(TypeError, match="no end: give steps_per_epoch"):
        len(batches)


def test_a_py_dataset_hears_of_epochs(model, count_characters):
    dataset = Batched()
    batches = make_dataset(dataset, preprocess=count_characters, is_text=True)
    model.fit(batches, epochs=2, verbose=0)
    assert dataset.num_begun >= 2
    assert dataset.num_ended >= 2


def order(shuffle, seed=None, epochs=2, x=TEXTS, **arguments):
    """Returns the texts of each epoch."""
    batches = make_dataset(
        x, batch_size=3, shuffle=shuffle, seed=seed, preprocess=None, is_text=True, **arguments
    )
    return [flat(batch[0] for batch in batches) for _ in range(epochs)]


def test_the_order_stays_without_shuffling():
    assert order(False) == [TEXTS, TEXTS]


def test_shuffled_epochs_differ_and_a_seed_repeats_them():
    first, second = order(True, seed=7)
    assert first != second
    assert sorted(first) == sorted(second) == TEXTS
    assert order(True, seed=7) == [first, second]
    assert order(True, seed=8) != [first, second]


def test_without_a_seed_keras_random_seed_decides():
    keras.utils.set_random_seed(5)
    first = order(True)
    assert order(True) != first
    keras.utils.set_random_seed(5)
    assert order(True) == first


def test_the_order_does_not_depend_on_whether_the_model_is_built(model, count_characters):
    orders = []
    for _ in range(2):
        recorder = Recorder(count_characters)
        batches = make_dataset(
            TEXTS, LABELS, shuffle=True, seed=1, preprocess=recorder, is_text=True
        )
        model.fit(batches, epochs=2, shuffle=False, verbose=0)
        orders.append(flat(recorder.seen[-2:]))
    assert orders[0] == orders[1]


def test_a_py_dataset_is_shuffled_by_batches():
    batches = make_dataset(Batched(), shuffle=True, seed=2, preprocess=None, is_text=True)
    epochs = [[batch[0] for batch in batches] for _ in range(4)]
    expected = [TEXTS[0:4], TEXTS[4:8], TEXTS[8:]]
    assert all(sorted(epoch) == sorted(expected) for epoch in epochs)
    assert len({str(epoch) for epoch in epochs}) > 1


def test_labels_and_weights_keep_to_their_examples():
    weights = np.arange(10) / 10
    batches = make_dataset(
        TEXTS, LABELS, weights, batch_size=4, shuffle=True, preprocess=None, is_text=True
    )
    for texts, labels, batch_weights in batches:
        assert labels.tolist() == [len(text) % 2 for text in texts]
        assert batch_weights.tolist() == [len(text) / 10 for text in texts]


def test_the_last_batch_is_short():
    batches = make_dataset(TEXTS, batch_size=4, preprocess=None, is_text=True)
    assert len(batches) == batches.num_batches == 3
    assert [len(batch[0]) for batch in batches] == [4, 4, 2]


def test_thirty_two_examples_are_a_batch():
    batches = make_dataset(["a"] * 33, preprocess=None, is_text=True)
    assert [len(batch[0]) for batch in batches] == [32, 1]


def test_there_is_no_batch_beyond_the_last():
    batches = make_dataset(TEXTS, preprocess=None, is_text=True)
    with pytest.raises(IndexError, match="There is no batch 1 among 1"):
        batches[1]


@pytest.mark.parametrize("shuffle", [False, True])
def test_preprocessed_arrays_are_sliced(shuffle):
    x = {"token_ids": [[i, i + 1] for i in range(5)], "padding_mask": np.ones((5, 2), "int32")}
    batches = make_dataset(
        x, [[3, 5]] * 5, batch_size=2, shuffle=shuffle, preprocess=None, is_text=False
    )
    parts = list(batches)
    assert [part[0]["token_ids"].shape for part in parts] == [(2, 2), (2, 2), (1, 2)]
    assert parts[0][1].tolist() == [[3, 5], [3, 5]]
    ids = sorted(row[0] for part in parts for row in part[0]["token_ids"].tolist())
    assert ids == list(range(5))


@pytest.mark.parametrize(
    ("result", "batch"),
    [
        ({"a": 1}, ({"a": 1},)),
        (({"a": 1},), ({"a": 1},)),
        (({"a": 1}, None, None), ({"a": 1},)),
        (({"a": 1}, 2, None), ({"a": 1}, 2)),
        (({"a": 1}, 2), ({"a": 1}, 2)),
        (({"a": 1}, 2, 3), ({"a": 1}, 2, 3)),
    ],
)
def test_what_a_preprocessor_returns_becomes_a_batch(result, batch):
    batches = make_dataset(["a"], preprocess=lambda x, y, weight: result, is_text=True)
    assert batches[0] == batch


@pytest.mark.parametrize(
    ("y", "weights"),
    [([1, 0, 1], [3, 1, 3]), ([[0, 1], [1, 0], [0, 1]], [3, 1, 3]), ([[1], [0], [2]], [3, 1, 1])],
)
@pytest.mark.parametrize("is_stream", [True, False])
def test_class_weights_become_sample_weights(y, weights, is_stream):
    x = iter(zip("abc", y, strict=True)) if is_stream else list("abc")
    batches = make_dataset(
        x, None if is_stream else y, preprocess=None, is_text=True, class_weight={1: 3.0}
    )
    (batch,) = batches
    assert batch[2].tolist() == weights


def test_class_weights_act_as_keras_own(model, count_characters):
    class_weight = {0: 1.0, 1: 5.0}
    weights = model.get_weights()
    losses = []
    for ours, theirs in ((class_weight, None), (None, class_weight)):
        model.set_weights(weights)
        batches = make_dataset(
            TEXTS, LABELS, preprocess=count_characters, is_text=True, class_weight=ours
        )
        history = model.fit(batches, class_weight=theirs, shuffle=False, verbose=0)
        losses.append(history.history["loss"])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-6)


def test_class_weights_beside_sample_weights_are_refused():
    batches = make_dataset(["a"], [1], [0.5], preprocess=None, is_text=True, class_weight={1: 2.0})
    with pytest.raises(InputError, match="Both sample_weight and class_weight were given"):
        batches[0]


def test_class_weights_need_labels():
    batches = make_dataset(["a"], preprocess=None, is_text=True, class_weight={1: 2.0})
    with pytest.raises(InputError, match="class_weight was given, but there are no labels"):
        batches[0]


def string_rows():
    return [(text, "odd" if label else "even") for text, label in ROWS]


@pytest.mark.parametrize(
    "x", [Again(string_rows()), SizedAgain(string_rows()), Batched(string_rows())]
)
def test_distinct_labels_of_streams_are_collected(x):
    batches = make_dataset(x, preprocess=None, is_text=True)
    assert batches.distinct_labels() == ["even", "odd"]
    assert batches.has_labels
    assert flat(batch[0] for batch in batches) == TEXTS


@pytest.mark.parametrize(
    ("y", "distinct"),
    [
        (["b", "a", "b"], ["a", "b"]),
        ([1, 0, 1], None),
        (None, None),
        ([["O"], ["B"], []], ["B", "O"]),
    ],
)
def test_distinct_labels_of_collections_are_collected(y, distinct):
    batches = make_dataset(["x", "y", "z"], y, preprocess=None, is_text=True)
    assert batches.distinct_labels() == distinct
    assert batches.has_labels == (y is not None)


@pytest.mark.parametrize("x", [Again(ROWS), iter(ROWS), Batched(), Endless(), Again(TEXTS)])
def test_labels_that_are_no_strings_have_no_names(x):
    batches = make_dataset(x, preprocess=None, is_text=True)
    assert batches.distinct_labels() is None


def test_string_labels_of_an_iterator_cannot_be_collected():
    batches = make_dataset(iter(string_rows()), preprocess=None, is_text=True)
    with pytest.raises(InputError, match=r"can be read only once.*label_names=\[...\]"):
        batches.distinct_labels()
    assert flat(batch[0] for batch in batches) == TEXTS


def test_string_labels_of_a_py_dataset_without_end_cannot_be_collected():
    batches = make_dataset(Endless(string_rows()), preprocess=None, is_text=True)
    with pytest.raises(InputError, match="the PyDataset has no end"):
        batches.distinct_labels()


@pytest.mark.parametrize(
    ("x", "num_examples", "num_batches"),
    [
        (TEXTS, 10, 3),
        (Again(ROWS), None, None),
        (SizedAgain(ROWS), 10, 3),
        (iter(ROWS), None, None),
    ],
)
def test_numbers_are_known_where_they_can_be(x, num_examples, num_batches):
    batches = make_dataset(x, batch_size=4, preprocess=None, is_text=True)
    assert batches.num_examples == num_examples
    assert batches.num_batches == num_batches


def test_an_iterator_allows_one_epoch():
    with pytest.raises(InputError, match=r"iterator \(generator\).* only once, but epochs=2"):
        make_dataset((row for row in ROWS), preprocess=None, is_text=True, epochs=2)


def test_an_iterator_at_its_end_says_so():
    batches = make_dataset(iter(ROWS), preprocess=None, is_text=True)
    batches.on_epoch_end()
    assert len(list(batches)) == 1
    with pytest.raises(InputError, match="read to its end"):
        list(batches)


@pytest.mark.parametrize("x", [[], (), ([], []), np.array([], dtype=str)])
def test_no_examples_are_refused(x):
    with pytest.raises(NoExamplesError, match="x holds no examples"):
        make_dataset(x, preprocess=None, is_text=True)


@pytest.mark.parametrize("x", [iter([]), Again([])])
def test_a_stream_without_elements_is_refused(x):
    with pytest.raises(NoExamplesError, match="ends before its first element"):
        make_dataset(x, preprocess=None, is_text=True)


def test_a_py_dataset_without_batches_is_refused():
    with pytest.raises(NoExamplesError, match="PyDataset without a single batch"):
        make_dataset(Batched([]), preprocess=None, is_text=True)


@pytest.mark.parametrize("x", [iter(TEXTS), Batched()])
@pytest.mark.parametrize("name", ["y", "sample_weight"])
def test_labels_apart_from_a_stream_are_refused(x, name):
    with pytest.raises(InputError, match=f"x is a stream .*, and {name} was given apart from it"):
        make_dataset(x, **{name: LABELS}, preprocess=None, is_text=True)


@pytest.mark.parametrize("x", [iter([TEXTS]), Batched()])
def test_a_batch_size_for_batches_is_refused(x):
    with pytest.raises(InputError, match=r"batch_size=2 was given, but x .* comes in batches"):
        make_dataset(x, batch_size=2, preprocess=None, is_text=True)


@pytest.mark.parametrize("batch_size", [0, -1, 2.5])
def test_a_batch_has_an_example_at_least(batch_size):
    with pytest.raises(ConfigError, match=f"batch_size={batch_size}, but"):
        make_dataset(TEXTS, batch_size=batch_size, preprocess=None, is_text=True)


def test_different_lengths_are_refused_with_both_numbers():
    with pytest.raises(InputError, match="x holds 10 examples, but y has 9 entries"):
        make_dataset(TEXTS, LABELS[1:], preprocess=None, is_text=True)
    with pytest.raises(InputError, match="x holds 10 examples, but sample_weight has 1 entries"):
        make_dataset(TEXTS, LABELS, [1], preprocess=None, is_text=True)


def test_a_py_dataset_that_is_wrong_is_told_where():
    class Wrong(Batched):
        def __getitem__(self, i):
            return ["a", None], [0, 1]

    with pytest.raises(InputError, match=r"In batch 0 of the PyDataset: x\[1\] is None"):
        make_dataset(Wrong(), preprocess=None, is_text=True)


@pytest.mark.parametrize("batch", [["a", "b"], (["a", "b"],), {"text": ["a", "b"]}])
def test_a_py_dataset_may_give_texts_alone(batch):
    class Unlabelled(Batched):
        def __getitem__(self, i):
            return batch

    batches = make_dataset(Unlabelled(), preprocess=None, is_text=True)
    assert batches[0] == (["a", "b"],)
    assert not batches.has_labels


def test_a_py_dataset_may_give_lists_for_tuples():
    class Listed(Batched):
        def __getitem__(self, i):
            return list(super().__getitem__(i))

    batches = make_dataset(Listed(), preprocess=None, is_text=True)
    assert batches[0][1].tolist() == [0, 1, 0, 1]


def test_the_end_of_a_stream_is_only_quiet_where_it_is_expected():
    unknown = make_dataset(Again(ROWS), preprocess=None, is_text=True)
    known = make_dataset(TEXTS, preprocess=None, is_text=True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with quiet_end_of_stream(unknown, None):
            warnings.warn("Your input ran out of data; interrupting training.", stacklevel=1)
        assert not caught
        with quiet_end_of_stream(known):
            warnings.warn("Your input ran out of data; interrupting training.", stacklevel=1)
        assert len(caught) == 1
