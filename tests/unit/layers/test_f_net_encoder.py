"""The FNet block against its formula, in NumPy and float64."""

import keras
import numpy as np
import pytest

from clozework import layers
from clozework.errors import ConfigError
from tests.unit.layers.references import dense, layer_norm, numpy, randomize, weights

X = np.random.default_rng(2).normal(size=(2, 7, 6))


EPSILON = 1e-3


def expected(layer, x):
    """The block, term by term."""
    w = weights(layer)
    mixed = np.fft.fft(np.fft.fft(x, axis=-1), axis=-2).real
    x = layer_norm(x + mixed, w, "mixing_layer_norm", EPSILON)
    hidden = np.maximum(dense(x, w, "intermediate_dense"), 0.0)
    return layer_norm(x + dense(hidden, w, "output_dense"), w, "output_layer_norm", EPSILON)


@pytest.fixture(scope="module")
def encoder():
    layer = layers.FNetEncoder(intermediate_dim=10, layer_norm_epsilon=EPSILON)
    layer.build(X.shape)
    randomize(layer)
    return layer


def test_the_block_is_its_formula(encoder):
    ours = numpy(encoder(X.astype("float32")))
    np.testing.assert_allclose(ours, expected(encoder, X), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float16", 0.02), ("bfloat16", 0.1)])
def test_half_floats_stay_close(encoder, dtype, tolerance):
    low = layers.FNetEncoder(intermediate_dim=10, layer_norm_epsilon=EPSILON, dtype=dtype)
    low.build(X.shape)
    low.set_weights(encoder.get_weights())
    outputs = low(keras.ops.convert_to_tensor(X, dtype=dtype))
    assert keras.backend.standardize_dtype(outputs.dtype) == dtype
    ours = numpy(keras.ops.cast(outputs, "float32"))
    assert np.abs(ours - expected(encoder, X)).max() < tolerance


@pytest.mark.parametrize("dtype", ["float16", "mixed_float16"])
def test_a_sum_over_the_row_beyond_float16_stays_finite(dtype):
    row = np.random.default_rng(3).normal(2.0, 1.0, size=(1, 400, 256))
    assert row.sum() > np.finfo("float16").max
    layer = layers.FNetEncoder(intermediate_dim=4, dtype=dtype)
    outputs = layer(row.astype("float16"))
    assert keras.backend.standardize_dtype(outputs.dtype) == "float16"
    assert np.isfinite(numpy(outputs).astype("float32")).all()


def test_dropout_acts_in_training_alone():
    layer = layers.FNetEncoder(intermediate_dim=10, dropout=0.5)
    x = X.astype("float32")
    still = numpy(layer(x))
    np.testing.assert_array_equal(numpy(layer(x)), still)
    assert np.abs(numpy(layer(x, training=True)) - still).max() > 1e-3


def test_the_config_makes_the_same_block(encoder):
    config = encoder.get_config()
    other = layers.FNetEncoder.from_config(config)
    assert other.get_config() == config
    assert other.compute_output_shape((2, 7, 6)) == (2, 7, 6)


def test_an_unknown_activation_is_refused_at_once():
    with pytest.raises(ConfigError, match="Activation 'gellu' is not known"):
        layers.FNetEncoder(intermediate_dim=4, activation="gellu")
