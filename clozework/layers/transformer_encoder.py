"""The transformer's encoder block."""

import keras

from clozework.layers.dot_product_attention import HeadsFirstAttention
from clozework.layers.query_tokens import query_tokens_of
from clozework.layers.text_masks import joined_masks
from clozework.layers.transformer_block import TransformerBlock

__all__ = ["TransformerEncoder"]


@keras.saving.register_keras_serializable("clozework")
class TransformerEncoder(TransformerBlock):
    """Self-attention and a feed-forward network, each with a residual and layer normalisation.

    Paper: Vaswani et al., 2017, https://arxiv.org/abs/1706.03762

    Args:
        intermediate_dim: Width of the hidden layer of the feed-forward network.
        num_heads: Attention heads; must divide the width of the input.
        dropout: Share of activations dropped in training.
        activation: Of the feed-forward network.
        layer_norm_epsilon: Added to the variance in layer normalisation.
        kernel_initializer, bias_initializer: Of all dense layers.
        normalize_first: Whether normalisation comes before a sub-layer instead of after it.

    Call arguments:
        inputs: `(batch, tokens, hidden_dim)`.
        padding_mask: `(batch, tokens)`; see `clozework.layers`.
        attention_mask: `(batch, tokens, tokens)`, further limits; 1 where attention is allowed.
        return_attention_scores: Whether to return the scores `(batch, heads, tokens, tokens)` too.

    Outputs: `(batch, tokens, hidden_dim)`.

    Example:
    >>> TransformerEncoder(intermediate_dim=16, num_heads=2)(np.zeros((1, 5, 8))).shape
    (1, 5, 8)
    """

    has_query_tokens = True

    def make_self_attention(self, hidden_dim):
        return HeadsFirstAttention(
            num_heads=self.num_heads,
            key_dim=hidden_dim // self.num_heads,
            dropout=self.dropout,
            kernel_initializer=self.kernel_initializer.clone(),
            bias_initializer=self.bias_initializer.clone(),
            dtype=self.dtype_policy,
            name="self_attention_layer",
        )

    def build(self, inputs_shape):
        super().build(inputs_shape)
        self._self_attention_layer.build(query_shape=inputs_shape, value_shape=inputs_shape)

    def call(
        self,
        inputs,
        padding_mask=None,
        attention_mask=None,
        training=None,
        return_attention_scores=False,
    ):
        queries = query_tokens_of(self)
        x = self._self_attention_layer_norm(inputs) if self.normalize_first else inputs
        x = self._self_attention_layer(
            query=queries.taken(x),
            value=queries.grouped(x),
            attention_mask=joined_masks(queries.attention_mask(padding_mask), attention_mask),
            return_attention_scores=return_attention_scores,
            training=training,
        )
        x, scores = x if return_attention_scores else (x, None)
        x = self.join_attention(x, queries.taken(inputs), training)
        x = self.feed_forward(x, training)
        return (x, scores) if return_attention_scores else x

    def compute_output_shape(self, inputs_shape):
        return inputs_shape

    def compute_output_spec(
        self,
        inputs,
        padding_mask=None,
        attention_mask=None,
        training=None,
        return_attention_scores=False,
    ):
        x = keras.KerasTensor(inputs.shape, dtype=self.compute_dtype)
        if not return_attention_scores:
            return x
        batch, tokens = inputs.shape[:2]
        shape = (batch, self.num_heads, tokens, tokens)
        return x, keras.KerasTensor(shape, dtype=self.compute_dtype)
