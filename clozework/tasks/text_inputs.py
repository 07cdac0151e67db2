"""Texts as users hand them to a preprocessor or a verb: one, or a batch."""

from clozework.data.texts import read_texts

__all__ = ["text_examples"]


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
