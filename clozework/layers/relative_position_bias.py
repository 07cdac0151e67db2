"""Attention with a learned bias for the distance of two tokens, as in T5 and MPNet.

Paper: Raffel et al., 2019, https://arxiv.org/abs/1910.10683, section 2.1.
"""

import math

import keras
import numpy as np
from keras import ops

from clozework.layers.query_tokens import ALL_TOKENS, query_tokens_of
from clozework.layers.self_attention import ScoredSelfAttention
from clozework.layers.transformer_block import TransformerBlock

__all__ = ["BiasedSelfAttention", "BiasedTransformerEncoder", "RelativePositionBias"]


@keras.saving.register_keras_serializable("clozework")
class RelativePositionBias(keras.layers.Layer):
    """One learned number for each head and bucket of distances.

    Half of the buckets are for tokens behind, half for those before; of each half, one half has a
    bucket for each distance, and farther ones share logarithmic buckets.

    Args:
        num_heads: Attention heads.
        num_buckets: Buckets on both sides.
        max_distance: Distance from which on all share the last bucket.
        initializer: Of the numbers.

    Call arguments:
        inputs: The token vectors `(batch, tokens, hidden_dim)`, of which only the shape counts.

    Outputs: `(heads, tokens, tokens)`, to be added to the scores of queries for keys.

    Example:
    >>> RelativePositionBias(num_heads=2)(np.zeros((1, 5, 8))).shape
    (2, 5, 5)
    """

    def __init__(
        self, num_heads, num_buckets=32, max_distance=128, initializer="glorot_uniform", **kwargs
    ):
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.num_buckets = num_buckets
        self.max_distance = max_distance
        self.initializer = keras.initializers.get(initializer)

    def build(self, inputs_shape):
        self.bias_embeddings = self.add_weight(
            name="embeddings",
            shape=(self.num_buckets, self.num_heads),
            initializer=self.initializer,
        )

    def call(self, inputs):
        places = np.arange(inputs.shape[1])
        buckets = self._buckets(places[None, :] - places[:, None])
        bias = ops.take(ops.cast(self.bias_embeddings, self.compute_dtype), buckets, axis=0)
        return ops.transpose(bias, (2, 0, 1))

    def compute_output_shape(self, inputs_shape):
        return (self.num_heads, inputs_shape[1], inputs_shape[1])

    def get_config(self):
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "num_buckets": self.num_buckets,
            "max_distance": self.max_distance,
            "initializer": keras.initializers.serialize(self.initializer),
        }

    def _buckets(self, distances: np.ndarray) -> np.ndarray:
        """Buckets for distances from query to key, as in the released implementation."""
        of_side = self.num_buckets // 2
        num_exact = of_side // 2
        sizes = np.abs(distances)
        # In float32 as upstream: in float64 some distances would fall into the next bucket.
        ratios = (np.maximum(sizes, 1) / num_exact).astype("float32")
        share = np.log(ratios) / np.float32(math.log(self.max_distance / num_exact))
        logarithmic = num_exact + (share * np.float32(of_side - num_exact)).astype("int32")
        buckets = np.where(sizes < num_exact, sizes, np.minimum(logarithmic, of_side - 1))
        return (buckets + np.where(distances > 0, of_side, 0)).astype("int32")


@keras.saving.register_keras_serializable("clozework")
class BiasedSelfAttention(ScoredSelfAttention):
    """Self-attention to whose scores a bias is added.

    Args:
        num_heads: Attention heads; must divide `hidden_dim`.
        hidden_dim: Width of the token vectors.
        dropout: Share of attention weights dropped in training.
        kernel_initializer, bias_initializer: Of all projections.

    Call arguments:
        inputs: `(batch, tokens, hidden_dim)`.
        position_bias: `(heads, tokens, tokens)`, from `RelativePositionBias`.
        attention_mask: Booleans `(batch, tokens, tokens)`.
        queries: `QueryTokens`, where not all tokens are computed.

    Outputs: `(batch, tokens, hidden_dim)`.

    Example:
    >>> layer = BiasedSelfAttention(num_heads=2, hidden_dim=8)
    >>> layer(np.zeros((1, 5, 8)), position_bias=np.zeros((2, 5, 5))).shape
    (1, 5, 8)
    """

    def call(self, inputs, position_bias, attention_mask=None, training=None, queries=ALL_TOKENS):
        query, key, value = self.projected(inputs, 1.0 / math.sqrt(self.head_dim), queries)
        if queries.positions is None:
            bias = ops.expand_dims(position_bias, 0)
        else:
            bias = _bias_at(queries.places(key.shape[2]), position_bias, key.shape[2])
        return self.joined(query, key, value, bias, attention_mask, training)


@keras.saving.register_keras_serializable("clozework")
class BiasedTransformerEncoder(TransformerBlock):
    """An encoder block with a bias in its attention; see `TransformerEncoder` for the rest.

    Args: As in `TransformerEncoder`.

    Call arguments:
        inputs: `(batch, tokens, hidden_dim)`.
        position_bias: `(heads, tokens, tokens)`.
        padding_mask: `(batch, tokens)`; see `clozework.layers`.

    Example:
    >>> layer = BiasedTransformerEncoder(intermediate_dim=16, num_heads=2)
    >>> layer(np.zeros((1, 5, 8)), position_bias=np.zeros((2, 5, 5))).shape
    (1, 5, 8)
    """

    has_query_tokens = True

    def make_self_attention(self, hidden_dim):
        return BiasedSelfAttention(
            num_heads=self.num_heads,
            hidden_dim=hidden_dim,
            dropout=self.dropout,
            kernel_initializer=self.kernel_initializer.clone(),
            bias_initializer=self.bias_initializer.clone(),
            dtype=self.dtype_policy,
            name="self_attention_layer",
        )

    def build(self, inputs_shape, position_bias_shape=None, padding_mask_shape=None):
        super().build(inputs_shape)
        self._self_attention_layer.build(inputs_shape)

    def call(self, inputs, position_bias, padding_mask=None, training=None):
        x = self._self_attention_layer_norm(inputs) if self.normalize_first else inputs
        queries = query_tokens_of(self)
        x = self._self_attention_layer(
            x,
            position_bias=position_bias,
            attention_mask=queries.attention_mask(padding_mask),
            training=training,
            queries=queries,
        )
        x = self.join_attention(x, queries.taken(inputs), training)
        return self.feed_forward(x, training)

    def compute_output_shape(self, inputs_shape, position_bias_shape=None, padding_mask_shape=None):
        return inputs_shape


def _bias_at(places, position_bias, num_tokens: int):
    """Returns the bias of queries at some places of groups of rows.

    Args:
        places: `(groups, queries)`.
        position_bias: `(heads, tokens, tokens)`, of a row.
        num_tokens: Tokens of a group. Those of other rows get some bias, and a mask.

    Returns:
        `(groups, heads, queries, num_tokens)`.
    """
    of_row = position_bias.shape[-1]
    bias = ops.take(position_bias, places % of_row, axis=1)
    bias = ops.tile(bias, (1, 1, 1, num_tokens // of_row))
    return ops.swapaxes(bias, 0, 1)
