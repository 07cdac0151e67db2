"""Learning of a WordPiece vocabulary from counted words.

The algorithm, and with it the result, is that of TensorFlow Text, which KerasHub uses:
https://github.com/tensorflow/text/blob/master/tensorflow_text/tools/wordpiece_vocab/wordpiece_tokenizer_learner_lib.py
Pieces that occur often enough are kept, the longest first, each taking its count from its own
beginnings; how often is often enough is found by bisection over the size that results.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from clozework.errors import ConfigError

__all__ = ["learn_word_pieces"]

_NUM_ITERATIONS = 4
_MOST_WORDS = 5_000_000
_MOST_CHARACTERS = 1000
_LONGEST_PIECE = 50
_LOWEST_THRESHOLD, _HIGHEST_THRESHOLD = 10, 10_000_000
# How much smaller than asked for the vocabulary may be.
_SLACK = 0.05


def learn_word_pieces(
    word_counts: Mapping[str, int],
    vocabulary_size: int,
    *,
    reserved_tokens: Sequence[str],
    suffix_indicator: str,
) -> list[str]:
    """Returns a vocabulary of at most `vocabulary_size` tokens, the reserved ones first.

    Args:
        word_counts: How often each word occurs.
        vocabulary_size: The most tokens wanted.
        reserved_tokens: Tokens that have to be in it.
        suffix_indicator: What pieces inside a word begin with.
    """
    if not word_counts:
        raise ConfigError("There is no word in the data to learn a vocabulary from.")
    lowest = max(min(word_counts.values()), _LOWEST_THRESHOLD)
    highest = min(max(word_counts.values()), _HIGHEST_THRESHOLD)
    reserved = frozenset(reserved_tokens)
    words = [
        (word, count)
        for word, count in word_counts.items()
        if len(word) <= _LONGEST_PIECE and word not in reserved
    ]
    learner = _Learner(_usual_words(words), list(reserved_tokens), suffix_indicator)
    while True:
        threshold = (lowest + highest) // 2
        vocabulary = learner.learn(threshold)
        missing = vocabulary_size - len(vocabulary)
        is_close = 0 <= missing <= _SLACK * vocabulary_size
        if is_close or lowest >= highest or threshold <= 1:
            return vocabulary[:vocabulary_size]
        if missing < 0:
            lowest = threshold + 1
        else:
            highest = threshold - 1


def _usual_words(words: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """Returns the words that have only usual characters, the most frequent first."""
    counts: Counter[str] = Counter()
    for word, count in words:
        for character in word:
            counts[character] += count
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    usual = frozenset(character for character, _ in ranked[:_MOST_CHARACTERS])
    ranked_words = sorted(words, key=lambda item: -item[1])
    return [(word, count) for word, count in ranked_words if usual.issuperset(word)][:_MOST_WORDS]


class _Learner:
    """Learns from the same words with any threshold."""

    def __init__(
        self, words: list[tuple[str, int]], reserved_tokens: list[str], suffix_indicator: str
    ):
        self.words = words
        self.reserved_tokens = reserved_tokens
        self.suffix_indicator = suffix_indicator
        # The most work, and the same for every threshold.
        self._all_counts = self._count(None)

    def learn(self, threshold: int) -> list[str]:
        """Returns the vocabulary of the pieces that occur at least `threshold` times."""
        characters = sorted({character for word, _ in self.words for character in word})
        pieces: dict[str, int] = {}
        for iteration in range(_NUM_ITERATIONS):
            counts = self._count(pieces) if iteration else map(dict, self._all_counts)
            pieces = self._frequent(list(counts), threshold)
            for character in characters:
                pieces.setdefault(character, 1)
                pieces.setdefault(self.suffix_indicator + character, 1)
        ranked = sorted(pieces.items(), key=lambda item: (-item[1], item[0]))
        tokens = (*self.reserved_tokens, *characters, *(piece for piece, _ in ranked))
        return list(dict.fromkeys(tokens))

    def _count(self, known: Mapping[str, int] | None) -> list[dict[str, int]]:
        """Returns by length how often each piece occurs that starts where a known one does.

        Without known pieces every piece counts.
        """
        counts: list[dict[str, int]] = [defaultdict(int) for _ in range(_LONGEST_PIECE + 1)]
        for word, count in self.words:
            starts = range(len(word)) if known is None else self._starts(word, known)
            for start in starts:
                prefix = self.suffix_indicator if start else ""
                for end in range(start + 1, len(word) + 1):
                    counts[end - start][prefix + word[start:end]] += count
        return counts

    def _starts(self, word: str, known: Mapping[str, int]) -> Iterable[int]:
        """Returns where the pieces of a word start; none if it cannot be made of known ones."""
        starts = []
        start = 0
        while start < len(word):
            starts.append(start)
            prefix = self.suffix_indicator if start else ""
            for end in range(len(word), start, -1):
                if prefix + word[start:end] in known:
                    start = end
                    break
            else:
                return ()
        return starts

    def _frequent(self, counts: list[dict[str, int]], threshold: int) -> dict[str, int]:
        """Returns the frequent pieces; what is counted for a piece is not for its beginnings."""
        frequent = {}
        for length in range(_LONGEST_PIECE, 0, -1):
            for piece, count in counts[length].items():
                if count >= threshold:
                    frequent[piece] = count
                # A piece inside a word is longer than its part of the word.
                indicator = len(piece) - length
                for shorter in range(1, length):
                    beginning = piece[: shorter + indicator]
                    if beginning in counts[shorter]:
                        counts[shorter][beginning] -= count
        return frequent
