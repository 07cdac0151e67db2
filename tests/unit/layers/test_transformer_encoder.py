"""The encoder block against the formulas of Vaswani et al."""

import math

import keras
import numpy as np
import pytest

from clozework.errors import ConfigError
from clozework.layers import TransformerEncoder
from clozework.layers.transformer_block import TransformerBlock
from tests.unit.layers.references import attention, encoder, numpy, randomize, weights

X = np.random.default_rng(1).normal(size=(2, 5, 8))
PADDING = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
CAUSAL = np.tril(np.ones((2, 5, 5), bool))
# The sum of a feed-forward network and what came in, in float32.
TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}


def gelu(x):
    return 0.5 * x * (1.0 + np.vectorize(math.erf)(x / math.sqrt(2.0)))


def gelu_tanh(x):
    return 0.5 * x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))


ACTIVATIONS = {"relu": lambda x: np.maximum(x, 0.0), "gelu": gelu, "gelu_tanh": gelu_tanh}


@pytest.fixture
def make():
    def make(**options):
        layer = TransformerEncoder(16, 2, **options)
        layer.build((None, None, 8))
        randomize(layer)
        return layer

    return make


def expected(layer, x, allowed, activation="relu"):
    w = weights(layer)
    return encoder(
        x,
        w,
        lambda x: attention(x, w, allowed)[0],
        activation=ACTIVATIONS[activation],
        epsilon=layer.layer_norm_epsilon,
        normalize_first=layer.normalize_first,
    )


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("normalize_first", [False, True])
def test_the_block_computes_the_formula(make, normalize_first, activation):
    layer = make(normalize_first=normalize_first, activation=activation, layer_norm_epsilon=1e-3)
    reference = expected(layer, X, np.ones((2, 5, 5), bool), activation)
    np.testing.assert_allclose(numpy(layer(X.astype("float32"))), reference, **TOLERANCE)


@pytest.mark.parametrize("normalize_first", [False, True])
def test_keys_that_are_padding_are_not_attended_to(make, normalize_first):
    layer = make(normalize_first=normalize_first)
    allowed = np.broadcast_to(PADDING[:, None, :] > 0, (2, 5, 5))
    outputs = numpy(layer(X.astype("float32"), padding_mask=PADDING))
    np.testing.assert_allclose(outputs, expected(layer, X, allowed), **TOLERANCE)
    short = numpy(layer(X[:1, :3].astype("float32")))
    np.testing.assert_allclose(outputs[:1, :3], short, **TOLERANCE)


def test_an_attention_mask_limits_further(make):
    layer = make()
    allowed = CAUSAL & (PADDING[:, None, :] > 0)
    for mask in (CAUSAL, CAUSAL.astype("int32"), CAUSAL.astype("float32")):
        outputs = layer(X.astype("float32"), padding_mask=PADDING, attention_mask=mask)
        np.testing.assert_allclose(numpy(outputs), expected(layer, X, allowed), **TOLERANCE)
    alone = numpy(layer(X.astype("float32"), attention_mask=CAUSAL))
    np.testing.assert_allclose(alone, expected(layer, X, CAUSAL), **TOLERANCE)


def test_arguments_have_the_order_of_kerashub(make):
    layer = make()
    by_place = layer(X.astype("float32"), PADDING, CAUSAL)
    by_name = layer(X.astype("float32"), padding_mask=PADDING, attention_mask=CAUSAL)
    np.testing.assert_array_equal(numpy(by_place), numpy(by_name))


def test_attention_scores_come_where_they_are_asked_for(make):
    layer = make()
    outputs, scores = layer(X.astype("float32"), padding_mask=PADDING, return_attention_scores=True)
    allowed = np.broadcast_to(PADDING[:, None, :] > 0, (2, 5, 5))
    np.testing.assert_allclose(numpy(scores), attention(X, weights(layer), allowed)[1], **TOLERANCE)
    np.testing.assert_allclose(numpy(outputs), expected(layer, X, allowed), **TOLERANCE)


def test_attention_scores_come_in_functional_models_too(make):
    layer = make()
    x = keras.Input((None, 8))
    model = keras.Model(x, layer(x, return_attention_scores=True))
    assert [output.shape for output in model.outputs] == [(None, None, 8), (None, 2, None, None)]
    outputs, scores = model(X.astype("float32"))
    assert numpy(scores).shape == (2, 2, 5, 5)
    np.testing.assert_allclose(numpy(outputs), numpy(layer(X.astype("float32"))), **TOLERANCE)


def test_texts_of_one_row_do_not_see_each_other(make):
    layer = make()
    packed = np.array([[1, 1, 2, 2, 2]])
    outputs = numpy(layer(X[:1].astype("float32"), padding_mask=packed))
    for part in (slice(0, 2), slice(2, 5)):
        alone = numpy(layer(X[:1, part].astype("float32")))
        np.testing.assert_allclose(outputs[:, part], alone, **TOLERANCE)


def test_dropout_acts_in_training_alone(make):
    layer = make(dropout=0.5)
    x = X.astype("float32")
    np.testing.assert_array_equal(numpy(layer(x)), numpy(layer(x, training=False)))
    assert np.abs(numpy(layer(x, training=True)) - numpy(layer(x))).max() > 1e-3


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "mixed_float16"])
def test_half_floats_stay_finite(dtype):
    layer = TransformerEncoder(16, 2, dtype=dtype)
    x = (X * 100).astype("float32")
    for mask in (PADDING, np.zeros_like(PADDING)):
        outputs = keras.ops.cast(layer(x, padding_mask=mask), "float32")
        assert np.isfinite(numpy(outputs)).all()


def test_heads_that_do_not_divide_the_width_are_refused():
    expected = "`num_heads` must divide .* Received: num_heads=3, hidden_dim=8"
    with pytest.raises(ConfigError, match=expected):
        TransformerEncoder(16, 3)(X)


def test_an_unknown_activation_is_refused_at_once():
    with pytest.raises(ConfigError, match="Activation 'gellu' is not known"):
        TransformerEncoder(16, 2, activation="gellu")


def test_the_abstract_block_says_what_is_missing():
    with pytest.raises(NotImplementedError, match="TransformerBlock has to define `make_self_at"):
        TransformerBlock(16, 2).build((None, None, 8))
