"""Collections of texts: every kind that is read, and what is said of those that are not."""

import datasets
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from clozework.data.texts import read_texts
from clozework.errors import InputError

TEXTS = ["one", "zwei", "três"]
PAIRS = [("one", "1"), ("zwei", "2"), ("três", "3")]
FIRSTS, SECONDS = (list(column) for column in zip(*PAIRS, strict=True))


@pytest.mark.parametrize(
    "x",
    [
        TEXTS,
        tuple(TEXTS),
        [text.encode() for text in TEXTS],
        [np.str_(text) for text in TEXTS],
        [np.array(text) for text in TEXTS],
        [[text] for text in TEXTS],
        (TEXTS,),
        np.array(TEXTS),
        np.array(TEXTS, dtype=object),
        np.array([text.encode() for text in TEXTS]),
        np.array([text.encode() for text in TEXTS], dtype=object),
        np.array(TEXTS)[:, None],
        pd.Series(TEXTS),
        pd.Series(TEXTS, dtype=object, index=[7, 5, 3]),
        pd.Series(TEXTS, dtype="category"),
        pd.Series(TEXTS).array,
        pd.Index(TEXTS),
        pd.DataFrame({"sentence": TEXTS}),
        pl.Series(TEXTS),
        pl.Series(TEXTS, dtype=pl.Categorical),
        pa.array(TEXTS),
        pa.array(TEXTS).dictionary_encode(),
        pa.chunked_array([TEXTS[:1], TEXTS[1:]]),
        datasets.Dataset.from_dict({"sentence": TEXTS})["sentence"],
        datasets.Dataset.from_dict({"sentence": TEXTS}).with_format("numpy")["sentence"],
    ],
    ids=lambda x: f"{type(x).__module__.partition('.')[0]}-{type(x).__name__}",
)
def test_single_texts_are_read(x):
    assert read_texts(x).all() == TEXTS


@pytest.mark.parametrize(
    "x",
    [
        PAIRS,
        [list(pair) for pair in PAIRS],
        [np.array(pair) for pair in PAIRS],
        (FIRSTS, SECONDS),
        (tuple(FIRSTS), np.array(SECONDS)),
        (pd.Series(FIRSTS), pl.Series(SECONDS)),
        np.array(PAIRS),
        pd.DataFrame({"first": FIRSTS, "second {}": SECONDS}),
        pl.DataFrame({"first": FIRSTS, "second": SECONDS}),
        pa.table({"first": FIRSTS, "second": SECONDS}),
        pa.record_batch({"first": FIRSTS, "second": SECONDS}),
        datasets.Dataset.from_dict({"first": FIRSTS, "second": SECONDS}),
    ],
    ids=lambda x: f"{type(x).__module__.partition('.')[0]}-{type(x).__name__}",
)
def test_pairs_are_read(x):
    assert read_texts(x).all() == PAIRS


def test_more_than_two_texts_are_an_example():
    assert read_texts((["a"], ["b"], ["c"])).all() == [("a", "b", "c")]


def test_strings_come_out_as_plain_strings():
    assert {type(text) for text in read_texts([np.str_("a"), b"b", "c"]).all()} == {str}


def test_a_part_can_be_read_again():
    texts = read_texts(PAIRS)
    assert read_texts(texts.part(1, 3)).all() == PAIRS[1:]


def test_the_empty_text_is_a_text():
    assert read_texts(["", "a"]).all() == ["", "a"]


@pytest.mark.parametrize(
    ("x", "place", "value"),
    [
        (["a", None], r"x\[1\]", "None"),
        (["a", 3], r"x\[1\]", "3"),
        (["a", float("nan")], r"x\[1\]", "nan"),
        (pd.Series(["a", None]), r"x\[1\]", "nan"),
        (pd.Series(["a", pd.NA], dtype="string"), r"x\[1\]", "<NA>"),
        (pd.Series(["a", None], dtype=object), r"x\[1\]", "None"),
        (pl.Series(["a", None]), r"x\[1\]", "None"),
        (pa.array(["a", None]), r"x\[1\]", "None"),
        (np.array(["a", None], dtype=object), r"x\[1\]", "None"),
        (np.array([1, 2]), r"x\[0\]", "1"),
        ([("a", "b"), ("c", None)], r"x\[1\]\[1\]", "None"),
        ((["a", "b"], ["c", None]), r"x\[1\]\[1\]", "None"),
        (np.array([["a", "b"], ["c", None]], dtype=object), r"x\[1, 1\]", "None"),
        (pd.DataFrame({"a": ["b", "c"], "d{}": ["e", None]}), r"x\['d\{\}'\]\[1\]", "nan"),
        ([("a", 1), ("b", 0)], r"x\[0\]\[1\]", "1"),
    ],
)
def test_what_is_no_string_is_named(x, place, value):
    with pytest.raises(InputError, match=rf"{place} is {value} .*each text must be a string"):
        read_texts(x)


def test_it_is_said_how_many_are_no_strings():
    with pytest.raises(InputError, match=r"x\[1\] is None \(NoneType\) \(and 2 more of 5\)"):
        read_texts(["a", None, 1, "b", 2.0])


def test_bytes_that_are_not_utf8_are_named():
    with pytest.raises(InputError, match=r"x\[1\] is b'\\xff' \(bytes\), which is not UTF-8"):
        read_texts([b"a", b"\xff"])


@pytest.mark.parametrize("x", ["text", b"text", np.array("text"), np.str_("text")])
def test_a_lone_text_is_refused_with_advice(x):
    with pytest.raises(InputError, match=r"x is one text.*Wrap it in a list"):
        read_texts(x)


@pytest.mark.parametrize("x", [None, 5, {"text": ["a"]}, object()])
def test_what_holds_no_texts_is_refused(x):
    with pytest.raises(InputError, match="holds no texts that can be read"):
        read_texts(x)


def test_a_tuple_must_hold_columns():
    with pytest.raises(InputError, match=r"x\[1\] is 'b' \(str\). A tuple holds columns"):
        read_texts((["a"], "b"))


def test_columns_must_be_equally_long():
    with pytest.raises(InputError, match="tuple of 2 columns with 2 and 1 texts"):
        read_texts((["a", "b"], ["c"]))


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame, pa.table])
def test_a_table_with_labels_is_refused(frame):
    with pytest.raises(InputError, match=r"columns 'text', 'label'.*Hand in the columns"):
        read_texts(frame({"text": ["a"], "label": ["b"]}))


def test_a_table_without_columns_is_refused():
    with pytest.raises(InputError, match=r"columns \(none\)"):
        read_texts(pd.DataFrame())


@pytest.mark.parametrize("shape", [(2, 2, 2), (2, 0)])
def test_arrays_of_other_shapes_are_refused(shape):
    with pytest.raises(InputError, match=r"NumPy array of shape .*Expected one axis"):
        read_texts(np.full(shape, "a"))


@pytest.mark.parametrize(
    ("x", "row"),
    [
        ([("a", "b"), ("c", "d", "e")], 1),
        ([("a", "b"), "c"], 1),
        (["a", ("b", "c")], 0),
        ([("a", "b"), None], 1),
        ([(), ()], 0),
    ],
)
def test_rows_that_differ_are_named(x, row):
    with pytest.raises(InputError, match=rf"x\[{row}\] is .*the same number of strings"):
        read_texts(x)


def test_a_text_among_pairs_is_named():
    with pytest.raises(InputError, match=r"x\[2\] is \('b', 'c'\) \(tuple\), while x\[0\] is ''"):
        read_texts(["", "a", ("b", "c")])
