"""An encoder block with rotary positions, a window for attention, and a gated feed-forward network.

Paper: Warner et al., 2024, https://arxiv.org/abs/2412.13663, section 2.1.
"""

import math

import keras
from keras import ops

from clozework.errors import ConfigError
from clozework.kernels import activate
from clozework.layers.activations import activation_config, activation_function
from clozework.layers.dense import Dense
from clozework.layers.dropout import Dropout
from clozework.layers.repeated_block import RepeatedBlock
from clozework.layers.rotary_embedding import RotaryEmbedding
from clozework.layers.self_attention import attended
from clozework.layers.text_masks import (
    joined_masks,
    near_tokens_mask,
    positions_within_texts,
    self_attention_mask,
)

__all__ = ["RotaryEncoderBlock", "RotarySelfAttention"]


@keras.saving.register_keras_serializable("clozework")
class RotarySelfAttention(keras.layers.Layer):
    """Self-attention whose queries and keys are rotated by their position; without biases.

    Args:
        num_heads: Attention heads; must divide `hidden_dim` into even widths.
        hidden_dim: Width of the token vectors.
        window: Tokens that one sees, half of them on each side of it; None for all of its text.
        max_wavelength: Base of the rotations' wavelengths, in positions.
        dropout: Share of attention weights dropped in training.
        kernel_initializer: Of both projections.

    Call arguments:
        inputs: `(batch, tokens, hidden_dim)`.
        padding_mask: `(batch, tokens)`; see `clozework.layers`.

    Outputs: `(batch, tokens, hidden_dim)`.

    Raises:
        ConfigError: If the heads do not have an even width.

    Example:
    >>> RotarySelfAttention(num_heads=2, hidden_dim=8, window=4)(np.zeros((1, 5, 8))).shape
    (1, 5, 8)
    """

    def __init__(
        self,
        num_heads,
        hidden_dim,
        window=None,
        max_wavelength: float = 10000,
        dropout: float = 0.0,
        kernel_initializer="glorot_uniform",
        **kwargs,
    ):
        super().__init__(**kwargs)
        if hidden_dim % (2 * num_heads):
            raise ConfigError(
                f"Rotations need heads of an even width. Received: hidden_dim={hidden_dim} for "
                f"num_heads={num_heads}."
            )
        self.num_heads = num_heads
        self.hidden_dim = hidden_dim
        self.window = window
        self.max_wavelength = max_wavelength
        self.dropout = dropout
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.supports_masking = True
        self.head_dim = hidden_dim // num_heads

    def build(self, inputs_shape, *other_shapes, **named_shapes):
        self._query_key_value_dense = _dense(self, 3 * self.hidden_dim, "query_key_value")
        self._output_dense = _dense(self, self.hidden_dim, "attention_output")
        self._rotary_embedding = RotaryEmbedding(
            self.max_wavelength, dtype=self.dtype_policy, name="rotary_embedding"
        )
        self._attention_dropout = Dropout(
            self.dropout, dtype=self.dtype_policy, name="attention_dropout"
        )
        self._query_key_value_dense.build(inputs_shape)
        self._output_dense.build(inputs_shape)

    def call(self, inputs, padding_mask=None, training=None):
        batch, tokens = ops.shape(inputs)[:2]
        x = self._query_key_value_dense(inputs)
        x = ops.reshape(x, (batch, tokens, 3, self.num_heads, self.head_dim))
        positions = None if padding_mask is None else positions_within_texts(padding_mask)
        rotated = self._rotary_embedding(x[:, :, :2], positions=positions)
        query, key, value = (
            ops.swapaxes(part, 1, 2) for part in (rotated[:, :, 0], rotated[:, :, 1], x[:, :, 2])
        )
        # Scaled before the products, which then stay within the range of float16.
        query = query * (1.0 / math.sqrt(self.head_dim))
        x = attended(
            query,
            key,
            value,
            mask=self._mask(tokens, padding_mask),
            dropout=self._attention_dropout,
            training=training,
        )
        return self._output_dense(ops.reshape(x, (batch, tokens, self.hidden_dim)))

    def compute_output_shape(self, inputs_shape, *other_shapes, **named_shapes):
        return inputs_shape

    def get_config(self):
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "hidden_dim": self.hidden_dim,
            "window": self.window,
            "max_wavelength": self.max_wavelength,
            "dropout": self.dropout,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }

    def _mask(self, tokens, padding_mask):
        """Booleans `(batch, tokens, tokens)`: what is near enough and of the same text, or None."""
        # Texts are whole runs of a row, so that places in it are as far apart as positions in them.
        near = None if self.window is None else near_tokens_mask(tokens, self.window // 2)
        same_text = None if padding_mask is None else self_attention_mask(padding_mask)
        return joined_masks(near, same_text)


@keras.saving.register_keras_serializable("clozework")
class RotaryEncoderBlock(RepeatedBlock):
    """Rotary self-attention and a gated feed-forward network, both normalised first; no biases.

    Args:
        intermediate_dim: Width of the hidden layer of the feed-forward network, and of its gate.
        num_heads, window, max_wavelength: As in `RotarySelfAttention`.
        dropout: Share of activations dropped in training.
        activation: Of the hidden layer, which the gate multiplies.
        layer_norm_epsilon: Added to the variance in layer normalisation.
        normalizes_input: Whether attention's input is normalised; in ModernBERT the first block's
            is already, as an embedding.
        kernel_initializer: Of all dense layers.

    Call arguments:
        inputs: `(batch, tokens, hidden_dim)`.
        padding_mask: `(batch, tokens)`; see `clozework.layers`.

    Outputs: `(batch, tokens, hidden_dim)`.

    Example:
    >>> RotaryEncoderBlock(intermediate_dim=16, num_heads=2, window=4)(np.zeros((1, 5, 8))).shape
    (1, 5, 8)
    """

    def __init__(
        self,
        intermediate_dim,
        num_heads,
        window=None,
        max_wavelength: float = 10000,
        dropout: float = 0.0,
        activation="gelu",
        layer_norm_epsilon=1e-05,
        normalizes_input=True,
        kernel_initializer="glorot_uniform",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.intermediate_dim = intermediate_dim
        self.num_heads = num_heads
        self.window = window
        self.max_wavelength = max_wavelength
        self.dropout = dropout
        self.activation = activation
        self.layer_norm_epsilon = layer_norm_epsilon
        self.normalizes_input = normalizes_input
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.supports_masking = True
        # Fails now, not at the first input, where the activation is not known.
        activation_function(activation)

    def build(self, inputs_shape, *other_shapes, **named_shapes):
        hidden_dim = inputs_shape[-1]
        self._self_attention_layer = RotarySelfAttention(
            self.num_heads,
            hidden_dim,
            window=self.window,
            max_wavelength=self.max_wavelength,
            dropout=self.dropout,
            kernel_initializer=self.kernel_initializer.clone(),
            dtype=self.dtype_policy,
            name="self_attention_layer",
        )
        self._self_attention_layer_norm = (
            self._layer_norm("self_attention_layer_norm") if self.normalizes_input else None
        )
        self._feedforward_layer_norm = self._layer_norm("feedforward_layer_norm")
        self._feedforward_gated_dense = _dense(
            self, 2 * self.intermediate_dim, "feedforward_gated_dense"
        )
        self._feedforward_output_dense = _dense(self, hidden_dim, "feedforward_output_dense")
        self._dropout = Dropout(self.dropout, dtype=self.dtype_policy, name="dropout")
        self._self_attention_layer.build(inputs_shape)
        if self._self_attention_layer_norm is not None:
            self._self_attention_layer_norm.build(inputs_shape)
        self._feedforward_layer_norm.build(inputs_shape)
        self._feedforward_gated_dense.build(inputs_shape)
        self._feedforward_output_dense.build((*inputs_shape[:-1], self.intermediate_dim))

    def call(self, inputs, padding_mask=None, training=None):
        x = inputs
        if self._self_attention_layer_norm is not None:
            x = self._self_attention_layer_norm(x)
        x = self._self_attention_layer(x, padding_mask=padding_mask, training=training)
        x = inputs + self._dropout(x, training=training)
        return x + self._feed_forward(self._feedforward_layer_norm(x), training)

    def compute_output_shape(self, inputs_shape, *other_shapes, **named_shapes):
        return inputs_shape

    def get_config(self):
        return {
            **super().get_config(),
            "intermediate_dim": self.intermediate_dim,
            "num_heads": self.num_heads,
            "window": self.window,
            "max_wavelength": self.max_wavelength,
            "dropout": self.dropout,
            "activation": activation_config(self.activation),
            "layer_norm_epsilon": self.layer_norm_epsilon,
            "normalizes_input": self.normalizes_input,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }

    def _feed_forward(self, x, training):
        hidden, gate = ops.split(self._feedforward_gated_dense(x), 2, axis=-1)
        hidden = activate(activation_function(self.activation), hidden) * gate
        return self._feedforward_output_dense(self._dropout(hidden, training=training))

    def _layer_norm(self, name):
        return keras.layers.LayerNormalization(
            epsilon=self.layer_norm_epsilon, center=False, dtype=self.dtype_policy, name=name
        )


def _dense(layer, width, name):
    return Dense(
        width,
        use_bias=False,
        kernel_initializer=layer.kernel_initializer.clone(),
        dtype=layer.dtype_policy,
        name=name,
    )
