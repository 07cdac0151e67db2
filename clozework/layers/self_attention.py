"""Self-attention for encoder blocks whose scores depend on more than the two tokens."""

import keras
from keras import ops

from clozework.errors import ConfigError
from clozework.kernels import computed_in_parts, fused_attention, matmul
from clozework.layers.dense import Dense, EinsumDense
from clozework.layers.dropout import Dropout
from clozework.layers.query_tokens import ALL_TOKENS, QueryTokens

__all__ = ["ScoredSelfAttention", "attended"]


def attended(query, key, value, *, mask, dropout, training, bias=None):
    """Returns the values joined by the scores of query and key; in one kernel, where there is one.

    Args:
        query: `(batch, heads, query tokens, head_dim)`, scaled.
        key, value: `(batch, heads, tokens, head_dim)`.
        mask: `(batch, query tokens, tokens)`, 1 where attention is allowed; None for everywhere.
        dropout: Layer that drops some of the weights.
        training: Whether it does.
        bias: Added to the scores; `(batch or 1, heads, query tokens, tokens)`.

    Returns:
        `(batch, query tokens, heads, head_dim)`.
    """
    rate = dropout.rate if training else 0.0
    x = fused_attention(query, key, value, bias=bias, mask=mask, dropout=rate)
    if x is None:

        def attend(query, key, value, bias, mask):
            scores = matmul(query, ops.swapaxes(key, -1, -2))
            scores = scores if bias is None else scores + bias
            weights = _attention_weights(scores, mask, value.dtype)
            return matmul(dropout(weights, training=training), value)

        shape = (query.shape[2], key.shape[2])
        x = computed_in_parts(attend, query, key, value, bias, mask, matrix_shape=shape)
    return ops.swapaxes(x, 1, 2)


def _attention_weights(scores, attention_mask, dtype):
    """Returns how much each token counts for another: the softmax of scores over what is allowed.

    Args:
        scores: `(batch, heads, tokens, keys)`.
        attention_mask: `(batch, tokens, keys)`, or None where everything is allowed.
        dtype: Of the weights.

    Example:
    >>> scores, mask = np.zeros((1, 1, 1, 4)), np.array([[[1, 1, 0, 0]]])
    >>> ops.convert_to_numpy(_attention_weights(scores, mask, "float32")).tolist()
    [[[[0.5, 0.5, 0.0, 0.0]]]]
    """
    if scores.shape[-1] == 1:
        # One token attends to itself; Keras would ask whether a sigmoid was meant.
        return ops.ones_like(scores)
    # Half floats lose too much in the sum of a long softmax.
    scores = ops.cast(scores, "float32")
    if attention_mask is not None:
        allowed = ops.expand_dims(ops.cast(attention_mask, "bool"), 1)
        scores = ops.where(allowed, scores, -1e9)
    return ops.cast(ops.softmax(scores, axis=-1), dtype)


class ScoredSelfAttention(keras.layers.Layer):
    """Everything of self-attention but the scores.

    Abstract: a subclass's `call` takes `projected`, and gives it to `joined` with what it adds to
    the scores. The names of the projections are part of the format of stored weights.
    """

    def __init__(
        self,
        num_heads,
        hidden_dim,
        dropout=0.0,
        kernel_initializer="glorot_uniform",
        bias_initializer="zeros",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.hidden_dim = hidden_dim
        self.dropout = dropout
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        if hidden_dim % num_heads:
            raise ConfigError(
                f"`num_heads` must divide `hidden_dim`. Received: num_heads={num_heads}, "
                f"hidden_dim={hidden_dim}."
            )
        self.head_dim = hidden_dim // num_heads

    def build(self, inputs_shape, *other_shapes, **named_shapes):
        self._query_dense = self._projection("query")
        self._key_dense = self._projection("key")
        self._value_dense = self._projection("value")
        self._output_dense = Dense(
            self.hidden_dim,
            **self._initializers(),
            dtype=self.dtype_policy,
            name="attention_output",
        )
        self._attention_dropout = Dropout(
            self.dropout, dtype=self.dtype_policy, name="attention_dropout"
        )
        for layer in (self._query_dense, self._key_dense, self._value_dense, self._output_dense):
            layer.build(inputs_shape)

    def projected(self, inputs, scale: float, queries: QueryTokens = ALL_TOKENS):
        """Returns query, key and value, `(batch, heads, tokens, head_dim)`; the query scaled."""
        # Scaled before the products, which then stay within the range of float16.
        query = self.heads_first(self._query_dense(queries.taken(inputs))) * scale
        inputs = queries.grouped(inputs)
        return (
            query,
            self.heads_first(self._key_dense(inputs)),
            self.heads_first(self._value_dense(inputs)),
        )

    def joined(self, query, key, value, bias, attention_mask, training):
        """Returns the values joined by scores and a bias, `(batch, query tokens, hidden_dim)`.

        Args:
            query, key, value: What `projected` gave.
            bias: Added to the scores; `(batch or 1, heads, query tokens, tokens)`.
            attention_mask: `(batch, query tokens, tokens)`, or None.
            training: Whether weights are dropped.
        """
        x = attended(
            query,
            key,
            value,
            mask=attention_mask,
            dropout=self._attention_dropout,
            training=training,
            bias=bias,
        )
        x = ops.reshape(x, (*ops.shape(x)[:2], self.hidden_dim))
        return self._output_dense(x)

    @staticmethod
    def heads_first(x):
        """Swaps the axes of tokens and heads."""
        return ops.swapaxes(x, 1, 2)

    def compute_output_shape(self, inputs_shape, *other_shapes, **named_shapes):
        return inputs_shape

    def get_config(self):
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "hidden_dim": self.hidden_dim,
            "dropout": self.dropout,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
        }

    def _projection(self, name):
        return EinsumDense(
            equation="abc,cde->abde",
            output_shape=(None, self.num_heads, self.head_dim),
            bias_axes="de",
            **self._initializers(),
            dtype=self.dtype_policy,
            name=name,
        )

    def _initializers(self):
        return {
            "kernel_initializer": self.kernel_initializer.clone(),
            "bias_initializer": self.bias_initializer.clone(),
        }
