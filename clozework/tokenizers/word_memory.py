"""Words whose ids are remembered: most of a text are words that were there before."""

from collections.abc import Callable
from typing import Any

__all__ = ["LONGEST_WORD", "MOST_WORDS", "WordMemory"]

# Words that are remembered, and the longest of them; beyond that memory is worth more.
MOST_WORDS = 200_000
LONGEST_WORD = 64


class WordMemory(dict):
    """Remembers what a function makes of words.

    Args:
        function: Takes a word.

    Example:
    >>> WordMemory(len)["word"]
    4
    """

    def __init__(self, function: Callable[[str], Any]):
        super().__init__()
        self._function = function

    def __missing__(self, word: str) -> Any:
        made = self._function(word)
        if len(word) <= LONGEST_WORD:
            if len(self) >= MOST_WORDS:
                self.clear()
            self[word] = made
        return made
