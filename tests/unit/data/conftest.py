"""Stand-ins for what tasks hand to the data package."""

import keras
import numpy as np
import pytest

from clozework.data import CollectionBatches, make_dataset


def character_counts(x, y, sample_weight):
    """A preprocessor in the smallest: how long each text of an example is."""
    examples = [(example,) if isinstance(example, str) else example for example in x]
    lengths = [[float(len(text)) for text in example] for example in examples]
    return {"lengths": np.asarray(lengths, "float32")}, y, sample_weight


@pytest.fixture
def count_characters():
    return character_counts


@pytest.fixture
def read():
    """Returns the batches of one epoch, texts as they reach the preprocessor."""

    def read(x, y=None, sample_weight=None, **arguments):
        arguments = {"preprocess": None, "is_text": True, **arguments}
        batches = make_dataset(x, y, sample_weight, **arguments)
        if isinstance(batches, CollectionBatches):
            return [batches[i] for i in range(len(batches))]
        return list(batches)

    return read


@pytest.fixture
def model():
    """A compiled model over the length of a text."""
    lengths = keras.Input((1,), name="lengths")
    model = keras.Model({"lengths": lengths}, keras.layers.Dense(2)(lengths))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, weighted_metrics=["accuracy"])
    return model
