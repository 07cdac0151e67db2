"""Texts that are too long for a model, in parts that are not."""

import re

from clozework.errors import ConfigError

__all__ = ["text_windows"]

_END_OF_SENTENCE = re.compile(r"[.!?][\"')\]]*\s|\n")


def text_windows(tokenizer, text: str, num_tokens: int) -> list[str]:
    """Returns the parts of a text, each of at most `num_tokens` tokens; none for an empty text.

    A part ends behind a sentence, if one ends in its second half, else behind a word, else where
    its tokens do.

    Args:
        tokenizer: The model's.
        text: The text.
        num_tokens: Without special tokens.

    Raises:
        ConfigError: If there is no room for a token.
    """
    if num_tokens < 1:
        raise ConfigError(
            f"Rows of the encoder have room for {num_tokens} tokens of a text. Set the "
            f"preprocessor's `encoder_sequence_length` to at least 3."
        )
    parts = []
    rest = text.strip()
    while rest:
        part = _longest_part(tokenizer, rest, num_tokens)
        parts.append(part.strip())
        rest = rest[len(part) :].strip()
    return parts


def _longest_part(tokenizer, text: str, num_tokens: int) -> str:
    """Returns the start of a text up to a good place; at least a character."""
    # As much of the text as has too many tokens, not all of it each time.
    length = _CHARACTERS_OF_A_TOKEN * num_tokens
    ends = _ends(tokenizer, text[:length])
    while len(ends) <= num_tokens and length < len(text):
        length *= 2
        ends = _ends(tokenizer, text[:length])
    if len(ends) <= num_tokens:
        return text
    part = _good_part(text[: ends[num_tokens - 1]], text)
    # A word without the space before it may have more tokens.
    while len(part) > 1 and len(tokenizer.encode_ids([part.strip()])[0]) > num_tokens:
        part = part[:-1]
    return part or text[:1]


# More than most tokens have.
_CHARACTERS_OF_A_TOKEN = 8


def _ends(tokenizer, text: str) -> list[int]:
    return [end for _, end in tokenizer.encode([text])[0].offsets]


def _good_part(part: str, text: str) -> str:
    """Returns the part, cut behind its last sentence or its last word."""
    half = len(part) // 2
    # The character behind the part tells whether it ends with a sentence or a word as it is.
    seen = text[: len(part) + 1]
    sentences = [match.end() for match in _END_OF_SENTENCE.finditer(seen) if match.end() > half]
    if sentences:
        return part[: sentences[-1]]
    words = [match.start() for match in re.finditer(r"\s", seen) if match.start() > half]
    return part[: words[-1]] if words else part
