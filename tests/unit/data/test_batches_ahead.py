"""Batches that a thread makes ahead: the same ones, and nothing that a user reads is lost."""

import threading

import keras
import pytest

from clozework.data import make_dataset
from clozework.errors import InputError

TEXTS = ["a" * i for i in range(10)]
LABELS = [i % 2 for i in range(10)]
ROWS = list(zip(TEXTS, LABELS, strict=True))


class Batched(keras.utils.PyDataset):
    """A user's dataset of one batch."""

    def __len__(self):
        return 1

    def __getitem__(self, i):
        return TEXTS, LABELS


def text_batches(**options):
    return make_dataset(TEXTS, LABELS, is_text=True, batch_size=3, preprocess=None, **options)


def epochs_of(batches, num_epochs):
    """Goes through batches as Keras does, after it has read one to build a model."""
    batches[0]
    batches.on_epoch_end()
    epochs = []
    for _ in range(num_epochs):
        batches.on_epoch_begin()
        epochs.append([batches[i][0] for i in range(len(batches))])
        batches.on_epoch_end()
    return epochs


def test_batches_made_ahead_are_the_same_in_each_epoch():
    ahead = epochs_of(text_batches(shuffle=True, seed=3).made_ahead(), 3)
    assert ahead == epochs_of(text_batches(shuffle=True, seed=3), 3)
    assert ahead[0] != ahead[1]


def test_a_batch_is_made_while_the_one_before_it_is_used():
    made = {text: threading.Event() for text in TEXTS}

    def preprocess(x, y, sample_weight):
        made[x[0]].set()
        return x, y

    batches = make_dataset(
        TEXTS, LABELS, is_text=True, batch_size=3, preprocess=preprocess
    ).made_ahead()
    batches[0]
    assert made[TEXTS[3]].wait(timeout=60)
    assert not made[TEXTS[6]].is_set()


def test_an_error_in_a_batch_made_ahead_comes_when_the_batch_is_due():
    def preprocess(x, y, sample_weight):
        if "aaa" in x:
            raise InputError("no such text")
        return x, y

    batches = make_dataset(
        TEXTS, LABELS, is_text=True, batch_size=3, preprocess=preprocess
    ).made_ahead()
    batches[0]
    with pytest.raises(InputError, match="no such text"):
        batches[1]
    # One that nobody asks for does no harm.
    batches[0]
    batches.on_epoch_end()
    assert batches[2][0] == TEXTS[6:9]


def test_batches_may_be_asked_for_in_any_order_when_they_are_made_ahead():
    batches = text_batches().made_ahead()
    asked = [batches[i][0] for i in (2, 0, 3, 3, 1)]
    assert asked == [TEXTS[6:9], TEXTS[:3], TEXTS[9:], TEXTS[9:], TEXTS[3:6]]


@pytest.mark.parametrize("data", [Batched(), iter(ROWS)], ids=type)
def test_what_a_user_iterates_over_is_not_read_ahead(data):
    batches = make_dataset(data, is_text=True, preprocess=None)
    assert batches.made_ahead() is batches
