"""The transformer's encoder block."""

import keras
from keras import ops

from clozework.errors import ConfigError
from clozework.layers.activations import activation_config, activation_function
from clozework.layers.text_masks import self_attention_mask

__all__ = ["EncoderBlock", "TransformerEncoder"]


class EncoderBlock(keras.layers.Layer):
    """What encoder blocks have in common: everything but the kind of self-attention.

    Abstract: a subclass gives `make_self_attention` and `attend`. The attributes' names are part
    of the format of stored weights.
    """

    def __init__(
        self,
        intermediate_dim,
        num_heads,
        dropout: float = 0,
        activation="relu",
        layer_norm_epsilon=1e-05,
        kernel_initializer="glorot_uniform",
        bias_initializer="zeros",
        normalize_first=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.intermediate_dim = intermediate_dim
        self.num_heads = num_heads
        self.dropout = dropout
        self.activation = activation
        self.layer_norm_epsilon = layer_norm_epsilon
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.normalize_first = normalize_first
        self.supports_masking = True
        # Fails now, not at the first input, where the activation is not known.
        activation_function(activation)

    def make_self_attention(self, hidden_dim):
        """Returns the layer that joins the tokens of one text."""
        raise NotImplementedError(f"{type(self).__name__} has to define `make_self_attention`.")

    def build(self, inputs_shape):
        hidden_dim = inputs_shape[-1]
        if hidden_dim % self.num_heads:
            raise ConfigError(
                f"`num_heads` must divide the width of the input. Received: "
                f"num_heads={self.num_heads}, hidden_dim={hidden_dim}."
            )
        self._self_attention_layer = self.make_self_attention(hidden_dim)
        self._self_attention_layer_norm = self._layer_norm("self_attention_layer_norm")
        self._self_attention_dropout = self._dropout("self_attention_dropout")
        self._feedforward_layer_norm = self._layer_norm("feedforward_layer_norm")
        self._feedforward_intermediate_dense = keras.layers.Dense(
            self.intermediate_dim,
            activation=activation_function(self.activation),
            kernel_initializer=self.kernel_initializer.clone(),
            bias_initializer=self.bias_initializer.clone(),
            dtype=self.dtype_policy,
            name="feedforward_intermediate_dense",
        )
        self._feedforward_output_dense = keras.layers.Dense(
            hidden_dim,
            kernel_initializer=self.kernel_initializer.clone(),
            bias_initializer=self.bias_initializer.clone(),
            dtype=self.dtype_policy,
            name="feedforward_output_dense",
        )
        self._feedforward_dropout = self._dropout("feedforward_dropout")
        self._self_attention_layer_norm.build(inputs_shape)
        self._feedforward_layer_norm.build(inputs_shape)
        self._feedforward_intermediate_dense.build(inputs_shape)
        self._feedforward_output_dense.build((*inputs_shape[:-1], self.intermediate_dim))

    def join_attention(self, x, residual, training):
        """Adds what attention gave to the stream."""
        x = residual + self._self_attention_dropout(x, training=training)
        return x if self.normalize_first else self._self_attention_layer_norm(x)

    def feed_forward(self, x, training):
        """Applies the feed-forward network to every token."""
        residual = x
        if self.normalize_first:
            x = self._feedforward_layer_norm(x)
        x = self._feedforward_intermediate_dense(x)
        x = self._feedforward_output_dense(x)
        x = residual + self._feedforward_dropout(x, training=training)
        return x if self.normalize_first else self._feedforward_layer_norm(x)

    def get_config(self):
        return {
            **super().get_config(),
            "intermediate_dim": self.intermediate_dim,
            "num_heads": self.num_heads,
            "dropout": self.dropout,
            "activation": activation_config(self.activation),
            "layer_norm_epsilon": self.layer_norm_epsilon,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
            "normalize_first": self.normalize_first,
        }

    def _layer_norm(self, name):
        return keras.layers.LayerNormalization(
            epsilon=self.layer_norm_epsilon, dtype=self.dtype_policy, name=name
        )

    def _dropout(self, name):
        return keras.layers.Dropout(rate=self.dropout, dtype=self.dtype_policy, name=name)


@keras.saving.register_keras_serializable("clozework")
class TransformerEncoder(EncoderBlock):
    """Self-attention and a feed-forward network, each with a residual and layer normalisation.

    Paper: Vaswani et al., 2017, https://arxiv.org/abs/1706.03762

    Args:
        intermediate_dim: Width of the hidden layer of the feed-forward network.
        num_heads: Attention heads; must divide the width of the input.
        dropout: Share of activations dropped in training.
        activation: Of the feed-forward network.
        layer_norm_epsilon: Added to the variance in layer normalisation.
        kernel_initializer, bias_initializer: Of all dense layers.
        normalize_first: Whether normalisation comes before a sub-layer instead of after it.

    Call arguments:
        inputs: `(batch, tokens, hidden_dim)`.
        padding_mask: `(batch, tokens)`; see `clozework.layers`.
        attention_mask: `(batch, tokens, tokens)`, further limits; 1 where attention is allowed.
        return_attention_scores: Whether to return the scores `(batch, heads, tokens, tokens)` too.

    Outputs: `(batch, tokens, hidden_dim)`.

    Example:
    >>> TransformerEncoder(intermediate_dim=16, num_heads=2)(np.zeros((1, 5, 8))).shape
    (1, 5, 8)
    """

    def make_self_attention(self, hidden_dim):
        return keras.layers.MultiHeadAttention(
            num_heads=self.num_heads,
            key_dim=hidden_dim // self.num_heads,
            dropout=self.dropout,
            kernel_initializer=self.kernel_initializer.clone(),
            bias_initializer=self.bias_initializer.clone(),
            dtype=self.dtype_policy,
            name="self_attention_layer",
        )

    def build(self, inputs_shape):
        super().build(inputs_shape)
        self._self_attention_layer.build(query_shape=inputs_shape, value_shape=inputs_shape)

    def call(
        self,
        inputs,
        padding_mask=None,
        attention_mask=None,
        training=None,
        return_attention_scores=False,
    ):
        x = self._self_attention_layer_norm(inputs) if self.normalize_first else inputs
        x = self._self_attention_layer(
            query=x,
            value=x,
            attention_mask=_joined_mask(padding_mask, attention_mask),
            return_attention_scores=return_attention_scores,
            training=training,
        )
        x, scores = x if return_attention_scores else (x, None)
        x = self.join_attention(x, inputs, training)
        x = self.feed_forward(x, training)
        return (x, scores) if return_attention_scores else x

    def compute_output_shape(self, inputs_shape):
        return inputs_shape

    def compute_output_spec(
        self,
        inputs,
        padding_mask=None,
        attention_mask=None,
        training=None,
        return_attention_scores=False,
    ):
        x = keras.KerasTensor(inputs.shape, dtype=self.compute_dtype)
        if not return_attention_scores:
            return x
        batch, tokens = inputs.shape[:2]
        shape = (batch, self.num_heads, tokens, tokens)
        return x, keras.KerasTensor(shape, dtype=self.compute_dtype)


def _joined_mask(padding_mask, attention_mask):
    if padding_mask is None:
        return attention_mask
    mask = self_attention_mask(padding_mask)
    if attention_mask is None:
        return mask
    return ops.logical_and(mask, ops.cast(attention_mask, "bool"))
