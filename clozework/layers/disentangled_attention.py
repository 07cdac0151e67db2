"""DeBERTa's disentangled attention: content and relative position are scored apart.

Paper: He et al., 2020, https://arxiv.org/abs/2006.03654; version 3: He et al., 2021,
https://arxiv.org/abs/2111.09543. What the paper calls `P` is `RelativeEmbedding` here.
"""

import math

import keras
import numpy as np
from keras import ops

from clozework.layers.query_tokens import ALL_TOKENS, query_tokens_of
from clozework.layers.self_attention import ScoredSelfAttention
from clozework.layers.transformer_block import TransformerBlock

__all__ = ["DisentangledAttentionEncoder", "DisentangledSelfAttention", "RelativeEmbedding"]


@keras.saving.register_keras_serializable("clozework")
class RelativeEmbedding(keras.layers.Layer):
    """One learned vector for each bucket of relative positions, normalised.

    Args:
        hidden_dim: Width of the vectors.
        bucket_size: Buckets on either side; there are twice as many vectors.
        layer_norm_epsilon: Added to the variance in layer normalisation.
        kernel_initializer: Of the vectors.

    Call arguments:
        inputs: The token vectors; they only connect the layer to a functional model.

    Outputs: `(2 * bucket_size, hidden_dim)`.

    Example:
    >>> RelativeEmbedding(hidden_dim=8, bucket_size=4)(np.zeros((1, 5, 8))).shape
    (8, 8)
    """

    def __init__(
        self,
        hidden_dim,
        bucket_size,
        layer_norm_epsilon=1e-05,
        kernel_initializer="glorot_uniform",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.hidden_dim = hidden_dim
        self.bucket_size = bucket_size
        self.layer_norm_epsilon = layer_norm_epsilon
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.layer_norm = keras.layers.LayerNormalization(
            epsilon=layer_norm_epsilon, dtype=self.dtype_policy, name="rel_embeddings_layer_norm"
        )

    def build(self, inputs_shape):
        shape = (2 * self.bucket_size, self.hidden_dim)
        self.rel_embeddings = self.add_weight(
            name="rel_embedding", shape=shape, initializer=self.kernel_initializer
        )
        self.layer_norm.build(shape)

    def call(self, inputs):
        return self.layer_norm(ops.cast(self.rel_embeddings, self.compute_dtype))

    def compute_output_shape(self, inputs_shape):
        return (2 * self.bucket_size, self.hidden_dim)

    def get_config(self):
        return {
            **super().get_config(),
            "hidden_dim": self.hidden_dim,
            "bucket_size": self.bucket_size,
            "layer_norm_epsilon": self.layer_norm_epsilon,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }


@keras.saving.register_keras_serializable("clozework")
class DisentangledSelfAttention(ScoredSelfAttention):
    """Attention scores from content to content, content to position and position to content.

    Position scores depend on the distance of two tokens alone. They are computed for the
    `2 * tokens - 1` distances that a row has and sheared into place by reshaping: the same numbers
    as gathering `(batch, heads, tokens, tokens)` scores, without a gather.

    Args:
        num_heads: Attention heads; must divide `hidden_dim`.
        hidden_dim: Width of the token vectors.
        max_position_embeddings: Longest distance that the buckets tell apart.
        bucket_size: Buckets of distances on either side.
        dropout: Share of attention weights dropped in training.
        kernel_initializer, bias_initializer: Of all projections.

    Call arguments:
        inputs: `(batch, tokens, hidden_dim)`.
        rel_embeddings: `(2 * bucket_size, hidden_dim)`, from `RelativeEmbedding`.
        attention_mask: Booleans `(batch, tokens, tokens)`.
        queries: `QueryTokens`, where not all tokens are computed.

    Outputs: `(batch, tokens, hidden_dim)`.

    Example:
    >>> layer = DisentangledSelfAttention(2, 8, max_position_embeddings=16, bucket_size=4)
    >>> layer(np.zeros((1, 5, 8)), rel_embeddings=np.zeros((8, 8))).shape
    (1, 5, 8)
    """

    def __init__(
        self,
        num_heads,
        hidden_dim,
        max_position_embeddings=512,
        bucket_size=256,
        dropout=0.1,
        kernel_initializer="glorot_uniform",
        bias_initializer="zeros",
        **kwargs,
    ):
        super().__init__(
            num_heads, hidden_dim, dropout, kernel_initializer, bias_initializer, **kwargs
        )
        self.max_position_embeddings = max_position_embeddings
        self.bucket_size = bucket_size

    def call(self, inputs, rel_embeddings, attention_mask=None, training=None, queries=ALL_TOKENS):
        query, key, value = self.projected(inputs, self._scale, queries)
        if queries.positions is None:
            bias = self._position_scores(query, key, rel_embeddings)
        else:
            places = queries.places(key.shape[2])
            bias = self._position_scores_at(places, query, key, rel_embeddings)
        return self.joined(query, key, value, bias, attention_mask, training)

    def get_config(self):
        return {
            **super().get_config(),
            "max_position_embeddings": self.max_position_embeddings,
            "bucket_size": self.bucket_size,
        }

    @property
    def _scale(self):
        # Three kinds of scores are summed.
        return 1.0 / math.sqrt(3 * self.head_dim)

    def _position_scores(self, query, key, rel_embeddings):
        """Content to position and position to content, `(batch, heads, tokens, tokens)`."""
        position_query, position_key, places = self._positions(query.shape[2], rel_embeddings)
        # At query i the place r of a row of scores is the distance i - j = tokens - 1 - r.
        position_key = ops.take(position_key, places[::-1].copy(), axis=2)
        position_query = ops.take(position_query, places, axis=2)
        by_query = ops.matmul(query, ops.swapaxes(position_key, -1, -2))
        by_key = ops.matmul(key, ops.swapaxes(position_query, -1, -2))
        return _sheared(by_query) + ops.swapaxes(_sheared(by_key), -1, -2)

    def _position_scores_at(self, query_places, query, key, rel_embeddings):
        """The same for queries at some places `(batch, queries)`, so few that a gather is cheap."""
        tokens = key.shape[2]
        position_query, position_key, places = self._positions(tokens, rel_embeddings)
        distances = ops.expand_dims(query_places, 2) - ops.arange(tokens, dtype="int32")
        buckets = ops.expand_dims(ops.take(places, distances + (tokens - 1)), 1)
        by_query = ops.matmul(query, ops.swapaxes(position_key, -1, -2))
        by_key = ops.matmul(position_query, ops.swapaxes(key, -1, -2))
        return ops.take_along_axis(by_query, buckets, axis=3) + ops.take_along_axis(
            by_key, buckets, axis=2
        )

    def _positions(self, tokens, rel_embeddings):
        """Returns query and key of each bucket that occurs in rows of so many tokens.

        Far distances share buckets: each of them is projected once. The buckets' places stand for
        the distances from `1 - tokens` to `tokens - 1`.
        """
        rows = self._bucket_rows(np.arange(-(tokens - 1), tokens))
        buckets, places = np.unique(rows, return_inverse=True)
        vectors = ops.expand_dims(ops.take(rel_embeddings, buckets, axis=0), 0)
        position_query = self.heads_first(self._query_dense(vectors)) * self._scale
        return position_query, self.heads_first(self._key_dense(vectors)), places

    def _bucket_rows(self, distances):
        """Rows of the relative embeddings for distances, as in the released implementation.

        Distances up to half of the buckets have one each; farther ones share logarithmic buckets.
        """
        middle = self.bucket_size // 2
        size = np.where(np.abs(distances) < middle, middle - 1, np.abs(distances))
        # In float32 as upstream: in float64 some distances would fall into the next bucket.
        ratio = (size / middle).astype("float32")
        longest = np.float32((self.max_position_embeddings - 1) / middle)
        with np.errstate(divide="ignore"):
            logarithmic = middle + np.ceil(np.log(ratio) / np.log(longest) * (middle - 1))
        buckets = np.where(size <= middle, distances, logarithmic * np.sign(distances))
        rows = buckets.astype("int32") + self.bucket_size
        return np.clip(rows, 0, 2 * self.bucket_size - 1)


@keras.saving.register_keras_serializable("clozework")
class DisentangledAttentionEncoder(TransformerBlock):
    """An encoder block with disentangled attention; see `TransformerEncoder` for the rest.

    Args:
        max_position_embeddings, bucket_size: As in `DisentangledSelfAttention`.
        Others: As in `TransformerEncoder`.

    Call arguments:
        inputs: `(batch, tokens, hidden_dim)`.
        rel_embeddings: `(2 * bucket_size, hidden_dim)`.
        padding_mask: `(batch, tokens)`; see `clozework.layers`.

    Example:
    >>> layer = DisentangledAttentionEncoder(16, 2, max_position_embeddings=16, bucket_size=4)
    >>> layer(np.zeros((1, 5, 8)), rel_embeddings=np.zeros((8, 8))).shape
    (1, 5, 8)
    """

    has_query_tokens = True

    def __init__(
        self,
        intermediate_dim,
        num_heads,
        max_position_embeddings=512,
        bucket_size=256,
        **kwargs,
    ):
        super().__init__(intermediate_dim, num_heads, **kwargs)
        self.max_position_embeddings = max_position_embeddings
        self.bucket_size = bucket_size

    def make_self_attention(self, hidden_dim):
        return DisentangledSelfAttention(
            num_heads=self.num_heads,
            hidden_dim=hidden_dim,
            max_position_embeddings=self.max_position_embeddings,
            bucket_size=self.bucket_size,
            dropout=self.dropout,
            kernel_initializer=self.kernel_initializer.clone(),
            bias_initializer=self.bias_initializer.clone(),
            dtype=self.dtype_policy,
            name="self_attention_layer",
        )

    def build(self, inputs_shape, rel_embeddings_shape=None, padding_mask_shape=None):
        super().build(inputs_shape)
        self._self_attention_layer.build(inputs_shape)

    def call(self, inputs, rel_embeddings, padding_mask=None, training=None):
        x = self._self_attention_layer_norm(inputs) if self.normalize_first else inputs
        queries = query_tokens_of(self)
        x = self._self_attention_layer(
            x,
            rel_embeddings=rel_embeddings,
            attention_mask=queries.attention_mask(padding_mask),
            training=training,
            queries=queries,
        )
        x = self.join_attention(x, queries.taken(inputs), training)
        return self.feed_forward(x, training)

    def compute_output_shape(
        self, inputs_shape, rel_embeddings_shape=None, padding_mask_shape=None
    ):
        return inputs_shape

    def get_config(self):
        return {
            **super().get_config(),
            "max_position_embeddings": self.max_position_embeddings,
            "bucket_size": self.bucket_size,
        }


def _sheared(scores):
    """Moves row i of `(..., tokens, 2 * tokens - 1)` left by `tokens - 1 - i` places.

    `sheared[..., i, j] = scores[..., i, j - i + tokens - 1]`: read one after another, rows that
    are shorter by one begin one place earlier each.
    """
    batch, heads = ops.shape(scores)[:2]
    tokens = scores.shape[2]
    if tokens == 1:
        return scores
    width = 2 * tokens - 2
    flat = ops.reshape(scores, (batch, heads, tokens * (width + 1)))
    flat = flat[:, :, tokens - 1 : tokens - 1 + tokens * width]
    return ops.reshape(flat, (batch, heads, tokens, width))[:, :, :, :tokens]
