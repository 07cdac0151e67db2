"""Raw text in every form, into `fit`, `evaluate` and `predict` of tasks."""

import os
import subprocess
import sys

import datasets
import grain
import keras
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch

from clozework import models
from clozework.errors import InputError, NoExamplesError
from tests.unit.data.test_tensorflow import DatasetV2, strings
from tests.unit.tasks.tiny_models import (
    LENGTH,
    tiny_backbone,
    tiny_classifier,
    tiny_masked_lm,
    tiny_tokenizer,
)

TEXTS = ["a b", "b c a", "heaven", "earth a", "cd"]
LABELS = [0, 1, 0, 1, 1]
ROWS = list(zip(TEXTS, LABELS, strict=True))
FIRSTS, SECONDS = TEXTS, ["heaven a", "b", "earth", "c", "a b c d"]
PAIRS = list(zip(FIRSTS, SECONDS, strict=True))
PAIR_ROWS = list(zip(PAIRS, LABELS, strict=True))
TABLE = datasets.Dataset.from_dict({"text": TEXTS, "label": LABELS})
LOADER = torch.utils.data.DataLoader

COLLECTIONS = {
    "list": TEXTS,
    "tuple": tuple(TEXTS),
    "NumPy strings": np.array(TEXTS),
    "NumPy objects": np.array(TEXTS, dtype=object),
    "NumPy bytes": np.array(TEXTS, dtype="S"),
    "bytes": [text.encode() for text in TEXTS],
    "pandas": pd.Series(TEXTS),
    "pandas objects": pd.Series(TEXTS, dtype=object, index=[5, 4, 3, 2, 1]),
    "pandas index": pd.Index(TEXTS),
    "polars": pl.Series(TEXTS),
    "pyarrow": pa.array(TEXTS),
    "pyarrow chunks": pa.chunked_array([TEXTS[:2], TEXTS[2:]]),
    "datasets column": TABLE["text"],
    "one text a row": [[text] for text in TEXTS],
}
PAIR_COLLECTIONS = {
    "tuple of lists": (FIRSTS, SECONDS),
    "list of pairs": PAIRS,
    "list of lists": [list(pair) for pair in PAIRS],
    "tuple of arrays": (np.array(FIRSTS), np.array(SECONDS, dtype=object)),
    "NumPy": np.array(PAIRS),
    "pandas": pd.DataFrame({"first": FIRSTS, "second": SECONDS}),
    "polars": pl.DataFrame({"first": FIRSTS, "second": SECONDS}),
    "pyarrow": pa.table({"first": FIRSTS, "second": SECONDS}),
    "columns of pandas": (pd.Series(FIRSTS), pd.Series(SECONDS)),
}
STREAMS = {
    "generator": lambda rows: (row for row in rows),
    "iterator": iter,
    "iterable": lambda rows: Again(rows),
    "torch loader": lambda rows: LOADER(rows, batch_size=2),
    "torch iterable": lambda rows: Iterated(rows),
    "grain": grain.MapDataset.source,
    "grain batches": lambda rows: grain.MapDataset.source(rows).batch(2),
    "grain iterator": lambda rows: grain.MapDataset.source(rows).to_iter_dataset(),
    "tf.data": lambda rows: DatasetV2([as_tensors(*row) for row in rows]),
    "tf.data batches": lambda rows: DatasetV2([as_batch(rows[i : i + 2]) for i in (0, 2, 4)]),
    "PyDataset": lambda rows: Batched(rows),
}


class Again:
    """Something that can be read again and again."""

    def __init__(self, rows):
        self.rows = rows

    def __iter__(self):
        return iter(self.rows)


class Iterated(torch.utils.data.IterableDataset):
    """An iterable-style dataset, without a length."""

    def __init__(self, rows):
        self.rows = rows

    def __iter__(self):
        return iter(self.rows)


class Batched(keras.utils.PyDataset):
    """Batches of two."""

    def __init__(self, rows):
        super().__init__()
        self.rows = rows

    def __len__(self):
        return -(-len(self.rows) // 2)

    def __getitem__(self, index):
        return columns(self.rows[2 * index : 2 * index + 2])


def columns(rows):
    texts, labels = zip(*rows, strict=True)
    return list(texts), np.array(labels)


def as_tensors(x, label):
    return (x.encode() if isinstance(x, str) else tuple(t.encode() for t in x)), np.int64(label)


def as_batch(rows):
    texts, labels = columns(rows)
    if isinstance(texts[0], str):
        return strings(*texts), labels
    return tuple(strings(*column) for column in zip(*texts, strict=True)), labels


@pytest.fixture(scope="module")
def classifier():
    """Shared by tests that leave it as it was."""
    return tiny_classifier()


@pytest.fixture(scope="module")
def learner():
    """Learns by plain gradients, which remember nothing; shared by tests that restore it."""
    learner = tiny_classifier()
    learner.compile(keras.optimizers.SGD(0.1))
    return learner


@pytest.fixture(scope="module")
def masked_lm():
    """Shared by tests that leave it as it was."""
    masked_lm = tiny_masked_lm()
    # Keras reads the first batch of all once more, to make the metrics.
    masked_lm.evaluate(TEXTS, verbose=0)
    return masked_lm


def masked_loss(masked_lm, *data, **options):
    """Returns the loss on masks that are the same at each call."""
    masked_lm.preprocessor = models.BertMaskedLMPreprocessor(
        tiny_tokenizer(), LENGTH, mask_selection_rate=0.5, mask_selection_length=8, mask_seed=1
    )
    return masked_lm.evaluate(*data, verbose=0, **options)


def trained_loss(task, *data, **options):
    """Returns the losses of two epochs by plain gradients, whose updates are taken back."""
    before = task.get_weights()
    history = task.fit(*data, shuffle=False, verbose=0, epochs=2, **options).history
    task.set_weights(before)
    return history["loss"]


@pytest.mark.parametrize("x", COLLECTIONS.values(), ids=COLLECTIONS)
def test_a_classifier_reads_every_collection(classifier, x):
    expected = classifier.predict(TEXTS, verbose=0)
    np.testing.assert_array_equal(classifier.predict(x, verbose=0), expected)
    np.testing.assert_allclose(classifier.predict_on_batch(x), expected, atol=1e-6)
    loss = classifier.evaluate(TEXTS, LABELS, verbose=0)
    assert classifier.evaluate(x, LABELS, verbose=0) == loss
    assert classifier.test_on_batch(x, LABELS) == pytest.approx(loss, abs=1e-6)


@pytest.mark.parametrize("x", PAIR_COLLECTIONS.values(), ids=PAIR_COLLECTIONS)
def test_a_classifier_reads_pairs(classifier, x):
    expected = keras.ops.convert_to_numpy(classifier(classifier.preprocessor((FIRSTS, SECONDS))))
    np.testing.assert_allclose(classifier.predict(x, verbose=0), expected, atol=1e-6)
    np.testing.assert_allclose(classifier.predict_on_batch(x), expected, atol=1e-6)
    loss = classifier.evaluate(PAIRS, LABELS, verbose=0)
    assert classifier.evaluate(x, LABELS, verbose=0) == loss
    assert abs(expected - classifier.predict(FIRSTS, verbose=0)).max() > 1e-6


@pytest.mark.parametrize("rows", [ROWS, PAIR_ROWS], ids=["texts", "pairs"])
@pytest.mark.parametrize("open_rows", STREAMS.values(), ids=STREAMS)
def test_a_classifier_reads_every_stream(classifier, open_rows, rows):
    x, labels = columns(rows)
    expected = classifier.evaluate(x, labels, batch_size=2, verbose=0)
    size = {} if in_batches(open_rows) else {"batch_size": 2}
    assert classifier.evaluate(open_rows(rows), verbose=0, **size) == expected
    outputs = classifier.predict(x, batch_size=2, verbose=0)
    predicted = classifier.predict(open_rows(rows), verbose=0, **size)
    np.testing.assert_allclose(predicted, outputs, atol=1e-6)


@pytest.mark.parametrize(
    "data",
    [
        lambda: (TEXTS, LABELS),
        lambda: ((np.array(TEXTS)), np.array(LABELS)),
        lambda: (pd.Series(TEXTS), pd.Series(LABELS)),
        lambda: (TABLE,),
        lambda: (TABLE.to_iterable_dataset(),),
        lambda: (Again(ROWS),),
        lambda: (Batched(ROWS),),
        lambda: (LOADER(ROWS, batch_size=2),),
        lambda: (DatasetV2([as_batch(ROWS[:2]), as_batch(ROWS[2:4]), as_batch(ROWS[4:])]),),
    ],
    ids=[
        "lists",
        "NumPy",
        "pandas",
        "datasets",
        "iterable datasets",
        "iterable",
        "PyDataset",
        "torch loader",
        "tf.data",
    ],
)
def test_a_classifier_trains_on_every_kind(learner, data):
    expected = trained_loss(learner, TEXTS, LABELS, batch_size=2)
    assert expected[0] != expected[1]
    is_batched = isinstance(data()[0], Batched | LOADER | DatasetV2)
    size = {} if is_batched else {"batch_size": 2}
    assert trained_loss(learner, *data(), **size) == pytest.approx(expected, abs=1e-6)


def test_a_classifier_trains_on_a_generator_once(classifier):
    assert len(classifier.fit((row for row in ROWS), verbose=0).history["loss"]) == 1
    with pytest.raises(InputError, match=r"can be read only once, but epochs=2"):
        classifier.fit((row for row in ROWS), epochs=2, verbose=0)


def test_steps_divide_an_endless_generator_into_epochs(classifier):
    endless = (row for _ in range(99) for row in ROWS)
    history = classifier.fit(endless, batch_size=2, steps_per_epoch=2, epochs=3, verbose=0).history
    assert len(history["loss"]) == 3
    assert next(endless, None) is not None


def test_steps_end_predict_and_evaluate(classifier):
    assert classifier.predict((t for t in TEXTS), batch_size=2, steps=2, verbose=0).shape == (4, 2)
    rows = (row for row in ROWS)
    assert len(classifier.evaluate(rows, batch_size=2, steps=1, verbose=0)) == 2


@pytest.mark.parametrize("batch_size", [None, 1, 2, 3, 5, 100])
def test_predictions_come_in_order_whatever_the_batch_size(classifier, batch_size):
    expected = keras.ops.convert_to_numpy(classifier(classifier.preprocessor(TEXTS)))
    outputs = classifier.predict(TEXTS, batch_size=batch_size, verbose=0)
    np.testing.assert_allclose(outputs, expected, atol=1e-6)
    assert len(np.unique(expected.round(6), axis=0)) == len(TEXTS)


def test_rows_of_very_different_lengths_keep_their_numbers():
    classifier = tiny_classifier(
        backbone=tiny_backbone(max_sequence_length=100),
        preprocessor=models.BertTextClassifierPreprocessor(tiny_tokenizer(), sequence_length=100),
    )
    texts = ["a", "a b c " * 30, "", "heaven " * 12, "b"]
    expected = keras.ops.convert_to_numpy(classifier(classifier.preprocessor(texts)))
    for batch_size in (1, 2, 5):
        outputs = classifier.predict(texts, batch_size=batch_size, verbose=0)
        np.testing.assert_allclose(outputs, expected, atol=1e-6)


def test_preprocessed_arrays_give_the_same_without_a_preprocessor():
    classifier = tiny_classifier()
    arrays = classifier.preprocessor(TEXTS)
    outputs = classifier.predict(TEXTS, verbose=0)
    loss = classifier.evaluate(TEXTS, LABELS, verbose=0)
    classifier.preprocessor = None
    np.testing.assert_allclose(classifier.predict(arrays, verbose=0), outputs, atol=1e-6)
    np.testing.assert_allclose(classifier.predict_on_batch(arrays), outputs, atol=1e-6)
    for x in (arrays, {name: keras.ops.convert_to_tensor(v) for name, v in arrays.items()}):
        assert classifier.evaluate(x, LABELS, verbose=0) == pytest.approx(loss, abs=1e-6)
    classifier.fit(arrays, LABELS, validation_split=0.4, verbose=0)
    classifier.train_on_batch(arrays, LABELS)
    assert np.isfinite(classifier.evaluate(iter([(arrays, np.array(LABELS))]), verbose=0)).all()


@pytest.mark.parametrize("x", COLLECTIONS.values(), ids=COLLECTIONS)
def test_a_masked_lm_reads_every_collection(masked_lm, x):
    assert masked_loss(masked_lm, x) == masked_loss(masked_lm, TEXTS)


@pytest.mark.parametrize("x", PAIR_COLLECTIONS.values(), ids=PAIR_COLLECTIONS)
def test_a_masked_lm_reads_pairs(masked_lm, x):
    assert masked_loss(masked_lm, x) == masked_loss(masked_lm, PAIRS)


@pytest.mark.parametrize("open_rows", STREAMS.values(), ids=STREAMS)
def test_a_masked_lm_reads_every_stream_and_leaves_labels(masked_lm, open_rows):
    size = {} if in_batches(open_rows) else {"batch_size": 2}
    loss = masked_loss(masked_lm, open_rows(ROWS), **size)
    assert loss == masked_loss(masked_lm, TEXTS, batch_size=2)


@pytest.mark.parametrize("open_rows", STREAMS.values(), ids=STREAMS)
def test_a_masked_lm_predicts_written_masks_of_every_kind(masked_lm, open_rows):
    texts = ["a [MASK]", "[MASK] b [MASK]", "heaven [MASK] a", "[MASK]", "b [MASK]"]
    expected = masked_lm.predict(texts, verbose=0)
    assert expected.shape == (5, 2, masked_lm.backbone.vocabulary_size)
    rows = list(zip(texts, LABELS, strict=True))
    outputs = masked_lm.predict(open_rows(rows), verbose=0)
    np.testing.assert_allclose(outputs, expected, atol=1e-6)


def test_a_masked_lm_trains_on_text(masked_lm):
    history = masked_lm.fit(TEXTS, batch_size=2, epochs=2, validation_split=0.4, verbose=0).history
    assert all(np.isfinite(losses).all() for losses in history.values())
    assert list(history) == [
        "loss",
        "sparse_categorical_accuracy",
        "val_loss",
        "val_sparse_categorical_accuracy",
    ]


def test_a_masked_lm_trains_on_preprocessed_arrays():
    masked_lm = tiny_masked_lm()
    x, y, sample_weight = masked_lm.preprocessor(TEXTS)
    masked_lm.preprocessor = None
    masked_lm.fit(x, y, sample_weight=sample_weight, verbose=0)
    assert masked_lm.predict(x, verbose=0).shape == (5, 8, 11)
    assert masked_lm.predict_on_batch(x).shape == (5, 8, 11)


@pytest.mark.parametrize("x", [[], (), np.array([], dtype=str), pd.Series([], dtype=str)], ids=repr)
@pytest.mark.parametrize("method", ["fit", "evaluate", "predict"])
def test_no_examples_are_refused(classifier, masked_lm, method, x):
    for task in (classifier, masked_lm):
        with pytest.raises(NoExamplesError, match="x holds no examples"):
            getattr(task, method)(x)


@pytest.mark.parametrize("method", ["train_on_batch", "test_on_batch", "predict_on_batch"])
@pytest.mark.parametrize("open_rows", [iter, Batched, Again])
def test_one_batch_is_no_stream(classifier, masked_lm, method, open_rows):
    for task in (classifier, masked_lm):
        with pytest.raises(InputError, match=r"x is a stream \(\w+\), but one batch was expected"):
            getattr(task, method)(open_rows(ROWS))


def test_a_sample_weight_of_each_example_counts(classifier):
    loss = classifier.evaluate(TEXTS[:2], LABELS[:2], verbose=0)
    weights = [1, 1, 0, 0, 0]
    evaluated = classifier.evaluate(TEXTS, LABELS, sample_weight=weights, verbose=0)
    assert evaluated[0] * 5 == pytest.approx(loss[0] * 2, rel=1e-5)


def test_packages_of_data_are_not_needed():
    optional = ["pandas", "polars", "pyarrow", "datasets", "grain", "tensorflow", "sentencepiece"]
    optional += [name for name in ("torch", "jax") if name != keras.backend.backend()]
    code = f"""
import builtins
original = builtins.__import__
def without_optional(name, *arguments, **options):
    if name.partition(".")[0] in {optional}:
        raise ModuleNotFoundError(name)
    return original(name, *arguments, **options)
builtins.__import__ = without_optional
from tests.unit.tasks.tiny_models import tiny_classifier
print(tiny_classifier().predict(["a", "b"], verbose=0).shape)
"""
    environment = {**os.environ, "KERAS_BACKEND": keras.backend.backend(), "PYTHONPATH": "."}
    process = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert process.stdout.strip() == "(2, 2)"


def in_batches(open_rows) -> bool:
    names = ("torch loader", "grain batches", "tf.data batches", "PyDataset")
    return open_rows in [STREAMS[name] for name in names]
