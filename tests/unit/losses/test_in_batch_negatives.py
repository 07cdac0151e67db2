"""Finding partners within a batch: the numbers of the definition, and vectors that learn."""

import keras
import numpy as np
import pytest

from clozework.errors import InputError
from clozework.losses import InBatchNegatives
from tests.contract.families import TASKS, tiny_task

PAIRS = [
    ("the fox", "a quick fox"),
    ("heaven", "the earth"),
    ("lazy dog", "a dog"),
    ("over", "the"),
]


def expected_loss(vectors, count, scale):
    """By the definition, in float64."""
    vectors = vectors.astype("float64")
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    logits = scale * vectors[:count] @ vectors[count:].T
    logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return -np.mean(np.diag(logs))


@pytest.mark.parametrize("num_texts", [2, 3])
def test_numbers_are_those_of_the_definition(num_texts):
    vectors = np.random.default_rng(0).normal(size=(5 * num_texts, 7)).astype("float32")
    loss = InBatchNegatives(scale=4.0)(np.zeros(5), vectors)
    np.testing.assert_allclose(loss, expected_loss(vectors, 5, 4.0), rtol=1e-5)


@pytest.mark.parametrize("family", ["BertTextEmbedder", "FNetTextEmbedder"])
def test_losses_of_texts_that_share_rows_are_those_of_their_vectors(family):
    embedder = tiny_task(TASKS[family])
    embedder.compile(loss=InBatchNegatives())
    texts = [first for first, _ in PAIRS] + [second for _, second in PAIRS]
    expected = expected_loss(embedder.embed(texts), len(PAIRS), 20.0)
    np.testing.assert_allclose(embedder.evaluate(PAIRS, verbose=0), expected, rtol=1e-4)


def test_the_texts_of_pairs_are_counted_one_by_one():
    embedder = tiny_task(TASKS["BertTextEmbedder"])
    together = embedder.token_counts(PAIRS)
    embedder.compile(loss=InBatchNegatives())
    counts = embedder.token_counts(PAIRS)
    arrays = embedder.preprocessor([text for texts in zip(*PAIRS, strict=True) for text in texts])
    assert counts.tolist() == arrays["padding_mask"].sum(axis=1).tolist()
    # A pair in one row has one end, or start, the less.
    assert together.sum() == counts.sum() - len(PAIRS)


def test_partners_find_each_other_after_training():
    keras.utils.set_random_seed(0)
    embedder = tiny_task(TASKS["BertTextEmbedder"])
    embedder.compile(keras.optimizers.Adam(0.01), loss=InBatchNegatives())
    history = embedder.fit(PAIRS, epochs=60, batch_size=4, verbose=0).history["loss"]
    assert history[-1] < 0.5 * history[0]
    first, second = (embedder.embed([pair[i] for pair in PAIRS]) for i in range(2))
    assert (first @ second.T).argmax(axis=1).tolist() == [0, 1, 2, 3]


def test_other_examples_are_refused():
    embedder = tiny_task(TASKS["BertTextEmbedder"])
    embedder.compile(loss=InBatchNegatives())
    with pytest.raises(InputError, match="takes pairs, or triplets, of texts. Received examples"):
        embedder.fit(["a", "b"], verbose=0)
    with pytest.raises(InputError, match="neither labels nor `sample_weight`"):
        embedder.fit(PAIRS, [0, 1, 2, 3], verbose=0)


def test_a_saved_loss_is_the_same():
    loss = InBatchNegatives(scale=3.0)
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert again.get_config() == loss.get_config()
