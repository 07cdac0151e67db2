"""What the blocks of transformers have in common."""

from typing import ClassVar

import keras

from clozework.errors import ConfigError
from clozework.layers.activations import activation_config, activation_function
from clozework.layers.dense import Dense
from clozework.layers.dropout import Dropout
from clozework.layers.repeated_block import RepeatedBlock

__all__ = ["TransformerBlock"]


class TransformerBlock(RepeatedBlock):
    """Base class of the blocks of encoders and decoders: everything but the kind of attention.

    Abstract: a subclass gives `make_self_attention` and `call`. The attributes' names are part of
    the format of stored weights.
    """

    # Whether it can compute some tokens alone; see `query_tokens`.
    has_query_tokens: ClassVar[bool] = False

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
        self._feedforward_intermediate_dense = Dense(
            self.intermediate_dim,
            activation=activation_function(self.activation),
            kernel_initializer=self.kernel_initializer.clone(),
            bias_initializer=self.bias_initializer.clone(),
            dtype=self.dtype_policy,
            name="feedforward_intermediate_dense",
        )
        self._feedforward_output_dense = Dense(
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
        return Dropout(rate=self.dropout, dtype=self.dtype_policy, name=name)
