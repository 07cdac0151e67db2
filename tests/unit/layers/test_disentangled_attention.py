"""Disentangled attention against a loop over all pairs of tokens."""

import keras
import numpy as np
import pytest

from clozework.errors import ConfigError
from clozework.layers import (
    DisentangledAttentionEncoder,
    DisentangledSelfAttention,
    RelativeEmbedding,
    self_attention_mask,
)
from tests.unit.layers.references import (
    disentangled_attention,
    encoder,
    layer_norm,
    numpy,
    randomize,
    weights,
)

# Rows within the buckets, at their border, in the logarithmic ones, and beyond the last.
SIZES = [(1, 4, 8), (2, 4, 8), (5, 4, 16), (9, 4, 8), (24, 4, 16), (40, 8, 24), (13, 256, 512)]
TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}


def made(cls, *arguments, **options):
    layer = cls(*arguments, **options)
    layer.build((None, None, 8))
    randomize(layer)
    return layer


def inputs(tokens, bucket_size):
    random = np.random.default_rng(tokens)
    return random.normal(size=(2, tokens, 8)), random.normal(size=(2 * bucket_size, 8))


def single(*arrays):
    return [array.astype("float32") for array in arrays]


@pytest.mark.parametrize(("tokens", "bucket_size", "longest"), SIZES)
def test_attention_is_that_of_a_gather(tokens, bucket_size, longest):
    layer = made(DisentangledSelfAttention, 2, 8, longest, bucket_size)
    x, relative = inputs(tokens, bucket_size)
    reference = disentangled_attention(
        x,
        relative,
        weights(layer),
        np.ones((2, tokens, tokens), bool),
        bucket_size=bucket_size,
        max_position=longest,
    )
    np.testing.assert_allclose(numpy(layer(*single(x, relative))), reference, **TOLERANCE)


def test_a_mask_limits_attention():
    layer = made(DisentangledSelfAttention, 2, 8, 16, 4)
    x, relative = inputs(6, 4)
    allowed = np.tril(np.ones((2, 6, 6), bool))
    reference = disentangled_attention(
        x, relative, weights(layer), allowed, bucket_size=4, max_position=16
    )
    for mask in (allowed, allowed.astype("int32")):
        outputs = layer(*single(x), rel_embeddings=single(relative)[0], attention_mask=mask)
        np.testing.assert_allclose(numpy(outputs), reference, **TOLERANCE)


@pytest.mark.parametrize("normalize_first", [False, True])
def test_the_block_computes_the_formula(normalize_first):
    layer = made(
        DisentangledAttentionEncoder, 16, 2, 16, 4, dropout=0.0, normalize_first=normalize_first
    )
    x, relative = inputs(7, 4)
    padding = np.array([[1, 1, 1, 1, 0, 0, 0], [1] * 7])
    w = weights(layer)
    allowed = numpy(self_attention_mask(padding))
    reference = encoder(
        x,
        w,
        lambda x: disentangled_attention(
            x, relative, w, allowed, bucket_size=4, max_position=16, prefix="self_attention_layer/"
        ),
        activation=lambda x: np.maximum(x, 0.0),
        epsilon=1e-5,
        normalize_first=normalize_first,
    )
    outputs = layer(*single(x, relative), padding_mask=padding)
    np.testing.assert_allclose(numpy(outputs), reference, **TOLERANCE)


def test_texts_of_one_row_do_not_see_each_other():
    layer = made(DisentangledAttentionEncoder, 16, 2, 16, 4)
    x, relative = single(*inputs(5, 4))
    packed = np.array([[1, 1, 2, 2, 2]] * 2)
    outputs = numpy(layer(x, relative, padding_mask=packed))
    for part in (slice(0, 2), slice(2, 5)):
        alone = numpy(layer(x[:, part], relative))
        np.testing.assert_allclose(outputs[:, part], alone, **TOLERANCE)


def test_relative_embeddings_are_normalised_vectors():
    layer = made(RelativeEmbedding, 8, 4, layer_norm_epsilon=1e-3)
    w = weights(layer)
    reference = layer_norm(w["rel_embedding"], w, "rel_embeddings_layer_norm", 1e-3)
    outputs = numpy(layer(np.zeros((3, 5, 8), "float32")))
    assert outputs.shape == layer.compute_output_shape((3, 5, 8)) == (8, 8)
    np.testing.assert_allclose(outputs, reference, **TOLERANCE)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_floats_stay_finite(dtype):
    layer = DisentangledAttentionEncoder(16, 2, 16, 4, dtype=dtype)
    x, relative = single(*inputs(9, 4))
    outputs = layer(x * 50, relative, padding_mask=np.zeros((2, 9), "int32"))
    assert np.isfinite(numpy(keras.ops.cast(outputs, "float32"))).all()


def test_dropout_acts_in_training_alone():
    layer = made(DisentangledSelfAttention, 2, 8, 16, 4, dropout=0.5)
    x, relative = single(*inputs(6, 4))
    quiet = numpy(layer(x, relative))
    np.testing.assert_array_equal(numpy(layer(x, relative, training=False)), quiet)
    assert np.abs(numpy(layer(x, relative, training=True)) - quiet).max() > 1e-3


def test_heads_that_do_not_divide_the_width_are_refused():
    expected = "`num_heads` must divide `hidden_dim`. Received: num_heads=3, hidden_dim=8"
    with pytest.raises(ConfigError, match=expected):
        DisentangledSelfAttention(3, 8)
    with pytest.raises(ConfigError, match="`num_heads` must divide"):
        DisentangledAttentionEncoder(16, 3).build((None, None, 8))


def test_each_bucket_is_projected_once():
    layer = made(DisentangledSelfAttention, 2, 8, 24, 8)
    seen = []
    project = layer._key_dense.call
    layer._key_dense.call = lambda x, **options: seen.append(x.shape[1]) or project(x, **options)
    x, relative = single(*inputs(40, 8))
    layer(x, relative)
    # The tokens, and the buckets; there are 79 distances.
    assert seen == [40, 16]
