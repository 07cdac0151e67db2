"""Embeddings read backwards: few vectors are multiplied in another order than many."""

import keras
import numpy as np
import pytest
from keras import ops

from clozework.layers import ReversibleEmbedding
from tests.unit.layers.references import numpy, randomize

RANDOM = np.random.default_rng(5)


def made(**options) -> ReversibleEmbedding:
    embedding = ReversibleEmbedding(300, 16, **options)
    embedding.build(None)
    randomize(embedding)
    return embedding


def expected(embedding, vectors) -> np.ndarray:
    return vectors.astype("float64") @ numpy(embedding.embeddings).astype("float64").T


@pytest.mark.parametrize("shape", [(1,), (2,), (8, 1), (4, 8), (64,), (65,), (3, 50)], ids=str)
def test_scores_are_products_with_the_vectors_of_all_tokens(shape):
    embedding, vectors = made(), RANDOM.normal(size=(*shape, 16)).astype("float32")
    scores = numpy(embedding(vectors, reverse=True))
    assert scores.shape == (*shape, 300)
    np.testing.assert_allclose(scores, expected(embedding, vectors), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("num_vectors", [1, 8, 100])
def test_half_floats_are_summed_as_floats(num_vectors):
    embedding = made(dtype="bfloat16")
    vectors = RANDOM.normal(size=(num_vectors, 16)).astype("float32")
    vectors = numpy(ops.cast(vectors, "bfloat16")).astype("float32")
    scores = embedding(ops.cast(vectors, "bfloat16"), reverse=True)
    assert keras.backend.standardize_dtype(scores.dtype) == "bfloat16"
    # Nothing is rounded but the sums, to 8 bits.
    wanted = expected(embedding, vectors)
    np.testing.assert_allclose(numpy(ops.cast(scores, "float32")), wanted, rtol=2**-8, atol=1e-3)


@pytest.mark.parametrize("num_vectors", [4, 100])
def test_scores_are_capped(num_vectors):
    embedding = made(logit_soft_cap=0.5)
    vectors = RANDOM.normal(size=(num_vectors, 16)).astype("float32")
    wanted = np.tanh(expected(embedding, vectors) / 0.5) * 0.5
    np.testing.assert_allclose(
        numpy(embedding(vectors, reverse=True)), wanted, rtol=1e-5, atol=1e-5
    )


def test_scores_have_the_dtype_that_is_asked_for():
    embedding = made(dtype="bfloat16", reverse_dtype="float32")
    scores = embedding(np.ones((3, 16), "float32"), reverse=True)
    assert keras.backend.standardize_dtype(scores.dtype) == "float32"


@pytest.mark.parametrize("num_vectors", [4, 100])
def test_a_table_learns_from_few_vectors_as_from_many(num_vectors):
    """The gradient of the sum of all scores is the sum of the vectors, for each token."""
    embedding = made()
    before = numpy(embedding.embeddings)
    vectors = RANDOM.normal(size=(1, num_vectors, 16)).astype("float32")
    inputs = keras.Input((num_vectors, 16))
    model = keras.Model(inputs, embedding(inputs, reverse=True))
    model.compile(keras.optimizers.SGD(1.0), lambda _, scores: ops.sum(scores))
    model.fit(vectors, np.zeros((1, 1)), batch_size=1, verbose=0)
    step = before - numpy(embedding.embeddings)
    # The loss is the mean over vectors.
    np.testing.assert_allclose(step / step[:1], np.ones_like(step), rtol=1e-4)
    wanted = vectors[0].sum(axis=0)
    np.testing.assert_allclose(step[0] / step[0, 0], wanted / wanted[0], rtol=1e-4)
