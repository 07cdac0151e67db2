"""Attention with a bias for distances, against its formula in NumPy and upstream's buckets."""

import numpy as np
import pytest
import torch
from transformers.models.mpnet.modeling_mpnet import MPNetEncoder

from clozework.errors import ConfigError
from clozework.layers import (
    BiasedSelfAttention,
    BiasedTransformerEncoder,
    RelativePositionBias,
    self_attention_mask,
)
from tests.unit.layers.references import (
    dense,
    encoder,
    heads,
    numpy,
    randomize,
    softmax,
    weights,
)


def attention(x, bias, w, allowed):
    query, key, value = (
        heads(x, w, f"self_attention_layer/{name}") for name in ("query", "key", "value")
    )
    scores = query @ key.swapaxes(-1, -2) / np.sqrt(query.shape[-1]) + bias
    mixed = softmax(np.where(allowed[:, None], scores, -1e9)) @ value
    joined = mixed.swapaxes(1, 2).reshape(x.shape)
    return dense(joined, w, "self_attention_layer/attention_output")


@pytest.mark.parametrize("num_buckets", [32, 8])
def test_distances_fall_into_the_buckets_of_upstream(num_buckets):
    layer = RelativePositionBias(num_heads=1, num_buckets=num_buckets)
    x = np.zeros((1, 600, 4), "float32")
    layer.build(x.shape)
    # Each bucket's number is its index.
    layer.bias_embeddings.assign(np.arange(num_buckets, dtype="float32")[:, None])
    places = torch.arange(600)
    expected = MPNetEncoder.relative_position_bucket(places[None] - places[:, None], num_buckets)
    np.testing.assert_array_equal(numpy(layer(x))[0], expected.numpy())


@pytest.mark.parametrize("normalize_first", [False, True])
def test_the_block_computes_the_formula(normalize_first):
    layer = BiasedTransformerEncoder(
        16, 2, layer_norm_epsilon=1e-3, normalize_first=normalize_first
    )
    layer.build((None, None, 8))
    randomize(layer)
    random = np.random.default_rng(1)
    x, bias = random.normal(size=(2, 7, 8)), random.normal(size=(2, 7, 7))
    padding = np.array([[1, 1, 2, 2, 2, 0, 0], [1] * 7])
    w, allowed = weights(layer), numpy(self_attention_mask(padding))
    reference = encoder(
        x,
        w,
        lambda x: attention(x, bias, w, allowed),
        activation=lambda x: np.maximum(x, 0),
        epsilon=1e-3,
        normalize_first=normalize_first,
    )
    outputs = layer(x.astype("float32"), bias.astype("float32"), padding_mask=padding)
    np.testing.assert_allclose(numpy(outputs), reference, rtol=1e-5, atol=1e-5)


def test_heads_have_to_divide_the_width():
    with pytest.raises(ConfigError, match="`num_heads` must divide `hidden_dim`"):
        BiasedSelfAttention(num_heads=3, hidden_dim=8)
