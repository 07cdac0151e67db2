"""`tf.data`, by a stand-in with its protocol: TensorFlow is no dependency, not even of tests."""

import numpy as np
import pytest

from clozework.data import make_dataset


class DatasetV2:
    """What is used of `tf.data.Dataset`."""

    def __init__(self, rows, cardinality=None):
        self.rows = rows
        self.size = len(rows) if cardinality is None else cardinality

    def __iter__(self):
        raise AssertionError("Its tensors are TensorFlow's: as_numpy_iterator is to be used.")

    def as_numpy_iterator(self):
        return iter(self.rows)

    def cardinality(self):
        return np.int64(self.size)


class EagerTensor:
    """What is used of `tf.Tensor`."""

    def __init__(self, value):
        self.value = value

    def numpy(self):
        return self.value


DatasetV2.__module__ = "tensorflow.python.data.ops.dataset_ops"
EagerTensor.__module__ = "tensorflow.python.framework.ops"


def strings(*texts):
    """Returns what TensorFlow makes of a batch of strings: objects that are bytes."""
    return np.array([text.encode() for text in texts], dtype=object)


@pytest.mark.parametrize(
    ("rows", "texts"),
    [
        ([(b"one", 0), ("zw\u00f6lf".encode(), 1)], ["one", "zw\u00f6lf"]),
        ([(strings("one", "two"), np.array([0, 1]))], ["one", "two"]),
        ([((b"one", b"1"), 0), ((b"two", b"2"), 1)], [("one", "1"), ("two", "2")]),
        (
            [((strings("one", "two"), strings("1", "2")), np.array([0, 1]))],
            [("one", "1"), ("two", "2")],
        ),
    ],
    ids=["texts", "batches of texts", "pairs", "batches of pairs"],
)
def test_examples_and_batches_are_read(rows, texts):
    (batch,) = make_dataset(DatasetV2(rows), preprocess=None, is_text=True)
    assert batch[0] == texts
    assert batch[1].tolist() == [0, 1]


def test_string_labels_are_decoded():
    dataset = DatasetV2([(b"one", b"pos"), (b"two", b"neg")])
    batches = make_dataset(dataset, preprocess=None, is_text=True)
    assert batches.distinct_labels() == ["neg", "pos"]


def test_arrays_are_read():
    dataset = DatasetV2([({"token_ids": np.array([[1, 2]])}, np.array([1]))])
    (batch,) = make_dataset(dataset, preprocess=None, is_text=False)
    assert batch[0]["token_ids"].tolist() == [[1, 2]]


@pytest.mark.parametrize(
    ("cardinality", "num_batches"),
    [(3, 2), (-1, None), (-2, None)],
    ids=["3", "endless", "unknown"],
)
def test_the_number_of_batches_is_known_if_tensorflow_knows(cardinality, num_batches):
    dataset = DatasetV2([b"a", b"b", b"c"], cardinality)
    batches = make_dataset(dataset, batch_size=2, preprocess=None, is_text=True)
    assert batches.num_batches == num_batches


@pytest.mark.parametrize(
    ("x", "texts"),
    [
        (EagerTensor(strings("a", "b")), ["a", "b"]),
        (
            (EagerTensor(strings("a", "b")), EagerTensor(strings("c", "d"))),
            [("a", "c"), ("b", "d")],
        ),
        (EagerTensor(np.array([[b"a", b"b"], [b"c", b"d"]], object)), [("a", "b"), ("c", "d")]),
    ],
)
def test_tensors_of_strings_are_read(x, texts):
    (batch,) = make_dataset(x, EagerTensor(np.array([0, 1])), preprocess=None, is_text=True)
    assert batch[0] == texts
    assert batch[1].tolist() == [0, 1]


def test_a_lone_tensor_is_refused_as_a_lone_text():
    with pytest.raises(ValueError, match="x is one text, b'a'"):
        make_dataset(EagerTensor(b"a"), preprocess=None, is_text=True)
