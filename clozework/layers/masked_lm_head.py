"""The head that predicts masked tokens."""

import keras
from keras import ops

from clozework.backend import known_values
from clozework.errors import ConfigError, InputError
from clozework.kernels import matmul
from clozework.layers.activations import activation_config, activation_function
from clozework.layers.dense import Dense

__all__ = ["MaskedLMHead"]


@keras.saving.register_keras_serializable("clozework")
class MaskedLMHead(keras.layers.Layer):
    """Scores over the vocabulary at the positions asked for.

    A dense layer with activation and layer normalisation, then the token embedding read backwards
    plus a bias, as in Devlin et al., 2018, https://arxiv.org/abs/1810.04805.

    Args:
        vocabulary_size: Number of tokens; not needed with `token_embedding`.
        token_embedding: The model's `ReversibleEmbedding`, whose vectors are used again.
        intermediate_activation: Of the dense layer.
        activation: Of the output; None for logits.
        layer_norm_epsilon: Added to the variance in layer normalisation.
        kernel_initializer, bias_initializer: Of the dense layer and the output.
        use_intermediate_bias: Whether the dense layer and the normalisation have biases.

    Call arguments:
        inputs: `(batch, tokens, hidden_dim)`.
        mask_positions: Integers `(batch, masks)`, positions in the row.

    Outputs: `(batch, masks, vocabulary)`.

    Raises:
        ConfigError: If neither `vocabulary_size` nor `token_embedding` is given, or they differ.
        InputError: If there is no such position, where positions are known.

    Example:
    >>> MaskedLMHead(vocabulary_size=10)(np.zeros((2, 5, 4)), np.array([[1, 2], [0, 4]])).shape
    (2, 2, 10)
    """

    def __init__(
        self,
        vocabulary_size=None,
        token_embedding=None,
        intermediate_activation="relu",
        activation=None,
        layer_norm_epsilon=1e-05,
        kernel_initializer="glorot_uniform",
        bias_initializer="zeros",
        *,
        use_intermediate_bias=True,
        **kwargs,
    ):
        # The embedding belongs to the backbone; as a sub-layer it would be stored twice.
        super().__init__(**kwargs, autocast=False)
        known_size = vocabulary_size if token_embedding is None else token_embedding.input_dim
        if known_size is None:
            raise ConfigError("MaskedLMHead needs `token_embedding` or `vocabulary_size`.")
        if vocabulary_size not in (None, known_size):
            raise ConfigError(
                f"`vocabulary_size` must be the token embedding's. Received: vocabulary_size="
                f"{vocabulary_size}, a token embedding of {known_size} tokens."
            )
        self.token_embedding = token_embedding
        self.vocabulary_size = known_size
        self.intermediate_activation = intermediate_activation
        self.activation = activation
        self.layer_norm_epsilon = layer_norm_epsilon
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.use_intermediate_bias = use_intermediate_bias

    def build(self, inputs_shape, mask_positions_shape=None):
        hidden_dim = inputs_shape[-1]
        self._intermediate_dense = Dense(
            # Narrower token vectors (ELECTRA, ALBERT) are met by the dense layer.
            self.token_embedding.output_dim if self.token_embedding is not None else hidden_dim,
            activation=activation_function(self.intermediate_activation),
            use_bias=self.use_intermediate_bias,
            kernel_initializer=self.kernel_initializer,
            bias_initializer=self.bias_initializer,
            dtype=self.dtype_policy,
            name="intermediate_dense",
        )
        self._intermediate_layer_norm = keras.layers.LayerNormalization(
            epsilon=self.layer_norm_epsilon,
            center=self.use_intermediate_bias,
            dtype=self.dtype_policy,
            name="intermediate_layer_norm",
        )
        self._intermediate_dense.build((None, None, hidden_dim))
        self._intermediate_layer_norm.build((None, None, self._intermediate_dense.units))
        if self.token_embedding is None:
            self._kernel = self.add_weight(
                name="output_kernel",
                shape=(hidden_dim, self.vocabulary_size),
                initializer=self.kernel_initializer,
            )
        self._bias = self.add_weight(
            name="output_bias", shape=(self.vocabulary_size,), initializer=self.bias_initializer
        )

    def call(self, inputs, mask_positions):
        self._check_positions(known_values(mask_positions), inputs.shape[1])
        positions = ops.expand_dims(ops.cast(mask_positions, "int32"), -1)
        x = ops.take_along_axis(inputs, positions, axis=1)
        x = self._intermediate_dense(x)
        x = self._intermediate_layer_norm(x)
        if self.token_embedding is not None:
            x = self.token_embedding(x, reverse=True)
        else:
            x = matmul(x, ops.cast(self._kernel, x.dtype))
        x = x + ops.cast(self._bias, x.dtype)
        return activation_function(self.activation)(x)

    def compute_output_shape(self, inputs_shape, mask_positions_shape):
        return (*mask_positions_shape, self.vocabulary_size)

    def _check_positions(self, positions, tokens: int | None) -> None:
        if positions is None or tokens is None or not positions.size:
            return
        if positions.min() < 0 or positions.max() >= tokens:
            raise InputError(
                f"`mask_positions` goes from {positions.min()} to {positions.max()}, but rows have "
                f"the positions 0 to {tokens - 1}."
            )

    @classmethod
    def from_config(cls, config):
        embedding = keras.saving.deserialize_keras_object(config.get("token_embedding"))
        return cls(**{**config, "token_embedding": embedding})

    def get_config(self):
        return {
            **super().get_config(),
            "vocabulary_size": self.vocabulary_size,
            "token_embedding": keras.saving.serialize_keras_object(self.token_embedding),
            "intermediate_activation": activation_config(self.intermediate_activation),
            "activation": activation_config(self.activation),
            "layer_norm_epsilon": self.layer_norm_epsilon,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
            "use_intermediate_bias": self.use_intermediate_bias,
        }
