"""The block of ModernBERT, against its formula in NumPy and float64."""

import math

import numpy as np
import pytest

from clozework.errors import ConfigError
from clozework.layers import RotaryEncoderBlock, RotarySelfAttention
from tests.unit.layers.references import numpy, randomize, softmax, weights

X = np.random.default_rng(1).normal(size=(2, 9, 8))
PADDING = np.array([[1, 1, 1, 1, 2, 2, 2, 2, 0], [1] * 9])
# Of each text, counted from its start.
POSITIONS = np.array([[0, 1, 2, 3, 0, 1, 2, 3, 8], np.arange(9)])


def rotated(x, max_wavelength):
    """Pairs of features as complex numbers, turned by an angle for each position."""
    half = x.shape[-1] // 2
    angles = POSITIONS[..., None] * max_wavelength ** (-np.arange(half) / half)
    turned = (x[..., :half] + 1j * x[..., half:]) * np.exp(1j * angles)[:, :, None]
    return np.concatenate([turned.real, turned.imag], axis=-1)


def norm(x, gamma, epsilon):
    centred = x - x.mean(axis=-1, keepdims=True)
    return gamma * centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + epsilon)


def attention(x, w, reach, max_wavelength):
    parts = np.split(x @ w["self_attention_layer/query_key_value/kernel"], 3, axis=-1)
    query, key, value = (part.reshape(2, 9, 2, 4) for part in parts)
    query, key = rotated(query, max_wavelength), rotated(key, max_wavelength)
    joined = np.zeros((2, 9, 2, 4))
    for row in range(2):
        for i in range(9):
            seen = [
                j for j in range(9) if PADDING[row, i] == PADDING[row, j] and abs(i - j) <= reach
            ]
            for head in range(2):
                scores = key[row, seen, head] @ query[row, i, head] / np.sqrt(4)
                joined[row, i, head] = softmax(scores) @ value[row, seen, head]
    return joined.reshape(2, 9, 8) @ w["self_attention_layer/attention_output/kernel"]


def block(x, w, reach, max_wavelength, *, normalizes_input, epsilon):
    gamma = w.get("self_attention_layer_norm/gamma")
    normal = norm(x, gamma, epsilon) if normalizes_input else x
    x = x + attention(normal, w, reach, max_wavelength)
    normal = norm(x, w["feedforward_layer_norm/gamma"], epsilon)
    hidden, gate = np.split(normal @ w["feedforward_gated_dense/kernel"], 2, axis=-1)
    hidden = hidden * (1 + np.vectorize(math.erf)(hidden / np.sqrt(2))) / 2 * gate
    return x + hidden @ w["feedforward_output_dense/kernel"]


@pytest.mark.parametrize(
    ("window", "reach", "max_wavelength", "normalizes_input"),
    [(None, 9, 160.0, False), (4, 2, 10.0, True), (3, 1, 10000.0, True)],
)
def test_the_block_computes_the_formula(window, reach, max_wavelength, normalizes_input):
    layer = RotaryEncoderBlock(
        12,
        2,
        window=window,
        max_wavelength=max_wavelength,
        layer_norm_epsilon=1e-3,
        normalizes_input=normalizes_input,
    )
    layer.build((None, None, 8))
    randomize(layer)
    expected = block(
        X,
        weights(layer),
        reach,
        max_wavelength,
        normalizes_input=normalizes_input,
        epsilon=1e-3,
    )
    outputs = numpy(layer(X.astype("float32"), padding_mask=PADDING))
    is_token = PADDING > 0
    np.testing.assert_allclose(outputs[is_token], expected[is_token], rtol=1e-5, atol=1e-5)


def test_without_a_mask_all_are_tokens_of_one_text():
    layer = RotaryEncoderBlock(12, 2, window=4)
    layer.build((None, None, 8))
    randomize(layer)
    x = X.astype("float32")
    ones = np.ones((2, 9), "int32")
    np.testing.assert_allclose(numpy(layer(x)), numpy(layer(x, padding_mask=ones)), atol=1e-5)


def test_a_window_ends_where_it_should():
    layer = RotarySelfAttention(2, 8, window=4)
    layer.build((None, None, 8))
    randomize(layer)
    x = X.astype("float32")
    changed = x.copy()
    changed[:, 4] += 1.0
    difference = np.abs(numpy(layer(changed)) - numpy(layer(x))).max(axis=(0, 2))
    assert (difference > 1e-4).tolist() == [2 <= i <= 6 for i in range(9)]


@pytest.mark.parametrize("num_heads", [3, 8])
def test_heads_need_an_even_width(num_heads):
    with pytest.raises(ConfigError, match="need heads of an even width. Received: hidden_dim=8"):
        RotarySelfAttention(num_heads, 8)
