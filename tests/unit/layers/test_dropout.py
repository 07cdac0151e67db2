"""Dropout: what is dropped is spread as if by chance, and the same for the same seed."""

import keras
import numpy as np
import pytest
from keras import ops

from clozework.layers import Dropout, TransformerEncoder

SHAPE = (8, 100, 125)
SIZE = 100_000


def kept(layer, shape=SHAPE) -> np.ndarray:
    """Returns 1.0 where the layer keeps a value, and 0.0 where it drops one."""
    outputs = ops.convert_to_numpy(layer(np.ones(shape, "float32"), training=True))
    return (outputs != 0).astype("float64")


def correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Returns the correlation in standard deviations of what chance gives."""
    return float(np.corrcoef(x.ravel(), y.ravel())[0, 1]) * x.size**0.5


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_drops_the_share_that_is_asked_for(rate):
    count = kept(Dropout(rate, seed=7)).sum()
    deviation = (SIZE * rate * (1 - rate)) ** 0.5
    assert abs(count - SIZE * (1 - rate)) < 4 * deviation


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_each_slice_drops_as_much_as_chance(axis):
    counts = np.moveaxis(kept(Dropout(0.1, seed=3)), axis, 0).reshape(SHAPE[axis], -1)
    expected, variance = 0.9 * counts.shape[1], 0.09 * counts.shape[1]
    chi_square = ((counts.sum(axis=1) - expected) ** 2).sum() / variance
    assert abs(chi_square - SHAPE[axis]) < 4 * (2 * SHAPE[axis]) ** 0.5


def test_steps_layers_and_neighbours_are_independent():
    layer = Dropout(0.3, seed=5)
    first, second = kept(layer), kept(layer)
    # The seeds of two layers may differ by one, as their numbers of steps do; Keras adds the two up
    # for PyTorch.
    seeds = (4, 6, 5 ^ 2**31) if keras.backend.backend() == "jax" else (40, 60, 80)
    others = [kept(Dropout(0.3, seed=seed)) for seed in seeds]
    masks = [first, second, *others]
    pairs = [(masks[i], masks[j]) for i in range(5) for j in range(i)]
    pairs += [(np.delete(first, 0, axis), np.delete(first, -1, axis)) for axis in range(3)]
    assert max(abs(correlation(x, y)) for x, y in pairs) < 4.5


def test_same_seed_drops_the_same():
    layer, same = Dropout(0.3, seed=5), Dropout(0.3, seed=5)
    for _ in range(2):
        np.testing.assert_array_equal(kept(layer), kept(same))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_what_is_kept_is_scaled(dtype):
    outputs = Dropout(0.2, seed=1, dtype=dtype)(ops.ones((4, 50), dtype), training=True)
    assert keras.backend.standardize_dtype(outputs.dtype) == dtype
    expected = float(ops.convert_to_numpy(ops.cast(ops.cast(1.25, dtype), "float32")))
    values = ops.convert_to_numpy(ops.cast(outputs, "float32"))
    assert set(np.unique(values).tolist()) == {0.0, expected}


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_nothing_and_everything(rate):
    outputs = ops.convert_to_numpy(Dropout(rate)(np.ones((2, 3), "float32"), training=True))
    np.testing.assert_array_equal(outputs, np.full((2, 3), 1.0 - rate))


def test_inference_drops_nothing():
    x = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    np.testing.assert_array_equal(ops.convert_to_numpy(Dropout(0.5)(x)), x)


def test_shape_of_noise_is_shared():
    outputs = kept(Dropout(0.5, noise_shape=(None, 1), seed=1), (40, 6))
    assert set(outputs.mean(axis=1).tolist()) == {0.0, 1.0}


def test_fit_draws_anew_at_each_step():
    inputs = keras.Input((50,))
    same = keras.layers.Dense(50, kernel_initializer="identity")(inputs)
    model = keras.Model(inputs, Dropout(0.5, seed=1)(same))
    model.compile(optimizer=keras.optimizers.SGD(0.0), loss="mse")
    losses = []
    model.fit(
        np.ones((96, 50), "float32"),
        np.zeros((96, 50), "float32"),
        batch_size=32,
        verbose=0,
        callbacks=[
            keras.callbacks.LambdaCallback(
                on_train_batch_end=lambda batch, logs: losses.append(logs["loss"] * (batch + 1))
            )
        ],
    )
    each = np.diff(losses, prepend=0.0)
    assert len({round(float(loss), 6) for loss in each}) == 3
    # A kept value is 2, so that half of all squares are 4.
    np.testing.assert_allclose(each, 2.0, atol=4 * 4 * 0.5 / (32 * 50) ** 0.5)


def test_layers_of_an_encoder_are_of_this_kind():
    layer = TransformerEncoder(8, 2, dropout=0.1)
    layer.build((None, 3, 4))
    plain = [type(x) for x in layer._flatten_layers() if isinstance(x, keras.layers.Dropout)]
    assert plain == [Dropout] * 3
