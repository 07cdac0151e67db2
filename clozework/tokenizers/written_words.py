"""The ids of words looked up as they are written, before a text is normalised and split."""

from itertools import chain

from clozework.tokenizers.piece_normalizer import SPACE, PieceNormalizer
from clozework.tokenizers.piece_segmenters import MOST_FIXED_IDS, Segmenter
from clozework.tokenizers.word_memory import WordMemory

__all__ = ["WrittenWords"]


class WrittenWords:
    """Finds ids that normaliser and segmenter would give, in less than half of the time.

    Most texts stay as they are, and nothing in them but spaces parts words, which have the same
    ids wherever they stand. Where anything is otherwise there is no answer.

    Args:
        normalizer, segmenter: Those of the model.
    """

    def __init__(self, normalizer: PieceNormalizer, segmenter: Segmenter):
        self._normalizer = normalizer
        self._segmenter = segmenter
        self._is_possible = normalizer.has_words_between_spaces and segmenter.splits_at_each_space
        self._words = WordMemory(self._fixed_ids)

    def ids(self, text: str) -> list[int] | None:
        """Returns the ids of a text, or None if they have to be found the long way."""
        if not self._is_possible:
            return None
        words = self._words
        found = [words[word] for word in text.split(" ")]
        if None in found:
            return None
        ids = list(chain.from_iterable(found))
        return ids if len(ids) < MOST_FIXED_IDS else None

    def _fixed_ids(self, word: str) -> tuple[int, ...] | None:
        # Between two spaces in a row: the model removes one of them.
        if not word:
            return ()
        is_kept = SPACE not in word and self._normalizer.keeps(word)
        return self._segmenter.fixed_ids(SPACE + word) if is_kept else None
