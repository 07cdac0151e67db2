"""From the vectors of a text's tokens to one vector for the text."""

import keras
from keras import ops

from clozework.errors import ConfigError

__all__ = ["POOLING_MODES", "TextPooling"]

POOLING_MODES = ("mean", "cls", "max", "lasttoken")


@keras.saving.register_keras_serializable("clozework")
class TextPooling(keras.layers.Layer):
    """One vector for each row: the mean, first, last or maximum of its tokens' vectors.

    Args:
        mode: `"mean"` of all tokens, `"cls"` for the first token, `"max"` of each component over
            all tokens, `"lasttoken"` for the last one that is not padding.

    Call arguments:
        inputs: `(batch, tokens, hidden_dim)`.
        padding_mask: `(batch, tokens)`, 0 for padding, which counts for nothing.

    Outputs: `(batch, hidden_dim)`; zeros for a row that is padding throughout.

    Example:
    >>> vectors = np.array([[[1.0, 5.0], [3.0, 1.0], [9.0, 9.0]]])
    >>> pooled = TextPooling("mean")(vectors, padding_mask=np.array([[1, 1, 0]]))
    >>> ops.convert_to_numpy(pooled).tolist()
    [[2.0, 3.0]]
    """

    def __init__(self, mode="mean", **kwargs):
        super().__init__(**kwargs)
        if mode not in POOLING_MODES:
            raise ConfigError(
                f"Texts are pooled by one of {', '.join(map(repr, POOLING_MODES))}. "
                f"Received: {mode!r}."
            )
        self.mode = mode

    def call(self, inputs, padding_mask):
        if self.mode == "cls":
            return inputs[:, 0, :]
        is_token = ops.expand_dims(ops.not_equal(padding_mask, 0), -1)
        if self.mode == "lasttoken":
            # The count of tokens so far is highest at the last one, and stays so in the padding.
            last = ops.argmax(ops.cumsum(ops.cast(is_token, "int32"), axis=1), axis=1)
            pooled = ops.take_along_axis(inputs, ops.expand_dims(last, -1), axis=1)[:, 0, :]
            return ops.where(ops.any(is_token, axis=1), pooled, ops.zeros_like(pooled))
        has_tokens = ops.any(is_token, axis=1)
        # Half floats would lose digits in a sum over hundreds of tokens.
        x = ops.cast(inputs, "float32")
        if self.mode == "max":
            pooled = ops.max(ops.where(is_token, x, float("-inf")), axis=1)
        else:
            count = ops.sum(ops.cast(is_token, "float32"), axis=1)
            pooled = ops.sum(ops.where(is_token, x, 0.0), axis=1) / ops.maximum(count, 1.0)
        return ops.cast(ops.where(has_tokens, pooled, 0.0), self.compute_dtype)

    def pool_packed(self, inputs, padding_mask, first_tokens):
        """Returns one vector for each of the texts that share rows.

        Args:
            inputs: `(rows, tokens, hidden_dim)`.
            padding_mask: `(rows, tokens)`, 0 for padding, number of the text plus 2 for a token.
            first_tokens: `(texts,)`, where each text begins, counted through all rows.

        Returns:
            `(texts, hidden_dim)`; zeros for a text without tokens, but in mode `"cls"`.
        """
        vectors = ops.reshape(inputs, (-1, inputs.shape[-1]))
        if self.mode == "cls":
            return ops.take(vectors, first_tokens, axis=0)
        num_texts = ops.shape(first_tokens)[0]
        numbers = ops.reshape(ops.cast(padding_mask, "int32"), (-1,))
        # Padding is a text of its own, the last one.
        texts = ops.where(ops.greater(numbers, 0), numbers - 2, num_texts)
        ones = ops.ones_like(vectors[:, :1], "float32")
        counts = _by_text(ops.segment_sum, ones, texts, num_texts)
        if self.mode == "lasttoken":
            last = ops.cast(first_tokens, "int32") + ops.cast(counts[:, 0], "int32") - 1
            pooled = ops.take(vectors, ops.maximum(last, 0), axis=0)
        elif self.mode == "max":
            pooled = _by_text(ops.segment_max, ops.cast(vectors, "float32"), texts, num_texts)
        else:
            sums = _by_text(ops.segment_sum, ops.cast(vectors, "float32"), texts, num_texts)
            pooled = sums / ops.maximum(counts, 1.0)
        pooled = ops.where(ops.greater(counts, 0), pooled, ops.zeros_like(pooled))
        return ops.cast(pooled, self.compute_dtype)

    def compute_output_shape(self, inputs_shape, padding_mask_shape=None):
        return (inputs_shape[0], inputs_shape[-1])

    def get_config(self):
        return {**super().get_config(), "mode": self.mode}


def _by_text(reduce, x, texts, num_texts):
    """Returns what a reduction of segments makes of the tokens of each text but the last.

    Args:
        reduce: `ops.segment_sum`, say.
        x: `(tokens, features)`.
        texts: `(tokens,)`, up to the number of texts, which is padding.
        num_texts: A number, or a tensor where it is not known before the program runs.
    """
    if isinstance(num_texts, int):
        return reduce(x, texts, num_segments=num_texts + 1)[:num_texts]
    # One more token of padding, as the highest number says how many segments there are.
    x = ops.concatenate([x, ops.zeros_like(x[:1])])
    texts = ops.concatenate([texts, ops.reshape(num_texts, (1,))])
    return reduce(x, texts)[:-1]
