"""What holds for every collection and every stream of texts."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from clozework.data import make_dataset, split_validation

TEXTS = st.lists(st.text(), min_size=1, max_size=40)
SIZES = st.integers(1, 12)


class Again:
    def __init__(self, rows):
        self.rows = rows

    def __iter__(self):
        return iter(self.rows)


def numbered(batches):
    """Returns `(number, text)` of all examples; their labels are their numbers."""
    return [
        (label, text)
        for texts, labels in batches
        for label, text in zip(labels.tolist(), texts, strict=True)
    ]


@given(TEXTS, SIZES)
def test_examples_come_in_order_each_epoch(texts, batch_size):
    batches = make_dataset(
        texts, range(len(texts)), batch_size=batch_size, preprocess=None, is_text=True
    )
    for _ in range(2):
        assert numbered(batches) == list(enumerate(texts))


@given(TEXTS, SIZES, st.integers(0, 2**32))
def test_shuffled_examples_come_once_each_epoch(texts, batch_size, seed):
    batches = make_dataset(
        texts,
        np.arange(len(texts)),
        batch_size=batch_size,
        shuffle=True,
        seed=seed,
        preprocess=None,
        is_text=True,
    )
    for _ in range(3):
        assert sorted(numbered(batches)) == list(enumerate(texts))


@given(TEXTS, SIZES)
def test_batches_are_full_but_for_the_last(texts, batch_size):
    batches = make_dataset(texts, batch_size=batch_size, preprocess=None, is_text=True)
    sizes = [len(batch[0]) for batch in batches]
    assert len(sizes) == len(batches)
    assert set(sizes[:-1]) <= {batch_size}
    assert 1 <= sizes[-1] <= batch_size


@given(TEXTS, SIZES)
def test_streams_give_what_collections_give(texts, batch_size):
    rows = [(text, i) for i, text in enumerate(texts)]
    arguments = {"batch_size": batch_size, "preprocess": None, "is_text": True}
    collection = list(make_dataset(texts, range(len(texts)), **arguments))
    for stream in (Again(rows), iter(rows)):
        batches = list(make_dataset(stream, **arguments))
        assert [batch[0] for batch in batches] == [batch[0] for batch in collection]
        assert numbered(batches) == numbered(collection)


@given(st.lists(st.tuples(st.text(), st.text()), min_size=1, max_size=20), SIZES)
def test_rows_and_columns_of_pairs_are_the_same(pairs, batch_size):
    arguments = {"batch_size": batch_size, "preprocess": None, "is_text": True}
    columns = tuple(list(column) for column in zip(*pairs, strict=True))
    assert list(make_dataset(pairs, **arguments)) == list(make_dataset(columns, **arguments))


@given(TEXTS, st.floats(0.01, 0.99))
def test_both_parts_of_a_split_make_the_whole(texts, validation_split):
    texts = ["first", "second"] * 50 + texts
    training, validation = split_validation(texts, validation_split=validation_split, is_text=True)
    assert training[0] + validation[0] == texts


@given(st.lists(st.text(), min_size=1, max_size=20))
def test_distinct_labels_are_those_there_are(labels):
    batches = make_dataset(["text"] * len(labels), labels, preprocess=None, is_text=True)
    assert batches.distinct_labels() == sorted(Counter(labels))
