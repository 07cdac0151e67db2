"""Pooling against NumPy in float64."""

import keras
import numpy as np
import pytest

from clozework import layers
from clozework.errors import ConfigError

VECTORS = np.random.default_rng(0).normal(size=(3, 5, 4))
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [0, 0, 0, 0, 0]])
EXPECTED = {
    "mean": [VECTORS[0].mean(axis=0), VECTORS[1, :2].mean(axis=0), np.zeros(4)],
    "max": [VECTORS[0].max(axis=0), VECTORS[1, :2].max(axis=0), np.zeros(4)],
    "cls": VECTORS[:, 0],
    "lasttoken": [VECTORS[0, 4], VECTORS[1, 1], np.zeros(4)],
}


@pytest.mark.parametrize("mode", EXPECTED)
def test_padding_counts_for_nothing(mode):
    pooled = layers.TextPooling(mode)(VECTORS.astype("float32"), padding_mask=MASK)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(pooled), np.array(EXPECTED[mode]), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("mode", EXPECTED)
def test_texts_that_share_rows_are_pooled_apart(mode):
    # The second text lies before the first, in another row; the third has no tokens.
    vectors = np.concatenate([VECTORS[1:2], VECTORS[0:1]]).astype("float32")
    mask = np.array([[3, 3, 0, 0, 0], [2, 2, 2, 2, 2]])
    first_tokens = np.array([5, 0, 9], "int32")
    pooled = layers.TextPooling(mode).pool_packed(
        keras.ops.convert_to_tensor(vectors), mask, first_tokens=first_tokens
    )
    pooled = keras.ops.convert_to_numpy(pooled)
    np.testing.assert_allclose(pooled[:2], np.array(EXPECTED[mode])[:2], rtol=0, atol=1e-6)
    if mode != "cls":
        np.testing.assert_array_equal(pooled[2], np.zeros(4))


def test_half_floats_keep_the_mean_of_many_tokens():
    ones = np.full((1, 4096, 2), 1.0, "float16")
    mask = np.ones((1, 4096), "int32")
    pooled = layers.TextPooling("mean", dtype="float16")(ones, padding_mask=mask)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(pooled), np.ones((1, 2), "float16"))


def test_the_mode_survives_the_config():
    layer = layers.TextPooling.from_config(layers.TextPooling("max").get_config())
    assert layer.mode == "max"
    assert layer.compute_output_shape((2, 5, 4)) == (2, 4)


def test_an_unknown_mode_is_refused():
    with pytest.raises(
        ConfigError, match=r"one of 'mean', 'cls', 'max', 'lasttoken'. Received: 'sum'"
    ):
        layers.TextPooling("sum")
