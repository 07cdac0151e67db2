"""What a caller may hand in as text, checked before any tokenizer sees it."""

import re
from collections.abc import Iterable, Mapping

import numpy as np

from clozework.errors import InputError

__all__ = ["as_texts", "check_texts"]

_SURROGATE = re.compile("[\ud800-\udfff]")


def as_texts(inputs) -> tuple[list[str], bool]:
    """Returns the texts in `inputs`, and whether they came as a batch rather than as one string.

    Args:
        inputs: A string, or strings in a list, a tuple, a NumPy array, a column or any iterable.

    Raises:
        InputError: Something in there is not a string, or is one that has no UTF-8 form.
    """
    if isinstance(inputs, str):
        return check_texts([inputs]), False
    if isinstance(inputs, np.ndarray) and inputs.ndim == 0:
        return check_texts([inputs.item()]), False
    if not isinstance(inputs, Iterable) or isinstance(inputs, (bytes, bytearray, Mapping)):
        raise InputError(
            f"Expected a str or a list of str, got {_describe(inputs)}. {_advice(inputs)}"
        )
    # An array knows how to hand out Python's own strings; NumPy's are slower everywhere.
    texts = inputs.tolist() if isinstance(inputs, np.ndarray) else list(inputs)
    return check_texts(texts), True


def check_texts(texts: list) -> list[str]:
    """Returns `texts` if all are strings that have a UTF-8 form; names the first that is not."""
    try:
        "".join(texts).encode("utf-8")
    except TypeError:
        index = next(i for i, text in enumerate(texts) if not isinstance(text, str))
        text = texts[index]
        raise InputError(
            f"Text {index} is {_describe(text)}, but every text must be a str. {_advice(text)}"
        ) from None
    except UnicodeEncodeError:
        _raise_for_surrogate(texts)
    return texts


def _raise_for_surrogate(texts: list[str]):
    # Not the joined string's position: two halves at a border would look like one character.
    for index, text in enumerate(texts):
        found = _SURROGATE.search(text)
        if found:
            raise InputError(
                f"Text {index} holds a lone surrogate at character {found.start()} "
                f"(U+{ord(found.group()):04X}), which is half a character and has no UTF-8 form. "
                "Drop such characters with text.encode('utf-8', 'ignore').decode('utf-8')."
            )


def _describe(value) -> str:
    if value is None:
        return "None"
    return f"{value!r:.60} (of type {type(value).__name__})"


def _advice(value) -> str:
    if value is None:
        return 'Leave it out, or pass an empty string "".'
    if isinstance(value, (bytes, bytearray)):
        return "Decode it first, as in text.decode('utf-8')."
    if isinstance(value, (list, tuple)):
        return "Pass a flat list of strings, or call the tokenizer once for each inner list."
    if isinstance(value, Mapping):
        return "Pass the column with the texts alone."
    return "Convert it with str() if its digits are the text."
