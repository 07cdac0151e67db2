"""The transformer's decoder block."""

import keras
from keras import ops

from clozework.errors import InputError
from clozework.layers.cached_attention import CachedMultiHeadAttention
from clozework.layers.key_value_cache import cache_spec, num_places
from clozework.layers.text_masks import (
    attention_mask_between,
    causal_mask,
    joined_masks,
    self_attention_mask,
)
from clozework.layers.transformer_block import TransformerBlock

__all__ = ["TransformerDecoder"]


@keras.saving.register_keras_serializable("clozework")
class TransformerDecoder(TransformerBlock):
    """Self-attention to earlier tokens, attention to an encoder's, and a feed-forward network.

    Paper: Vaswani et al., 2017, https://arxiv.org/abs/1706.03762. Called without an encoder's
    output, the first time and ever after, it is the block of a decoder alone.

    Args: as in `TransformerEncoder`.

    Call arguments:
        decoder_sequence, encoder_sequence: `(batch, tokens, hidden_dim)` each.
        decoder_padding_mask, encoder_padding_mask: `(batch, tokens)`; see `clozework.layers`. With
            a cache the decoder's is as long as the cache.
        decoder_attention_mask, encoder_attention_mask: `(batch, decoder tokens, key tokens)`,
            further limits; 1 where attention is allowed.
        self_attention_cache, cross_attention_cache: Keys and values of earlier calls, `(batch, 2,
            key tokens, heads, head_dim)`; see `CachedMultiHeadAttention`.
        self_attention_cache_update_index, cross_attention_cache_update_index: Place of the first
            token in the cache; None uses the cache as it is.
        use_causal_mask: Whether a token attends to no later one.

    Outputs: `(batch, decoder tokens, hidden_dim)`, then each cache that was given, updated.

    Raises:
        InputError: If an encoder's output is given to one call and not to another, or a cache is
            missing.

    Example:
    >>> decoder = TransformerDecoder(intermediate_dim=16, num_heads=2)
    >>> decoder(np.zeros((1, 5, 8)), encoder_sequence=np.zeros((1, 3, 8))).shape
    (1, 5, 8)
    """

    def make_self_attention(self, hidden_dim):
        return self._make_attention(hidden_dim, "self_attention_layer")

    def build(self, decoder_sequence_shape, encoder_sequence_shape=None):
        super().build(decoder_sequence_shape)
        hidden_dim = decoder_sequence_shape[-1]
        self._self_attention_layer.build(decoder_sequence_shape, decoder_sequence_shape)
        self._cross_attention_layer = None
        if encoder_sequence_shape is None:
            return
        self._cross_attention_layer = self._make_attention(hidden_dim, "cross_attention_layer")
        self._cross_attention_layer_norm = self._layer_norm("cross_attention_layer_norm")
        self._cross_attention_dropout = self._dropout("cross_attention_dropout")
        self._cross_attention_layer.build(decoder_sequence_shape, encoder_sequence_shape)
        self._cross_attention_layer_norm.build(decoder_sequence_shape)

    def call(
        self,
        decoder_sequence,
        encoder_sequence=None,
        decoder_padding_mask=None,
        decoder_attention_mask=None,
        encoder_padding_mask=None,
        encoder_attention_mask=None,
        self_attention_cache=None,
        self_attention_cache_update_index=None,
        cross_attention_cache=None,
        cross_attention_cache_update_index=None,
        use_causal_mask=True,
        training=None,
        *,
        decoder_sequence_mask=None,
        encoder_sequence_mask=None,
    ):
        self._check_inputs(encoder_sequence, self_attention_cache, cross_attention_cache)
        # The `_mask` arguments are Keras's own masks, which come with embeddings of `mask_zero`.
        if decoder_padding_mask is None:
            decoder_padding_mask = decoder_sequence_mask
        if encoder_padding_mask is None:
            encoder_padding_mask = encoder_sequence_mask
        x, self_attention_cache = self._attend_to_earlier(
            decoder_sequence,
            decoder_padding_mask,
            decoder_attention_mask,
            self_attention_cache,
            self_attention_cache_update_index,
            use_causal_mask,
            training,
        )
        if self._cross_attention_layer is not None:
            is_cached = self_attention_cache is not None
            mask = _cross_attention_mask(
                x, None if is_cached else decoder_padding_mask, encoder_padding_mask
            )
            x, cross_attention_cache = self._attend_to_encoder(
                x,
                encoder_sequence,
                joined_masks(mask, encoder_attention_mask),
                cross_attention_cache,
                cross_attention_cache_update_index,
                training,
            )
        x = self.feed_forward(x, training)
        caches = [c for c in (self_attention_cache, cross_attention_cache) if c is not None]
        return (x, *caches) if caches else x

    def _attend_to_earlier(
        self, inputs, padding_mask, attention_mask, cache, index, use_causal_mask, training
    ):
        tokens = ops.shape(inputs)[1]
        num_keys = tokens if cache is None else num_places(cache)
        mask = None
        if padding_mask is not None:
            is_packed = cache is None
            mask = self_attention_mask(padding_mask) if is_packed else padding_mask[:, None, :] > 0
        causal = causal_mask(tokens, num_keys, 0 if index is None else index)
        mask = joined_masks(mask, attention_mask, causal if use_causal_mask else None)
        x = self._self_attention_layer_norm(inputs) if self.normalize_first else inputs
        x, cache = _attended(self._self_attention_layer, x, x, mask, cache, index, training)
        return self.join_attention(x, inputs, training), cache

    def _attend_to_encoder(self, inputs, encoder_sequence, mask, cache, index, training):
        x = self._cross_attention_layer_norm(inputs) if self.normalize_first else inputs
        x, cache = _attended(
            self._cross_attention_layer, x, encoder_sequence, mask, cache, index, training
        )
        x = inputs + self._cross_attention_dropout(x, training=training)
        return x if self.normalize_first else self._cross_attention_layer_norm(x), cache

    def compute_output_shape(self, decoder_sequence_shape, **other_shapes):
        return decoder_sequence_shape

    def compute_output_spec(
        self,
        decoder_sequence,
        encoder_sequence=None,
        decoder_padding_mask=None,
        decoder_attention_mask=None,
        encoder_padding_mask=None,
        encoder_attention_mask=None,
        self_attention_cache=None,
        self_attention_cache_update_index=None,
        cross_attention_cache=None,
        *args,
        **kwargs,
    ):
        x = keras.KerasTensor(decoder_sequence.shape, dtype=self.compute_dtype)
        given = (self_attention_cache, cross_attention_cache)
        caches = [cache_spec(cache) for cache in given if cache is not None]
        return (x, *caches) if caches else x

    def _make_attention(self, hidden_dim, name):
        return CachedMultiHeadAttention(
            num_heads=self.num_heads,
            key_dim=hidden_dim // self.num_heads,
            dropout=self.dropout,
            kernel_initializer=self.kernel_initializer.clone(),
            bias_initializer=self.bias_initializer.clone(),
            dtype=self.dtype_policy,
            name=name,
        )

    def _check_inputs(self, encoder_sequence, self_attention_cache, cross_attention_cache):
        has_encoder = self._cross_attention_layer is not None
        if has_encoder != (encoder_sequence is not None):
            raise InputError(
                f"{self.name!r} was built {'with' if has_encoder else 'without'} an "
                f"`encoder_sequence` to attend to, and is now called "
                f"{'without' if has_encoder else 'with'} one. Make another layer for that."
            )
        if has_encoder and (self_attention_cache is None) != (cross_attention_cache is None):
            raise InputError(
                f"{self.name!r} attends to itself and to an encoder: pass both "
                f"`self_attention_cache` and `cross_attention_cache`, or neither."
            )
        if not has_encoder and cross_attention_cache is not None:
            raise InputError(
                f"{self.name!r} was built without an encoder to attend to, and takes no "
                f"`cross_attention_cache`."
            )


def _attended(layer, query, value, mask, cache, index, training):
    """Returns what attention gives, and the cache if there is one."""
    outputs = layer(
        query,
        value,
        attention_mask=mask,
        cache=cache,
        cache_update_index=index,
        training=training,
    )
    return (outputs, None) if cache is None else outputs


def _cross_attention_mask(x, decoder_padding_mask, encoder_padding_mask):
    """Returns which token of the decoder may attend to which of the encoder, or None for all."""
    if encoder_padding_mask is None:
        return None
    if decoder_padding_mask is None:
        # Padding attends to every text.
        decoder_padding_mask = ops.zeros(ops.shape(x)[:2], dtype="int32")
    return attention_mask_between(decoder_padding_mask, encoder_padding_mask)
