"""What a `padding_mask` means to attention and to positions; see `clozework.layers`."""

from keras import ops

__all__ = ["positions_within_texts", "self_attention_mask"]


def self_attention_mask(padding_mask):
    """Returns which token may attend to which.

    A token attends to the tokens of its own text. Padding attends to every token, so that a
    mask of zeros and ones gives exactly what masking the keys alone gives.

    Args:
        padding_mask: Integers or booleans `(batch, tokens)`.

    Returns:
        Booleans `(batch, tokens, tokens)`: may the second attend to the third?

    Example:
    >>> ops.convert_to_numpy(self_attention_mask(np.array([[1, 2, 0]]))).astype(int).tolist()
    [[[1, 0, 0], [0, 1, 0], [1, 1, 0]]]
    """
    padding_mask = ops.cast(padding_mask, "int32")
    queries = ops.expand_dims(padding_mask, 2)
    keys = ops.expand_dims(padding_mask, 1)
    same_text = ops.logical_or(ops.equal(queries, keys), ops.equal(queries, 0))
    return ops.logical_and(same_text, ops.greater(keys, 0))


def positions_within_texts(padding_mask):
    """Returns the position of each token in its own text.

    The first text of a row, and everything in a row of zeros and ones, is numbered 0, 1, 2, ...
    from the start of the row. Further texts are numbered from their first token.

    Args:
        padding_mask: Integers or booleans `(batch, tokens)`.

    Returns:
        int32 `(batch, tokens)`.

    Example:
    >>> ops.convert_to_numpy(positions_within_texts(np.array([[1, 1, 2, 2, 2, 0]]))).tolist()
    [[0, 1, 0, 1, 2, 5]]
    """
    padding_mask = ops.cast(padding_mask, "int32")
    same_text = ops.equal(ops.expand_dims(padding_mask, 2), ops.expand_dims(padding_mask, 1))
    # The first place with the same value is where the text begins.
    first = ops.argmax(ops.cast(same_text, "int32"), axis=-1)
    first = ops.where(ops.greater(padding_mask, 1), ops.cast(first, "int32"), 0)
    return ops.arange(ops.shape(padding_mask)[1], dtype="int32") - first
