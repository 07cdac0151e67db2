"""Texts as users hand them to a preprocessor or a verb: one, or a batch."""

import numpy as np

from clozework.data.texts import read_texts

__all__ = ["holds_text", "text_examples"]


def text_examples(x) -> tuple[list, bool]:
    """Returns the examples in `x`, and whether it is a batch.

    A string, or a tuple of strings, is one example; everything else is a batch.

    Raises:
        InputError: If anything is no text.

    Example:
    >>> text_examples(("a text", "another"))
    ([('a text', 'another')], False)
    """
    if isinstance(x, str):
        return [x], False
    if isinstance(x, tuple) and x and all(isinstance(text, str) for text in x):
        return [x], False
    if isinstance(x, list) and not x:
        return [], True
    texts = read_texts(x)
    return texts.take(range(len(texts))), True


def holds_text(inputs) -> bool:
    """Tells whether strings are among the inputs of a model."""
    if isinstance(inputs, str):
        return True
    if isinstance(inputs, list | tuple):
        return any(holds_text(item) for item in inputs)
    return isinstance(inputs, np.ndarray) and inputs.dtype.kind in "USO"
