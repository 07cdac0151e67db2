"""Layers that are stored and loaded, by themselves and in functional models."""

import json

import keras
import numpy as np
import pytest

from clozework import layers
from clozework.errors import ConfigError
from tests.unit.layers.references import numpy, randomize


@keras.saving.register_keras_serializable("clozework tests")
def cubed(x):
    return x * x * x


LAYERS = {
    "encoder": lambda: layers.TransformerEncoder(
        16, 2, 0.25, "gelu_tanh", 1e-4, "he_normal", "ones", normalize_first=True, name="block"
    ),
    "encoder of a function": lambda: layers.TransformerEncoder(
        16, 2, activation=keras.activations.gelu
    ),
    "encoder of an own function": lambda: layers.TransformerEncoder(16, 2, activation=cubed),
    "encoder of our function": lambda: layers.TransformerEncoder(
        16, 2, activation=layers.activation_function("gelu_new")
    ),
    "decoder": lambda: layers.TransformerDecoder(
        16, 2, 0.25, "gelu_tanh", 1e-4, "he_normal", "ones", normalize_first=True, name="block"
    ),
    "logits bias": lambda: layers.LogitsBias(name="bias"),
    "cached attention": lambda: layers.CachedMultiHeadAttention(2, 4, dropout=0.2, use_gate=True),
    "positions": lambda: layers.PositionEmbedding(8, initializer="he_normal"),
    "sines": lambda: layers.SinePositionEncoding(100),
    "tokens": lambda: layers.ReversibleEmbedding(10, 4, tie_weights=False, mask_zero=True),
    "tokens and positions": lambda: layers.TokenAndPositionEmbedding(10, 8, 4, mask_zero=True),
    "head": lambda: layers.MaskedLMHead(10, None, "gelu", "softmax", 1e-4),
    "head of functions": lambda: layers.MaskedLMHead(
        10, activation=keras.activations.softmax, intermediate_activation=cubed
    ),
    "head without biases": lambda: layers.MaskedLMHead(10, use_intermediate_bias=False),
    "head of an embedding": lambda: layers.MaskedLMHead(
        token_embedding=layers.ReversibleEmbedding(10, 8)
    ),
    "relative": lambda: layers.RelativeEmbedding(8, 4, 1e-4, "he_normal"),
    "bias": lambda: layers.RelativePositionBias(2, 8, 64, "he_normal"),
    "biased": lambda: layers.BiasedSelfAttention(2, 8, 0.2, "he_normal", "ones"),
    "biased block": lambda: layers.BiasedTransformerEncoder(16, 2, 0.2, "gelu"),
    "disentangled": lambda: layers.DisentangledSelfAttention(2, 8, 32, 4, 0.2),
    "disentangled block": lambda: layers.DisentangledAttentionEncoder(
        16, 2, 32, 4, dropout=0.2, activation="gelu"
    ),
    "rotations": lambda: layers.RotaryEmbedding(100, 2.0, "yarn", 16.0, truncate=False),
    "rotating block": lambda: layers.RotaryEncoderBlock(
        16, 2, 6, 100.0, 0.2, "relu", 1e-4, False, "he_normal"
    ),
    "rotating": lambda: layers.RotarySelfAttention(2, 8, 6, 100.0, 0.2, "he_normal"),
    "root mean squares": lambda: layers.RMSNormalization(1e-3),
    "gemma": lambda: layers.GemmaDecoderBlock(8, 16, 4, 2, 1, False, True, True, 5.0, True, 7),
}


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_a_config_makes_an_equal_layer(make):
    layer = make()
    stored = json.dumps(keras.saving.serialize_keras_object(layer))
    restored = keras.saving.deserialize_keras_object(json.loads(stored))
    assert type(restored) is type(layer)
    assert restored.get_config() == layer.get_config()
    assert type(layer).from_config(layer.get_config()).get_config() == layer.get_config()


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_precision_and_names_are_kept(make):
    layer = make()
    changed = {**layer.get_config(), "dtype": "bfloat16", "name": "another", "trainable": False}
    restored = type(layer).from_config(changed)
    assert (restored.name, restored.trainable) == ("another", False)
    assert restored.compute_dtype == "bfloat16"


def masked_lm_of_layers():
    ids = keras.Input((None,), dtype="int32", name="ids")
    mask = keras.Input((None,), dtype="int32", name="mask")
    places = keras.Input((None,), dtype="int32", name="places")
    embedding = layers.TokenAndPositionEmbedding(10, 8, 8)
    x = embedding(ids, padding_mask=mask)
    x = keras.layers.Add()([x, layers.SinePositionEncoding()(x)])
    x = layers.TransformerEncoder(16, 2, activation="gelu")(x, padding_mask=mask)
    relative = layers.RelativeEmbedding(8, 4)(x)
    x = layers.DisentangledAttentionEncoder(16, 2, 16, 4)(
        x, rel_embeddings=relative, padding_mask=mask
    )
    scores = layers.MaskedLMHead(10)(x, places)
    return keras.Model({"ids": ids, "mask": mask, "places": places}, scores)


def test_a_functional_model_of_all_layers_is_saved_and_loaded(tmp_path):
    model = masked_lm_of_layers()
    for layer in model.layers:
        randomize(layer)
    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras")
    inputs = {
        "ids": np.array([[1, 2, 3, 0]]),
        "mask": np.array([[1, 1, 1, 0]]),
        "places": np.array([[1, 2]]),
    }
    np.testing.assert_array_equal(numpy(restored(inputs)), numpy(model(inputs)))
    np.testing.assert_allclose(
        restored.predict(inputs, verbose=0), numpy(model(inputs)), rtol=1e-5, atol=1e-5
    )


def test_a_head_shares_its_embedding_after_loading(tmp_path):
    ids = keras.Input((None,), dtype="int32")
    places = keras.Input((None,), dtype="int32")
    embedding = layers.ReversibleEmbedding(10, 8)
    head = layers.MaskedLMHead(token_embedding=embedding)
    model = keras.Model([ids, places], head(embedding(ids), places))
    for layer in model.layers:
        randomize(layer)
    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras")
    inputs = [np.array([[1, 2, 3]]), np.array([[0, 2]])]
    np.testing.assert_array_equal(numpy(restored(inputs)), numpy(model(inputs)))
    assert len(restored.weights) == len(model.weights)


def test_activations_have_one_name_each():
    assert layers.activation_name(None) == "linear"
    assert layers.activation_name("gelu_pytorch_tanh") == "gelu_tanh"
    assert layers.activation_name("swish") == layers.activation_name(keras.activations.silu)
    assert layers.activation_name(layers.activation_function("gelu_new")) == "gelu_tanh"
    assert layers.activation_function(cubed) is cubed


@pytest.mark.parametrize(
    "activation", ["gellu", cubed, 3], ids=["misspelled", "unknown function", "number"]
)
def test_an_activation_without_a_name_is_refused(activation):
    with pytest.raises(ConfigError, match="Activation .* is not known. Known are: elu, gelu"):
        layers.activation_name(activation)
