"""Attention that keeps the keys and values of earlier tokens."""

import keras
from keras import ops

from clozework.errors import InputError
from clozework.layers.dense import speed_up

__all__ = ["CachedMultiHeadAttention"]


@keras.saving.register_keras_serializable("clozework")
class CachedMultiHeadAttention(keras.layers.MultiHeadAttention):
    """Multi-head attention for one token after another: earlier keys and values come from a cache.

    Arguments as in `keras.layers.MultiHeadAttention`.

    Call arguments:
        query: `(batch, query tokens, hidden_dim)`.
        value, key: `(batch, tokens, hidden_dim)`; the key is the value by default.
        attention_mask: `(batch, query tokens, key tokens)`, 1 where attention is allowed.
        cache: `(batch, 2, key tokens, heads, head_dim)`, keys and values.
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
        speed_up(self)
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
        keys, values, cache = self._keys_and_values(
            value, value if key is None else key, cache, cache_update_index
        )
        x, scores = self._compute_attention(
            self._query_dense(query),
            keys,
            values,
            attention_mask,
            training,
            return_attention_scores,
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

    def _keys_and_values(self, value, key, cache, index):
        if cache is not None and index is None:
            return cache[:, 0], cache[:, 1], cache
        keys, values = self._key_dense(key), self._value_dense(value)
        if cache is None:
            return keys, values, None
        update = ops.cast(ops.stack([keys, values], axis=1), cache.dtype)
        cache = ops.slice_update(cache, [0, 0, index, 0, 0], update)
        return cache[:, 0], cache[:, 1], cache

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
            num_keys = value.shape[1] if cache is None else cache.shape[2]
            scores = (query.shape[0], self.num_heads, query.shape[1], num_keys)
            outputs = (*outputs, keras.KerasTensor(scores, dtype=self.compute_dtype))
        if cache is not None:
            outputs = (*outputs, keras.KerasTensor(cache.shape, dtype=cache.dtype))
        return outputs if len(outputs) > 1 else outputs[0]
