"""The encoder block that mixes tokens with a Fourier transform instead of attention."""

import keras
from keras import ops

from clozework.layers.activations import activation_config, activation_function
from clozework.layers.dense import Dense
from clozework.layers.dropout import Dropout

__all__ = ["FNetEncoder"]


@keras.saving.register_keras_serializable("clozework")
class FNetEncoder(keras.layers.Layer):
    """Fourier mixing and a feed-forward network, each with a residual and layer normalisation.

    Mixing is the real part of the two-dimensional Fourier transform over tokens and components. It
    has no weights and no mask: every place of a row takes part, padding included.

    Paper: Lee-Thorp et al., 2021, https://arxiv.org/abs/2105.03824

    Args:
        intermediate_dim: Width of the hidden layer of the feed-forward network.
        dropout: Share of activations dropped in training.
        activation: Of the feed-forward network.
        layer_norm_epsilon: Added to the variance in layer normalisation.
        kernel_initializer, bias_initializer: Of the dense layers.

    Call arguments:
        inputs: `(batch, tokens, hidden_dim)`.

    Outputs: `(batch, tokens, hidden_dim)`.

    Example:
    >>> FNetEncoder(intermediate_dim=16)(np.zeros((1, 5, 8))).shape
    (1, 5, 8)
    """

    def __init__(
        self,
        intermediate_dim,
        dropout: float = 0,
        activation="relu",
        layer_norm_epsilon=1e-05,
        kernel_initializer="glorot_uniform",
        bias_initializer="zeros",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.intermediate_dim = intermediate_dim
        self.dropout = dropout
        self.activation = activation
        self.layer_norm_epsilon = layer_norm_epsilon
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        # Fails now, not at the first input, where the activation is not known.
        activation_function(activation)

    def build(self, inputs_shape):
        hidden_dim = inputs_shape[-1]
        # It takes the mixed row in float32, see `call`.
        self._mixing_layer_norm = self._layer_norm("mixing_layer_norm", autocast=False)
        self._intermediate_dense = self._dense(
            self.intermediate_dim, "intermediate_dense", activation_function(self.activation)
        )
        self._output_dense = self._dense(hidden_dim, "output_dense")
        self._output_dropout = Dropout(self.dropout, dtype=self.dtype_policy, name="output_dropout")
        self._output_layer_norm = self._layer_norm("output_layer_norm")
        self._mixing_layer_norm.build(inputs_shape)
        self._intermediate_dense.build(inputs_shape)
        self._output_dense.build((*inputs_shape[:-1], self.intermediate_dim))
        self._output_layer_norm.build(inputs_shape)

    def call(self, inputs, training=None):
        # In float32 until it is normalised: the sum over a whole row exceeds what float16 holds,
        # and no backend transforms half floats.
        x = ops.cast(inputs, "float32")
        mixed, _ = ops.fft2((x, ops.zeros_like(x)))
        x = ops.cast(self._mixing_layer_norm(x + mixed), self.compute_dtype)
        residual = x
        x = self._intermediate_dense(x)
        x = self._output_dense(x)
        x = self._output_dropout(x, training=training)
        return self._output_layer_norm(residual + x)

    def compute_output_shape(self, inputs_shape):
        return inputs_shape

    def get_config(self):
        return {
            **super().get_config(),
            "intermediate_dim": self.intermediate_dim,
            "dropout": self.dropout,
            "activation": activation_config(self.activation),
            "layer_norm_epsilon": self.layer_norm_epsilon,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
        }

    def _dense(self, units, name, activation=None):
        return Dense(
            units,
            activation=activation,
            kernel_initializer=self.kernel_initializer.clone(),
            bias_initializer=self.bias_initializer.clone(),
            dtype=self.dtype_policy,
            name=name,
        )

    def _layer_norm(self, name, **options):
        return keras.layers.LayerNormalization(
            epsilon=self.layer_norm_epsilon, dtype=self.dtype_policy, name=name, **options
        )
