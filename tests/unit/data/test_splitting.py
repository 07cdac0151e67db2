"""The last part of the examples for validation."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from keras.src.trainers.data_adapters.array_slicing import train_validation_split

from clozework.data import make_dataset, split_validation
from clozework.errors import ConfigError, InputError

TEXTS = ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize(
    "x", [TEXTS, tuple(TEXTS), np.array(TEXTS), pd.Series(TEXTS), pl.Series(TEXTS), pa.array(TEXTS)]
)
def test_the_last_examples_are_for_validation(x):
    training, validation = split_validation(
        x, pd.Series(range(5)), [1.0] * 5, validation_split=0.4, is_text=True
    )
    assert training[0] == ["a", "b", "c"]
    assert validation[0] == ["d", "e"]
    assert training[1].tolist() == [0, 1, 2]
    assert validation[1].tolist() == [3, 4]
    assert len(training[2]) == 3


@pytest.mark.parametrize("x", [(TEXTS, TEXTS), list(zip(TEXTS, TEXTS, strict=True))])
def test_parts_of_pairs_can_be_made_into_batches(x):
    training, validation = split_validation(x, validation_split=0.2, is_text=True)
    (batch,) = make_dataset(*validation, preprocess=None, is_text=True)
    assert batch == ([("e", "e")],)
    assert len(training[0][0]) == 4


def test_arrays_and_string_labels_are_split():
    x = {"token_ids": np.arange(8).reshape(4, 2)}
    _, (x, y, _) = split_validation(x, np.arange(4), validation_split=0.25, is_text=False)
    assert x["token_ids"].tolist() == [[6, 7]]
    assert y.tolist() == [3]
    _, (_, y, _) = split_validation(TEXTS, TEXTS, validation_split=0.2, is_text=True)
    assert y.tolist() == ["e"]


@pytest.mark.parametrize("validation_split", [0.1, 1 / 3, 0.5, 0.77])
def test_the_parts_are_as_large_as_those_of_keras(validation_split):
    (x, *_), _ = train_validation_split((np.zeros((13, 1)), None, None), validation_split)
    training, _ = split_validation(["a"] * 13, validation_split=validation_split, is_text=True)
    assert len(training[0]) == len(x)


@pytest.mark.parametrize("x", [iter(TEXTS), (text for text in TEXTS)])
def test_a_stream_cannot_be_split(x):
    with pytest.raises(InputError, match=r"validation_split=0.5 was given, but x is a stream"):
        split_validation(x, validation_split=0.5, is_text=True)


@pytest.mark.parametrize("validation_split", [0, 1, -0.1, 1.5])
def test_a_part_lies_between_none_and_all(validation_split):
    with pytest.raises(ConfigError, match=f"validation_split={validation_split}, but"):
        split_validation(TEXTS, validation_split=validation_split, is_text=True)


@pytest.mark.parametrize(("x", "validation_split"), [(["a"], 0.5), (TEXTS, 0.9), ([], 0.5)])
def test_both_parts_need_an_example(x, validation_split):
    with pytest.raises(InputError, match="Both need one at least"):
        split_validation(x, validation_split=validation_split, is_text=True)
