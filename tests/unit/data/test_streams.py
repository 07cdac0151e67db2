"""Streams: every kind that is read, as examples or as batches."""

import datasets
import grain
import numpy as np
import pytest
import torch

from clozework.data import make_dataset
from clozework.errors import InputError

TEXTS = ["one", "zwei", "três"]
LABELS = [0, 1, 0]
ROWS = list(zip(TEXTS, LABELS, strict=True))
PAIR_ROWS = [(("one", "1"), 0), (("zwei", "2"), 1), (("três", "3"), 0)]
PAIRS = [pair for pair, _ in PAIR_ROWS]
TABLE = datasets.Dataset.from_dict({"text": TEXTS, "label": LABELS})


class Indexed(torch.utils.data.Dataset):
    """A map-style dataset."""

    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        return self.rows[i]


class Iterated(torch.utils.data.IterableDataset):
    """An iterable-style dataset, without a length."""

    def __init__(self, rows):
        self.rows = rows

    def __iter__(self):
        return iter(self.rows)


class Again:
    """Something that can be read again and again."""

    def __init__(self, rows):
        self.rows = rows

    def __iter__(self):
        return iter(self.rows)


def examples(batches):
    """Returns the texts and labels of all batches in one list each."""
    texts = [text for batch in batches for text in batch[0]]
    labels = [label for batch in batches if len(batch) > 1 for label in batch[1].tolist()]
    return texts, labels


LOADER = torch.utils.data.DataLoader
SINGLE_EXAMPLES = {
    "generator": lambda rows: (row for row in rows),
    "iterator": iter,
    "iterable": Again,
    "torch map-style": Indexed,
    "torch iterable-style": Iterated,
    "torch loader without batches": lambda rows: LOADER(Indexed(rows), batch_size=None),
    "grain map": grain.MapDataset.source,
    "grain iterator": lambda rows: grain.MapDataset.source(rows).to_iter_dataset(),
}
IN_BATCHES = {
    "torch loader": lambda rows: LOADER(Indexed(rows), batch_size=2),
    "torch loader of a list": lambda rows: LOADER(rows, batch_size=2),
    "torch iterable loader": lambda rows: LOADER(Iterated(rows), batch_size=2),
    "grain map": lambda rows: grain.MapDataset.source(rows).batch(2),
    "grain iterator": lambda rows: grain.MapDataset.source(rows).to_iter_dataset().batch(2),
}


@pytest.mark.parametrize("open_rows", SINGLE_EXAMPLES.values(), ids=SINGLE_EXAMPLES)
def test_single_examples_are_put_into_batches(open_rows, read):
    batches = read(open_rows(ROWS), batch_size=2)
    assert [len(batch[0]) for batch in batches] == [2, 1]
    assert examples(batches) == (TEXTS, LABELS)


@pytest.mark.parametrize("open_rows", SINGLE_EXAMPLES.values(), ids=SINGLE_EXAMPLES)
def test_single_texts_need_no_labels(open_rows, read):
    assert read(open_rows(TEXTS)) == [(TEXTS,)]


@pytest.mark.parametrize("open_rows", IN_BATCHES.values(), ids=IN_BATCHES)
def test_batches_stay_as_they_are(open_rows, read):
    batches = read(open_rows(ROWS))
    assert [len(batch[0]) for batch in batches] == [2, 1]
    assert examples(batches) == (TEXTS, LABELS)


@pytest.mark.parametrize("open_rows", IN_BATCHES.values(), ids=IN_BATCHES)
def test_batches_need_no_labels(open_rows, read):
    assert examples(read(open_rows(TEXTS))) == (TEXTS, [])


@pytest.mark.parametrize(
    "open_rows",
    [*SINGLE_EXAMPLES.values(), *IN_BATCHES.values()],
    ids=[*SINGLE_EXAMPLES, *(f"{name} of batches" for name in IN_BATCHES)],
)
def test_pairs_of_texts_are_read(open_rows, read):
    assert examples(read(open_rows(PAIR_ROWS))) == (PAIRS, LABELS)


@pytest.mark.parametrize("open_rows", IN_BATCHES.values(), ids=IN_BATCHES)
def test_string_labels_in_batches_are_read(open_rows, read):
    rows = [(text, str(label)) for text, label in ROWS]
    assert examples(read(open_rows(rows))) == (TEXTS, ["0", "1", "0"])


def test_sample_weights_are_read(read):
    (batch,) = read((text, label, 0.5) for text, label in ROWS)
    assert batch[2].tolist() == [0.5] * 3


def test_vectors_are_labels_of_single_examples(read):
    (batch,) = read((text, [0, label]) for text, label in ROWS)
    assert batch[1].tolist() == [[0, 0], [0, 1], [0, 0]]


@pytest.mark.parametrize("collate", [list, lambda rows: ([row[0] for row in rows],)])
def test_a_collation_of_ones_own_is_taken_at_its_word(collate, read):
    loader = LOADER(Indexed([(pair,) for pair in TEXTS]), batch_size=3, collate_fn=collate)
    texts = [text if isinstance(text, str) else text[0] for text in next(iter(read(loader)))[0]]
    assert texts == TEXTS


@pytest.mark.parametrize(
    "batch",
    [
        (TEXTS, LABELS),
        (tuple(TEXTS[:0]) or np.array(TEXTS), np.array(LABELS)),
        (np.array([text.encode() for text in TEXTS], dtype=object), LABELS),
        {"text": TEXTS, "label": LABELS},
        {"text": np.array(TEXTS), "labels": LABELS},
    ],
)
def test_batches_of_a_generator_are_read(batch, read):
    assert examples(read(iter([batch, batch]))) == (TEXTS * 2, LABELS * 2)


@pytest.mark.parametrize(
    "batch", [(PAIRS, LABELS), (tuple(map(list, zip(*PAIRS, strict=True))), LABELS)]
)
def test_batches_of_pairs_are_rows_in_a_list_or_columns_in_a_tuple(batch, read):
    assert examples(read(iter([batch]))) == (PAIRS, LABELS)


def test_a_list_of_pairs_is_a_batch_without_labels(read):
    assert read(iter([PAIRS])) == [(PAIRS,)]


def test_a_tuple_of_two_texts_is_a_text_and_its_label(read):
    (batch,) = read(iter([("one", "pos"), ("two", "neg")]))
    assert batch[0] == ["one", "two"]
    assert batch[1].tolist() == ["pos", "neg"]


def test_a_pair_without_a_label_is_a_tuple_in_a_tuple(read):
    assert read(iter([(("one", "1"),)])) == [([("one", "1")],)]


@pytest.mark.parametrize(
    "x",
    [TABLE, TABLE.to_iterable_dataset(), TABLE.to_iterable_dataset().batch(2), LOADER(TABLE, 2)],
    ids=["table", "stream", "stream of batches", "torch loader"],
)
def test_rows_with_plain_names_are_read(x, read):
    assert examples(read(x)) == (TEXTS, LABELS)


def test_a_column_of_a_stream_is_read(read):
    assert examples(read(TABLE.to_iterable_dataset()["text"])) == (TEXTS, [])


@pytest.mark.parametrize(
    "x",
    [
        TABLE.rename_column("text", "sentence"),
        TABLE.add_column("idx", [1, 2, 3]),
        TABLE.add_column("labels", [1, 2, 3]),
        TABLE.rename_column("text", "sentence").to_iterable_dataset(),
    ],
)
def test_rows_with_other_names_are_refused(x, read):
    with pytest.raises(InputError, match=r"The rows have the columns .*Hand in the columns, x="):
        read(x)


def test_a_dictionary_of_splits_is_refused(read):
    with pytest.raises(InputError, match=r"x holds several splits, 'train'\. Choose one"):
        read(datasets.DatasetDict({"train": TABLE}))


@pytest.mark.parametrize("x", [{"a", "b"}, frozenset("ab")])
def test_a_set_is_refused(x, read):
    with pytest.raises(InputError, match="x is a set, which has no order"):
        read(x)


def test_longer_tuples_are_refused(read):
    with pytest.raises(InputError, match="A tuple of 4 was yielded"):
        read(iter([("a", "b", "c", "d")]))


def test_a_batch_among_examples_is_refused(read):
    with pytest.raises(InputError, match=r"x\[1\] is a batch, .*began with single examples"):
        read(iter(["a", ["b", "c"]]))


def test_an_example_among_batches_is_refused(read):
    with pytest.raises(InputError, match=r"In batch 1 of the stream: 'c' \(str\) is one example"):
        read(iter([["a", "b"], "c"]))


def test_an_empty_batch_is_refused(read):
    with pytest.raises(InputError, match="In batch 1 of the stream: The batch is empty"):
        read(iter([["a", "b"], []]))


def test_it_is_said_where_in_a_stream_something_is_wrong(read):
    with pytest.raises(InputError, match=r"from number 2 \(here x\[0\]\) of .* x\[1\] is None"):
        read(iter(["a", "b", "c", None]), batch_size=2)
    with pytest.raises(InputError, match=r"In batch 1 of the stream: x holds 1 .* y has 2"):
        read(iter([(["a"], [0]), (["b"], [0, 1])]))


def test_a_missing_label_in_a_stream_is_refused(read):
    with pytest.raises(InputError, match=r"y\[1\] is None"):
        read(iter([("a", 1), ("b", None)]))


@pytest.mark.parametrize("x", [iter([3, 4]), Again([None])])
def test_a_stream_of_something_else_is_refused(x, read):
    with pytest.raises(InputError, match="holds no texts that can be read"):
        read(x)


@pytest.mark.parametrize("open_rows", IN_BATCHES.values(), ids=IN_BATCHES)
def test_preprocessed_batches_are_read(open_rows, read):
    rows = [({"token_ids": np.arange(3) + i}, i) for i in range(3)]
    batches = read(open_rows(rows), is_text=False)
    assert [batch[0]["token_ids"].tolist() for batch in batches] == [
        [[0, 1, 2], [1, 2, 3]],
        [[2, 3, 4]],
    ]
    assert [batch[1].tolist() for batch in batches] == [[0, 1], [2]]


def test_rows_that_are_batches_are_refused_as_examples():
    batches = datasets.Dataset.from_dict(
        {"text": [["a", "b"], ["c", "d"]], "label": [[0, 1], [1, 0]]}
    )
    with pytest.raises(InputError, match=r"lists of 2 in all of its columns .* before `batch`"):
        make_dataset(batches, preprocess=None, is_text=True)
    assert len(list(make_dataset(iter(batches), preprocess=None, is_text=True))) == 2
    pairs = datasets.Dataset.from_dict({"text": [["a", "b"], ["c", "d"]], "label": [0, 1]})
    (batch,) = make_dataset(pairs, preprocess=None, is_text=True)
    assert batch[0] == [("a", "b"), ("c", "d")]
