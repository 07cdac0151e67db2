"""Attention that keeps the keys and values of earlier tokens."""

import keras
from keras import ops

from clozework.errors import InputError
from clozework.layers.dot_product_attention import HeadsFirstAttention, heads_first_attention
from clozework.layers.key_value_cache import KeyValueCache, cache_spec, num_places

__all__ = ["CachedMultiHeadAttention"]


@keras.saving.register_keras_serializable("clozework")
class CachedMultiHeadAttention(HeadsFirstAttention):
    """Multi-head attention for one token after another: earlier keys and values come from a cache.

    Arguments as in `keras.layers.MultiHeadAttention`.

    Call arguments:
        query: `(batch, query tokens, hidden_dim)`.
        value, key: `(batch, tokens, hidden_dim)`; the key is the value by default.
        attention_mask: `(batch, query tokens, key tokens)`, 1 where attention is allowed.
        cache: `(batch, 2, key tokens, heads, head_dim)`, keys and values, or a `KeyValueCache`.
        cache_update_index: Place in the cache where the keys and values of `key` and `value` go.
            With None the cache is used as it is, and `key` and `value` are not.
        return_attention_scores: Whether to return the scores `(batch, heads, query, key)` too.

    Outputs: `(batch, query tokens, hidden_dim)`; then the scores where they are asked for; then
        the cache, with the new keys and values, where there is one.

    Raises:
        InputError: If there is a place for an update and no cache.

    Example:
    >>> layer = CachedMultiHeadAttention(num_heads=2, key_dim=4)
    >>> x = np.ones((1, 3, 8), "float32")
    >>> outputs, cache = layer(x, x, cache=np.zeros((1, 2, 5, 2, 4)), cache_update_index=0)
    >>> outputs.shape, cache.shape
    ((1, 3, 8), (1, 2, 5, 2, 4))
    """

    def build(self, query_shape, value_shape, key_shape=None):
        super().build(query_shape, value_shape, key_shape)
        # A mask of Keras on the inputs is the caller's to use; Dense would warn that it is lost.
        for layer in (self._query_dense, self._key_dense, self._value_dense):
            layer.supports_masking = True

    def call(
        self,
        query,
        value,
        key=None,
        attention_mask=None,
        cache=None,
        cache_update_index=None,
        return_attention_scores=False,
        training=None,
    ):
        if cache is None and cache_update_index is not None:
            raise InputError(
                f"{self.name!r} was given `cache_update_index` without a `cache` to update."
            )
        key = value if key is None else key
        if cache is None:
            keys, values = self._key_dense(key), self._value_dense(value)
            x, scores = self._compute_attention(
                self._query_dense(query),
                keys,
                values,
                attention_mask,
                training,
                return_attention_scores,
            )
        else:
            known = KeyValueCache.of(cache)
            if cache_update_index is not None:
                known = known.updated(
                    self._key_dense(key), self._value_dense(value), cache_update_index
                )
                cache = known.in_form_of(cache)
            x, scores = self._attend_to_cache(
                self._query_dense(query), known, attention_mask, training
            )
        if self._use_gate:
            x = ops.multiply(x, self._gate_dense(query))
        x = self._output_dense(x)
        outputs = (x,)
        if return_attention_scores:
            outputs = (*outputs, scores)
        if cache is not None:
            outputs = (*outputs, cache)
        return outputs if len(outputs) > 1 else x

    def _attend_to_cache(self, query, cache, mask, training):
        query = ops.swapaxes(query * ops.cast(self._inverse_sqrt_key_dim, query.dtype), 1, 2)
        x, scores = heads_first_attention(
            query,
            ops.swapaxes(cache.keys, 2, 3),
            cache.values,
            mask=mask,
            dropout=lambda scores: self._dropped(scores, training),
        )
        return ops.swapaxes(x, 1, 2), scores

    def compute_output_spec(
        self,
        query,
        value,
        key=None,
        attention_mask=None,
        cache=None,
        cache_update_index=None,
        return_attention_scores=False,
        training=None,
    ):
        shape = self.compute_output_shape(
            query.shape, value.shape, None if key is None else key.shape
        )
        outputs = (keras.KerasTensor(shape, dtype=self.compute_dtype),)
        if return_attention_scores:
            num_keys = value.shape[1] if cache is None else num_places(cache)
            scores = (query.shape[0], self.num_heads, query.shape[1], num_keys)
            outputs = (*outputs, keras.KerasTensor(scores, dtype=self.compute_dtype))
        if cache is not None:
            outputs = (*outputs, cache_spec(cache))
        return outputs if len(outputs) > 1 else outputs[0]
