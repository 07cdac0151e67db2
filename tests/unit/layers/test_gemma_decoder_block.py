"""Gemma's block: near tokens only, the same with a cache, and in the precision that is asked."""

import numpy as np
import pytest

from clozework.layers import GemmaDecoderBlock, RMSNormalization
from tests.unit.layers.references import numpy, randomize

X = np.random.default_rng(1).normal(size=(2, 7, 8)).astype("float32")


def block(**changes):
    arguments = {"head_dim": 4, "num_query_heads": 4, "num_key_value_heads": 2, **changes}
    layer = GemmaDecoderBlock(8, 12, **arguments)
    layer.build(X.shape)
    randomize(layer)
    return layer


def test_normalisation_is_by_the_root_mean_square():
    layer = RMSNormalization(epsilon=1e-3)
    layer.build(X.shape)
    randomize(layer)
    expected = X / np.sqrt((X**2).mean(axis=-1, keepdims=True) + 1e-3)
    expected = expected * (1 + numpy(layer.scale))
    np.testing.assert_allclose(numpy(layer(X)), expected, rtol=0, atol=1e-5)


def test_tokens_see_what_is_before_them_and_near():
    changed = X.copy()
    changed[:, 2] += 1.0
    plain = block()
    difference = np.abs(numpy(plain(changed)) - numpy(plain(X))).max(axis=(0, 2))
    assert (difference > 1e-4).tolist() == [False, False, True, True, True, True, True]
    near = block(use_sliding_window_attention=True, sliding_window_size=3)
    difference = np.abs(numpy(near(changed)) - numpy(near(X))).max(axis=(0, 2))
    assert (difference > 1e-4).tolist() == [False, False, True, True, True, False, False]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {
            "use_sliding_window_attention": True,
            "sliding_window_size": 3,
            "logit_soft_cap": 2.0,
            "use_post_ffw_norm": True,
            "use_post_attention_norm": True,
            "query_head_dim_normalize": False,
        },
    ],
)
def test_a_cache_changes_nothing(changes):
    layer = block(**changes)
    expected = numpy(layer(X))
    cache = np.zeros((2, 2, 9, 2, 4), "float32")
    first, cache = layer(X[:, :4], cache=cache, cache_update_index=0)
    outputs = [numpy(first)]
    for i in range(4, 7):
        x, cache = layer(X[:, i : i + 1], cache=cache, cache_update_index=i)
        outputs.append(numpy(x))
    np.testing.assert_allclose(np.concatenate(outputs, axis=1), expected, rtol=0, atol=1e-5)


def test_scores_are_scaled_and_bounded_as_asked():
    outputs = [
        numpy(block(**changes)(X))
        for changes in ({}, {"query_head_dim_normalize": False}, {"logit_soft_cap": 0.5})
    ]
    assert np.abs(outputs[0] - outputs[1]).max() > 1e-3
    assert np.abs(outputs[0] - outputs[2]).max() > 1e-3


def test_a_mask_beside_a_padding_mask_counts_as_well():
    layer = block()
    ones, packed = np.ones((2, 7), "int32"), np.array([[1, 1, 1, 2, 2, 2, 2]] * 2)
    same_text = packed[:, :, None] == packed[:, None, :]
    outputs = layer(X, padding_mask=packed)
    # Positions are relative, so that it does not matter where the second text begins to count.
    others = layer(X, padding_mask=ones, attention_mask=same_text)
    np.testing.assert_allclose(numpy(others), numpy(outputs), rtol=0, atol=1e-5)
    assert np.abs(numpy(layer(X, padding_mask=ones)) - numpy(outputs)).max() > 1e-3
