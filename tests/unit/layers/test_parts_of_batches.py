"""Tests of attention that is computed in parts of its batch."""

import jax
import jax.export
import keras
import numpy as np
import pytest

from clozework import kernels
from clozework.kernels import computed_in_parts
from clozework.layers.dot_product_attention import HeadsFirstAttention
from clozework.layers.relative_position_bias import BiasedSelfAttention

pytestmark = pytest.mark.skipif(keras.backend.backend() != "jax", reason="XLA's products")

TOKENS = 40
X = np.random.default_rng(0).normal(size=(6, TOKENS, 8)).astype("float32")
MASK = np.random.default_rng(1).integers(0, 2, (6, TOKENS, TOKENS))
BIAS = np.random.default_rng(2).normal(size=(2, TOKENS, TOKENS)).astype("float32")


def sizes_of_parts(batch, *matrix_shape):
    sizes = []

    def function(x):
        sizes.append(len(x))
        return x, 2 * x

    x = np.arange(batch)
    outputs = computed_in_parts(function, x, matrix_shape=matrix_shape)
    np.testing.assert_array_equal(outputs, (x, 2 * x))
    return sizes


def test_small_matrices_are_computed_in_parts():
    assert sizes_of_parts(8, TOKENS, TOKENS) == [2, 2, 2, 2]
    assert sizes_of_parts(6, TOKENS, TOKENS) == [3, 3]
    assert sizes_of_parts(3, TOKENS, TOKENS) == [3]


def test_tiny_large_and_unknown_matrices_are_computed_together():
    assert sizes_of_parts(8, 2, 3) == sizes_of_parts(8, 512, 512) == [8]
    assert sizes_of_parts(8, None, TOKENS) == [8]


def test_what_all_rows_share_is_given_to_each_part():
    shared = np.ones((1, 5))
    seen = []

    def function(x, bias, nothing):
        seen.append((bias is shared, nothing))
        return x

    computed_in_parts(function, X, shared, None, matrix_shape=(TOKENS, TOKENS))
    assert seen == [(True, None)] * 2


def outputs_of_biased_attention():
    layer = BiasedSelfAttention(num_heads=2, hidden_dim=8)
    layer.build(X.shape)
    return layer(X, BIAS, attention_mask=MASK)


def outputs_of_attention_and_scores():
    layer = HeadsFirstAttention(num_heads=2, key_dim=4)
    return layer(X, X, attention_mask=MASK, return_attention_scores=True)


@pytest.mark.parametrize(
    "outputs_of", [outputs_of_biased_attention, outputs_of_attention_and_scores]
)
def test_parts_have_the_numbers_of_the_whole(outputs_of, monkeypatch):
    def outputs():
        keras.utils.set_random_seed(0)
        return [np.asarray(x) for x in keras.tree.flatten(outputs_of())]

    in_parts = outputs()
    monkeypatch.setattr(kernels, "_MOST_PARTS", 1)
    for part, whole in zip(in_parts, outputs(), strict=True):
        np.testing.assert_allclose(part, whole, rtol=0, atol=1e-6)


def test_lengths_may_be_left_open():
    layer = HeadsFirstAttention(num_heads=2, key_dim=4)
    layer.build(X.shape, X.shape)
    shape = jax.export.symbolic_shape("rows, tokens, 8")
    x = jax.ShapeDtypeStruct(shape, "float32")
    exported = jax.export.export(jax.jit(lambda x: layer(x, x)))(x)
    np.testing.assert_allclose(exported.call(X), layer(X, X), rtol=0, atol=1e-6)
