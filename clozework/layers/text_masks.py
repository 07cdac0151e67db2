"""What a `padding_mask` means to attention and to positions; see `clozework.layers`."""

from keras import ops

__all__ = [
    "attention_mask_between",
    "causal_mask",
    "joined_masks",
    "near_tokens_mask",
    "positions_within_texts",
    "self_attention_mask",
]


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
    return attention_mask_between(padding_mask, padding_mask)


def attention_mask_between(query_mask, key_mask):
    """Returns which token of one row may attend to which of another, such as the encoder's.

    Args:
        query_mask, key_mask: Padding masks `(batch, tokens)` of the two rows.

    Returns:
        Booleans `(batch, query tokens, key tokens)`, by the rule of `self_attention_mask`.

    Example:
    >>> mask = attention_mask_between(np.array([[1, 2]]), np.array([[1, 2, 0]]))
    >>> ops.convert_to_numpy(mask).astype(int).tolist()
    [[[1, 0, 0], [0, 1, 0]]]
    """
    queries = ops.expand_dims(ops.cast(query_mask, "int32"), 2)
    keys = ops.expand_dims(ops.cast(key_mask, "int32"), 1)
    same_text = ops.logical_or(ops.equal(queries, keys), ops.equal(queries, 0))
    return ops.logical_and(same_text, ops.greater(keys, 0))


def causal_mask(num_queries, num_keys, start_index=0):
    """Returns the mask that lets no token attend to a later one.

    Args:
        num_queries, num_keys: Tokens of the two rows.
        start_index: Place of the first query among the keys.

    Returns:
        Booleans `(1, num_queries, num_keys)`.

    Example:
    >>> ops.convert_to_numpy(causal_mask(2, 4, start_index=1)).astype(int).tolist()
    [[[1, 1, 0, 0], [1, 1, 1, 0]]]
    """
    queries = ops.arange(num_queries, dtype="int32") + ops.cast(start_index, "int32")
    keys = ops.arange(num_keys, dtype="int32")
    return ops.expand_dims(ops.expand_dims(queries, 1) >= keys, 0)


def near_tokens_mask(num_tokens, reach):
    """Returns the mask that lets a token attend to those that are near, on both sides.

    Args:
        num_tokens: Tokens of a row.
        reach: How many places away is still near.

    Returns:
        Booleans `(1, num_tokens, num_tokens)`.

    Example:
    >>> ops.convert_to_numpy(near_tokens_mask(3, reach=1)).astype(int).tolist()
    [[[1, 1, 0], [1, 1, 1], [0, 1, 1]]]
    """
    places = ops.arange(num_tokens, dtype="int32")
    distances = ops.abs(ops.expand_dims(places, 1) - ops.expand_dims(places, 0))
    return ops.expand_dims(distances <= reach, 0)


def joined_masks(*masks):
    """Returns what all masks allow; those that are None allow everything.

    Returns:
        Booleans, or None where all are None.

    Example:
    >>> ops.convert_to_numpy(joined_masks(None, np.array([1, 0]), np.array([1, 1]))).tolist()
    [True, False]
    """
    joined = None
    for mask in masks:
        if mask is not None:
            mask = ops.cast(mask, "bool")
            joined = mask if joined is None else ops.logical_and(joined, mask)
    return joined


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
