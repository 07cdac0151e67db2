"""Preprocessed inputs, labels and weights."""

import jax.numpy as jnp
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch

from clozework.data.arrays import read_arrays, read_labels, read_weights
from clozework.errors import InputError

IDS = [[3, 5, 7], [2, 4, 6]]


@pytest.mark.parametrize(
    "values",
    [
        IDS,
        tuple(map(tuple, IDS)),
        np.array(IDS),
        np.array(IDS, dtype=object),
        jnp.array(IDS),
        torch.tensor(IDS),
        pd.DataFrame(IDS),
        pl.DataFrame(np.array(IDS)),
    ],
    ids=lambda values: type(values).__module__.partition(".")[0],
)
def test_arrays_of_every_kind_are_read(values):
    array = read_arrays({"token_ids": values}).all()["token_ids"]
    assert isinstance(array, np.ndarray)
    assert array.dtype.kind == "i"
    assert array.tolist() == IDS


def test_structures_stay_as_they_are():
    x = read_arrays(({"a": np.zeros(2)}, [np.ones(2), np.ones((2, 3))]))
    structure = x.take([0])
    assert isinstance(structure, tuple)
    assert structure[0]["a"].shape == (1,)
    assert structure[1][1].shape == (1, 3)
    assert len(x) == 2


def test_arrays_of_different_lengths_are_refused():
    with pytest.raises(InputError, match="different lengths, 2 and 3"):
        read_arrays({"a": np.zeros(2), "b": np.zeros(3)})


def test_a_structure_without_arrays_is_refused():
    with pytest.raises(InputError, match="there are no arrays in it"):
        read_arrays({})


def test_ragged_rows_are_refused():
    with pytest.raises(InputError, match=r"x\['a'\] is no array: its rows differ in length"):
        read_arrays({"a": [[1, 2], [3]]})


def test_texts_without_a_preprocessor_are_refused():
    with pytest.raises(InputError, match=r"x\[0\] is 'a' \(str\).*Texts need a preprocessor"):
        read_arrays(["a", "b"])


def test_missing_numbers_are_named():
    with pytest.raises(InputError, match=r"x\['a'\]\[1, 0\] is None .*numbers were expected"):
        read_arrays({"a": [[1, 2], [None, 4]]})


@pytest.mark.parametrize("y", [1, "label", np.array(3), torch.tensor(3), (i for i in range(3))])
def test_a_single_label_is_refused(y):
    with pytest.raises(InputError, match=r"a single value\. Expected one for each example"):
        read_labels(y, is_text=True)


@pytest.mark.parametrize(
    "y",
    [
        [0, 2, 1],
        (0, 2, 1),
        np.array([0, 2, 1]),
        jnp.array([0, 2, 1]),
        torch.tensor([0, 2, 1]),
        pd.Series([0, 2, 1]),
        pd.Series([0, 2, 1], dtype="Int64"),
        pl.Series([0, 2, 1]),
        pa.array([0, 2, 1]),
        [torch.tensor(0), torch.tensor(2), torch.tensor(1)],
        [np.int64(0), np.int64(2), np.array(1)],
    ],
    ids=lambda y: type(y).__module__.partition(".")[0],
)
def test_integer_labels_are_read(y):
    labels = read_labels(y, is_text=True)
    assert labels.all().dtype.kind == "i"
    assert labels.all().tolist() == [0, 2, 1]
    assert labels.strings() is None


@pytest.mark.parametrize(
    "y",
    [[[1, 0], [0, 1]], np.eye(2), [np.array([1, 0]), np.array([0, 1])], pd.DataFrame(np.eye(2))],
)
def test_vectors_are_labels(y):
    assert read_labels(y, is_text=True).all().tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize(
    "y",
    [
        ["pos", "neg"],
        np.array(["pos", "neg"]),
        np.array([b"pos", b"neg"]),
        pd.Series(["pos", "neg"]),
        pd.Series(["pos", "neg"], dtype="category"),
        pl.Series(["pos", "neg"], dtype=pl.Categorical),
        pa.array(["pos", "neg"]).dictionary_encode(),
    ],
    ids=lambda y: type(y).__module__.partition(".")[0],
)
def test_string_labels_become_an_array_of_objects(y):
    labels = read_labels(y, is_text=True)
    assert labels.all().dtype == object
    assert labels.all().tolist() == labels.strings() == ["pos", "neg"]


@pytest.mark.parametrize("rows", [[["B", "O"], ["O"]], [["B", "O"], ["O", "O"]], [[1, 2], [3]]])
def test_ragged_or_string_rows_of_labels_stay_lists(rows):
    labels = read_labels(rows, is_text=True).all()
    assert labels.shape == (2,)
    assert labels.tolist() == rows


def test_rows_of_string_labels_give_all_their_strings():
    assert read_labels([["B", "O"], ["O"]], is_text=True).strings() == ["B", "O", "O"]


def test_spans_stay_lists_and_give_their_names():
    spans = [[(0, 3, "LOC")], [(1, 2, "PER")]]
    assert read_labels(spans, is_text=True).all().tolist() == spans
    assert read_labels([*spans, []], is_text=True).strings() == ["LOC", "PER"]
    assert read_labels([[], []], is_text=True).strings() == []
    assert read_labels([[(0, 3)], [(1, 2)]], is_text=True).all().shape == (2, 1, 2)


@pytest.mark.parametrize(
    "y", [["pos", None], ["pos", 1], pd.Series(["pos", None]), pl.Series(["pos", None])]
)
def test_a_label_that_is_no_string_is_named(y):
    with pytest.raises(InputError, match=r"y\[1\] is .*each label must be a string"):
        read_labels(y, is_text=True)


@pytest.mark.parametrize(
    "y", [[0, None], pd.Series([0, None], dtype="Int64"), pl.Series([0, None]), pa.array([0, None])]
)
def test_a_missing_label_is_named(y):
    with pytest.raises(InputError, match=r"y\[1\] is .*numbers were expected"):
        read_labels(y, is_text=True)


@pytest.mark.parametrize("y", [[0, float("nan")], pd.Series([0, None]), np.array([0, np.nan])])
def test_nan_is_a_missing_label(y):
    with pytest.raises(InputError, match=r"y\[1\] is nan: a label is missing"):
        read_labels(y, is_text=True)


def test_labels_of_preprocessed_inputs_keep_their_structure():
    labels = read_labels({"a": [1, 2], "b": [[3, 5]] * 2}, is_text=False)
    assert labels.all()["b"].tolist() == [[3, 5], [3, 5]]


def test_string_labels_of_preprocessed_inputs_are_refused():
    with pytest.raises(InputError, match=r"y\[0\] is 'pos' \(str\)"):
        read_labels(["pos", "neg"], is_text=False)


@pytest.mark.parametrize("is_text", [True, False])
def test_weights_are_numbers(is_text):
    assert read_weights([1, 0.5], is_text=is_text).all().tolist() == [1, 0.5]
    with pytest.raises(InputError, match=r"sample_weight\[1\] is 'b'"):
        read_weights([1, "b"], is_text=is_text)


@pytest.mark.parametrize("is_text", [True, False])
@pytest.mark.parametrize("weight", [np.nan, np.inf])
def test_weights_that_would_spoil_the_model_are_refused(is_text, weight):
    with pytest.raises(
        InputError, match=rf"sample_weight\[1\] is {weight}: a model learns nothing"
    ):
        read_weights([1.0, weight], is_text=is_text)
    with pytest.raises(InputError, match=rf"sample_weight\[0, 1\] is {weight}"):
        read_weights(np.array([[1.0, weight]], "float16"), is_text=is_text)
