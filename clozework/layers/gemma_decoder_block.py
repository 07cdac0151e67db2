"""Gemma's decoder block: attention with few keys and a gated feed-forward network."""

import keras
from keras import ops

from clozework.kernels import matmul
from clozework.layers.activations import gelu_tanh
from clozework.layers.dense import EinsumDense
from clozework.layers.dropout import Dropout
from clozework.layers.key_value_cache import KeyValueCache, num_places
from clozework.layers.rotary_embedding import RotaryEmbedding
from clozework.layers.text_masks import joined_masks, positions_within_texts, self_attention_mask

__all__ = ["GemmaAttention", "GemmaDecoderBlock", "RMSNormalization"]

# Finite, so that a row without any key gives no NaN.
_MASKED = -1e9


@keras.saving.register_keras_serializable("clozework")
class RMSNormalization(keras.layers.Layer):
    """Divides each vector by its root mean square, and scales it by `1 + scale`.

    Paper: Zhang and Sennrich, 2019, https://arxiv.org/abs/1910.07467

    Args:
        epsilon: Added to the mean square.

    Example:
    >>> ops.convert_to_numpy(RMSNormalization()(np.array([[3.0, 3.0]]))).round(3).tolist()
    [[1.0, 1.0]]
    """

    def __init__(self, epsilon=1e-6, **kwargs):
        super().__init__(**kwargs)
        self.epsilon = epsilon
        self.supports_masking = True

    def build(self, inputs_shape):
        self.scale = self.add_weight(
            name="scale", shape=(inputs_shape[-1],), initializer="zeros", trainable=True
        )

    def call(self, x):
        # Always in float32, as upstream.
        x = ops.cast(x, "float32")
        mean_square = ops.mean(ops.square(x), axis=-1, keepdims=True)
        x = x * ops.rsqrt(mean_square + self.epsilon)
        return ops.cast(x * (1.0 + ops.cast(self.scale, "float32")), self.compute_dtype)

    def compute_output_shape(self, inputs_shape):
        return inputs_shape

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon}


class GemmaAttention(keras.layers.Layer):
    """Attention in which several query heads share a key and a value; see `GemmaDecoderBlock`.

    Papers: Shazeer, 2019, https://arxiv.org/abs/1911.02150; Ainslie et al., 2023,
    https://arxiv.org/abs/2305.13245
    """

    def __init__(
        self,
        num_query_heads,
        num_key_value_heads,
        head_dim,
        query_scale,
        logit_soft_cap=None,
        dropout: float = 0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_query_heads = num_query_heads
        self.num_key_value_heads = num_key_value_heads
        self.head_dim = head_dim
        self.query_scale = query_scale
        self.logit_soft_cap = logit_soft_cap
        self.dropout = dropout
        self.supports_masking = True

    def build(self, inputs_shape):
        self.query_dense = self._dense("btd,ndh->btnh", self.num_query_heads, "query")
        self.key_dense = self._dense("bsd,kdh->bskh", self.num_key_value_heads, "key")
        self.value_dense = self._dense("bsd,kdh->bskh", self.num_key_value_heads, "value")
        self.output_dense = EinsumDense(
            "btnh,nhd->btd",
            output_shape=(None, inputs_shape[-1]),
            kernel_initializer=_initializer(),
            dtype=self.dtype_policy,
            name="attention_output",
        )
        self.rotary_embedding = RotaryEmbedding(dtype=self.dtype_policy, name="rotary_embedding")
        self.attention_dropout = Dropout(self.dropout, dtype=self.dtype_policy)
        for layer in (self.query_dense, self.key_dense, self.value_dense):
            layer.build(inputs_shape)
        self.output_dense.build((None, None, self.num_query_heads, self.head_dim))

    def call(
        self, x, attention_mask, positions=None, cache=None, cache_update_index=0, training=None
    ):
        """Returns what tokens gather from others, and the cache where one is given.

        Args:
            x: `(batch, tokens, hidden_dim)`.
            attention_mask: Booleans `(batch, tokens, keys)`: may the second attend to the third?
            positions: `(batch, tokens)`; counted from `cache_update_index` by default.
            cache: Keys and values `(batch, 2, keys, key_value_heads, head_dim)`, or a
                `KeyValueCache`.
            cache_update_index: Place of the first token among the keys.
        """
        query = self._rotated(self.query_dense(x), cache_update_index, positions)
        key = self._rotated(self.key_dense(x), cache_update_index, positions)
        value = self.value_dense(x)
        if cache is None:
            known = KeyValueCache(ops.swapaxes(key, 1, 2), ops.swapaxes(value, 1, 2))
        else:
            known = KeyValueCache.of(cache).updated(key, value, cache_update_index)
        x = self.output_dense(self._gathered(query, known, attention_mask, training))
        return x if cache is None else (x, known.in_form_of(cache))

    def _gathered(self, query, known, mask, training):
        batch, tokens = ops.shape(query)[:2]
        heads, head_dim = self.num_key_value_heads, self.head_dim
        query = query * ops.cast(self.query_scale, query.dtype)
        # The queries that share a key are rows of one product of matrices.
        query = ops.reshape(query, (batch, tokens, heads, -1, head_dim))
        query = ops.reshape(ops.transpose(query, (0, 2, 3, 1, 4)), (batch, heads, -1, head_dim))
        scores = matmul(query, ops.swapaxes(known.keys, 2, 3))
        if self.logit_soft_cap is not None:
            scores = ops.tanh(scores / self.logit_soft_cap) * self.logit_soft_cap
        scores = ops.reshape(scores, (batch, heads, -1, tokens, ops.shape(scores)[-1]))
        scores = ops.where(mask[:, None, None], ops.cast(scores, "float32"), _MASKED)
        weights = ops.cast(ops.softmax(scores, axis=-1), self.compute_dtype)
        weights = self.attention_dropout(weights, training=training)
        weights = ops.reshape(weights, (batch, heads, -1, ops.shape(weights)[-1]))
        x = ops.reshape(matmul(weights, known.values), (batch, heads, -1, tokens, head_dim))
        x = ops.transpose(x, (0, 3, 1, 2, 4))
        return ops.reshape(x, (batch, tokens, self.num_query_heads, head_dim))

    def _rotated(self, x, start_index, positions):
        return self.rotary_embedding(x, start_index=start_index, positions=positions)

    def _dense(self, equation, num_heads, name):
        return EinsumDense(
            equation,
            output_shape=(None, num_heads, self.head_dim),
            kernel_initializer=_initializer(),
            dtype=self.dtype_policy,
            name=name,
        )


@keras.saving.register_keras_serializable("clozework")
class GemmaDecoderBlock(keras.layers.Layer):
    """Causal attention and a gated feed-forward network, each with a residual.

    Papers: Gemma Team, 2024, https://arxiv.org/abs/2403.08295, and Gemma 2,
    https://arxiv.org/abs/2408.00118

    Args:
        hidden_dim: Width of the stream.
        intermediate_dim: Twice the width of the hidden layer, for the network and its gate.
        head_dim: Width of a head.
        num_query_heads, num_key_value_heads: Of attention; the first is a multiple of the second.
        query_head_dim_normalize: Whether queries are scaled by the width of a head, rather than by
            `hidden_dim` divided by the heads.
        use_post_ffw_norm, use_post_attention_norm: Whether what joins the stream is normalised.
        logit_soft_cap: Bound of the scores of attention; None for none.
        use_sliding_window_attention, sliding_window_size: Whether, and how far, tokens see only
            near ones.
        layer_norm_epsilon, dropout: As in other blocks.

    Call arguments:
        x: `(batch, tokens, hidden_dim)`.
        padding_mask: `(batch, tokens)`; see `clozework.layers`.
        cache: `(batch, 2, keys, num_key_value_heads, head_dim)`, or a `KeyValueCache`; with one the
            output is a pair.
        cache_update_index: Place of the first token among the keys.
        positions, key_positions: `(batch, tokens)` and `(keys,)`, or `(batch, keys)`, where tokens
            stand in their texts, if that does not follow from their places; with them goes
            `attention_mask`, booleans `(batch, tokens, keys)`: which keys are of the same text.

    Example:
    >>> block = GemmaDecoderBlock(8, 16, head_dim=4, num_query_heads=2, num_key_value_heads=1)
    >>> block(np.zeros((1, 5, 8))).shape
    (1, 5, 8)
    """

    def __init__(
        self,
        hidden_dim,
        intermediate_dim,
        head_dim,
        num_query_heads,
        num_key_value_heads,
        query_head_dim_normalize=True,
        use_post_ffw_norm=False,
        use_post_attention_norm=False,
        logit_soft_cap=None,
        use_sliding_window_attention=False,
        sliding_window_size=4096,
        layer_norm_epsilon=1e-6,
        dropout: float = 0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self._arguments = {
            "hidden_dim": hidden_dim,
            "intermediate_dim": intermediate_dim,
            "head_dim": head_dim,
            "num_query_heads": num_query_heads,
            "num_key_value_heads": num_key_value_heads,
            "query_head_dim_normalize": query_head_dim_normalize,
            "use_post_ffw_norm": use_post_ffw_norm,
            "use_post_attention_norm": use_post_attention_norm,
            "logit_soft_cap": logit_soft_cap,
            "use_sliding_window_attention": use_sliding_window_attention,
            "sliding_window_size": sliding_window_size,
            "layer_norm_epsilon": layer_norm_epsilon,
            "dropout": dropout,
        }
        self.supports_masking = True
        self.window = sliding_window_size if use_sliding_window_attention else None
        self.pre_attention_norm = self._norm("pre_attention_norm")
        self.post_attention_norm = (
            self._norm("post_attention_norm") if use_post_attention_norm else None
        )
        scaled_dim = head_dim if query_head_dim_normalize else hidden_dim // num_query_heads
        self.attention = GemmaAttention(
            num_query_heads,
            num_key_value_heads,
            head_dim,
            query_scale=scaled_dim**-0.5,
            logit_soft_cap=logit_soft_cap,
            dropout=dropout,
            dtype=self.dtype_policy,
            name="attention",
        )
        self.residual_dropout = Dropout(dropout, dtype=self.dtype_policy)
        self.feedforward_dropout = Dropout(dropout, dtype=self.dtype_policy)
        self.pre_ffw_norm = self._norm("pre_ffw_norm")
        self.post_ffw_norm = self._norm("post_ffw_norm") if use_post_ffw_norm else None
        self.gating_ffw = self._dense(intermediate_dim // 2, "ffw_gating")
        self.gating_ffw_2 = self._dense(intermediate_dim // 2, "ffw_gating_2")
        self.ffw_linear = self._dense(hidden_dim, "ffw_linear")

    def build(self, inputs_shape, **other_shapes):
        norms = (self.pre_attention_norm, self.post_attention_norm)
        for layer in (*norms, self.pre_ffw_norm, self.post_ffw_norm):
            if layer is not None:
                layer.build(inputs_shape)
        self.attention.build(inputs_shape)
        self.gating_ffw.build(inputs_shape)
        self.gating_ffw_2.build(inputs_shape)
        self.ffw_linear.build((*inputs_shape[:-1], self._arguments["intermediate_dim"] // 2))

    def call(
        self,
        x,
        padding_mask=None,
        cache=None,
        cache_update_index=0,
        training=None,
        *,
        positions=None,
        key_positions=None,
        attention_mask=None,
    ):
        if positions is None:
            places = ops.arange(ops.shape(x)[1], dtype="int32")
            in_row = places[None] + ops.cast(cache_update_index, "int32")
        else:
            in_row = positions
        if key_positions is None:
            num_keys = ops.shape(x)[1] if cache is None else num_places(cache)
            key_positions = ops.arange(num_keys, dtype="int32")
        if padding_mask is not None:
            positions = positions_within_texts(padding_mask) if positions is None else positions
            attention_mask = joined_masks(attention_mask, self_attention_mask(padding_mask))
        attended = self.attention(
            self.pre_attention_norm(x),
            attention_mask=self._mask(in_row, key_positions, attention_mask),
            positions=positions,
            cache=cache,
            cache_update_index=cache_update_index,
            training=training,
        )
        attended, cache = attended if cache is not None else (attended, None)
        if self.post_attention_norm is not None:
            attended = self.post_attention_norm(attended)
        x = x + self.residual_dropout(attended, training=training)
        x = x + self._feed_forward(x, training)
        return x if cache is None else (x, cache)

    def compute_output_shape(self, inputs_shape, **other_shapes):
        return inputs_shape

    def get_config(self):
        return {**super().get_config(), **self._arguments}

    def _feed_forward(self, x, training):
        x = self.pre_ffw_norm(x)
        x = self.ffw_linear(gelu_tanh(self.gating_ffw(x)) * self.gating_ffw_2(x))
        if self.post_ffw_norm is not None:
            x = self.post_ffw_norm(x)
        return self.feedforward_dropout(x, training=training)

    def _mask(self, positions, key_positions, is_same_text):
        """Booleans `(batch, tokens, keys)`: what is before, near enough, and of the same text."""
        num_keys = key_positions.shape[-1]
        distance = positions[:, :, None] - ops.reshape(key_positions, (-1, 1, num_keys))
        mask = ops.greater_equal(distance, 0)
        if self.window is not None:
            mask = ops.logical_and(mask, ops.less(distance, self.window))
        return mask if is_same_text is None else ops.logical_and(mask, is_same_text)

    def _norm(self, name):
        epsilon = self._arguments["layer_norm_epsilon"]
        return RMSNormalization(epsilon, dtype=self.dtype_policy, name=name)

    def _dense(self, width, name):
        return EinsumDense(
            "btx,xy->bty",
            output_shape=(None, width),
            kernel_initializer=_initializer(),
            dtype=self.dtype_policy,
            name=name,
        )


def _initializer():
    return keras.initializers.VarianceScaling(1.0, mode="fan_in", distribution="untruncated_normal")
