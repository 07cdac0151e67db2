"""Overlapping windows over texts that are longer than a row."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clozework.errors import ConfigError

__all__ = ["Window", "joined_windows", "windows_over"]


@dataclass(frozen=True)
class Window:
    """A part of a text.

    Attributes:
        text: Number of the text.
        start, stop: The first token, and the one after the last.
    """

    text: int
    start: int
    stop: int


def windows_over(lengths: Sequence[int], room: int, overlap: int) -> list[Window]:
    """Returns windows that hold all tokens of all texts, in the order of the texts.

    Args:
        lengths: Number of tokens of each text; one of none gets no window.
        room: Most tokens of a window.
        overlap: Number of tokens that a window shares with the next.

    Raises:
        ConfigError: If windows that overlap so far would never reach the end.

    Example:
    >>> [(w.start, w.stop) for w in windows_over([10], room=6, overlap=2)]
    [(0, 6), (4, 10)]
    """
    if not 0 <= overlap < room:
        raise ConfigError(
            f"Windows of {room} tokens cannot overlap by {overlap}. Choose an `overlap` of 0 to "
            f"{max(room - 1, 0)}, or a larger `sequence_length`."
        )
    return [
        Window(text, start, min(start + room, length))
        for text, length in enumerate(lengths)
        # The last one begins where the one before it leaves something over.
        for start in range(0, max(length - overlap, min(length, 1)), room - overlap)
    ]


def joined_windows(
    windows: Sequence[Window], outputs: Sequence[np.ndarray], lengths: Sequence[int]
) -> list[np.ndarray]:
    """Returns one array a text: each token's values from the window where it is farther inside.

    Args:
        windows: As `windows_over` gives them.
        outputs: Values of each window, `(tokens, dim)`.
        lengths: Number of tokens of each text.
    """
    dim = outputs[0].shape[-1] if outputs else 0
    joined = [np.zeros((length, dim), "float32") for length in lengths]
    before = None
    for window, values in zip(windows, outputs, strict=True):
        start = window.start
        if before is not None and before.text == window.text:
            start = (window.start + before.stop) // 2
        joined[window.text][start : window.stop] = values[start - window.start :]
        before = window
    return joined
