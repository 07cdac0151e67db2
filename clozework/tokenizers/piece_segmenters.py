"""SentencePiece's ways to split normalised text into pieces: unigram, BPE, word and char.

The `tokenizers` library has models of these names too, but their ids differ from SentencePiece's:
its `Unigram` adds scores of each word in double precision, where SentencePiece adds those of the
whole text in single precision, which decides between splits of equal score ("hahaha", "......"),
and knows no user-defined symbols; its `BPE` takes merge rules, of which a model has none, and
prefers, of two ways to the same piece, the one with the earlier rule instead of the one to the
left. What is here remembers the split of each word, and needs less time than the library.
"""

import heapq
import math
import re
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import chain
from operator import itemgetter
from typing import NamedTuple

from clozework.tokenizers.piece_model import ModelType, PieceModel, PieceType
from clozework.tokenizers.piece_normalizer import SPACE, SymbolTable
from clozework.tokenizers.word_memory import WordMemory

__all__ = ["MOST_FIXED_IDS", "Segmentation", "Segmenter", "make_segmenter"]

# Cuts before each space.
_split_into_words = re.compile(f"{SPACE}[^{SPACE}]*|[^{SPACE}]+").findall
# A text with fewer ids has the `fixed_ids` of its words.
MOST_FIXED_IDS = 4096
# Types of pieces that text cannot be.
_RESERVED = frozenset((PieceType.CONTROL, PieceType.UNKNOWN, PieceType.BYTE))
# What an unknown character costs more than the worst piece.
_UNKNOWN_PENALTY = 10.0


class Segmentation(NamedTuple):
    """A stretch of normalised text as pieces.

    Attributes:
        ids: Ids of the pieces; unknown characters in a row have one each.
        spans: `(start, end)` of each in the stretch.
        cost: How much the scores of a text change by it at most; 0 where they play no role.
        safe_cost: The cost of a whole text up to which what stands before cannot change the split.
        gains: What each step of the split adds to the score.
    """

    ids: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]
    cost: float = 0.0
    safe_cost: float = math.inf
    gains: tuple[float, ...] = ()


class Segmenter:
    """Splits normalised text into pieces.

    Args:
        ids: The id to give for each piece of the model.
        split: Cuts a text into words such that no piece goes across a cut.
        segment: Returns the segmentation of one word.
        unk_id: Id of the unknown piece, of which several in a row become one; `None` to keep them.

    Attributes:
        splits_at_each_space: Whether `split` cuts before each space, and nowhere else.
    """

    # More than any text of fewer than `MOST_FIXED_IDS` ids costs: words that are safe up to this
    # have the same ids in all of them.
    _least_safe_cost = 0.0

    def __init__(
        self,
        split: Callable[[str], list[str]],
        segment: Callable[[str], Segmentation],
        unk_id: int | None,
    ):
        self._split = split
        self.splits_at_each_space = split is _split_into_words
        self._unk_id = unk_id
        self._words = WordMemory(segment)

    def fixed_ids(self, word: str) -> tuple[int, ...] | None:
        """Returns the ids that a word has in each text of fewer than `MOST_FIXED_IDS` ids.

        None stands for others: what is before a word may change its split, and unknown pieces of
        two words become one.
        """
        segmentation = self._words[word]
        is_fixed = segmentation.safe_cost >= self._least_safe_cost
        return segmentation.ids if is_fixed and self._unk_id not in segmentation.ids else None

    def ids(self, normalized: str) -> list[int]:
        """Returns the ids of the pieces."""
        ids = list(chain.from_iterable(map(itemgetter(0), self._segmentations(normalized))))
        if self._unk_id is None or self._unk_id not in ids:
            return ids
        unk_id = self._unk_id
        previous = [None, *ids]
        return [i for i, before in zip(ids, previous, strict=False) if i != unk_id or before != i]

    def ids_and_spans(self, normalized: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Returns the ids of the pieces, and where each starts and ends in `normalized`."""
        ids: list[int] = []
        spans: list[tuple[int, int]] = []
        position = 0
        for segmentation in self._segmentations(normalized):
            for token_id, (start, end) in zip(segmentation.ids, segmentation.spans, strict=True):
                span = (position + start, position + end)
                if token_id == self._unk_id and ids and ids[-1] == token_id:
                    spans[-1] = (spans[-1][0], span[1])
                    continue
                ids.append(token_id)
                spans.append(span)
            if segmentation.spans:
                position += segmentation.spans[-1][1]
        return ids, spans

    def _segmentations(self, normalized: str) -> list[Segmentation]:
        words = self._words
        return [words[word] for word in self._split(normalized)]


def make_segmenter(model: PieceModel, ids: Sequence[int]) -> Segmenter:
    """Returns the segmenter for a model; `ids` are the ids to give for each of its pieces."""
    pieces = _pieces_of_text(model)
    if model.model_type == ModelType.UNIGRAM:
        return _UnigramSegmenter(model, ids, pieces)
    unk_id = None if model.byte_fallback else ids[model.unk_id]
    finish = _Finisher(model, ids, pieces)
    if model.model_type == ModelType.WORD:
        # Spaces begin words here even where the normaliser puts one behind each.
        return Segmenter(_split_into_words, partial(_cut_and_finish, _whole, finish), unk_id)
    symbols = SymbolTable(_pieces_of_type(model, PieceType.USER_DEFINED))
    if model.model_type == ModelType.CHAR:
        return Segmenter(_whole, partial(_cut_and_finish, symbols.pieces, finish), unk_id)
    merge = _Merger(model, pieces, symbols)
    return Segmenter(_word_splitter(pieces), partial(_cut_and_finish, merge, finish), unk_id)


def _cut_and_finish(cut: Callable, finish: Callable, word: str) -> Segmentation:
    return finish(cut(word))


class _Finisher:
    """Gives pieces their ids, and the bytes of unknown ones where the model has pieces for them."""

    def __init__(self, model: PieceModel, ids: Sequence[int], pieces: Mapping[str, int]):
        self._ids = {piece: ids[i] for piece, i in pieces.items()}
        self._byte_ids = {
            int(piece[3:5], 16): ids[i]
            for i, (piece, kind) in enumerate(zip(model.pieces, model.types, strict=True))
            if kind == PieceType.BYTE
        }
        self._unk_id = ids[model.unk_id]
        self.has_bytes = model.byte_fallback

    def __call__(self, pieces) -> Segmentation:
        ids: list[int] = []
        spans: list[tuple[int, int]] = []
        start = 0
        for piece in pieces:
            end = start + len(piece)
            token_id = self._ids.get(piece, self._unk_id)
            is_bytes = self.has_bytes and token_id == self._unk_id
            found = self.byte_ids(piece) if is_bytes else (token_id,)
            ids += found
            spans += [(start, end)] * len(found)
            start = end
        return Segmentation(tuple(ids), tuple(spans))

    def byte_ids(self, piece: str) -> list[int]:
        """Returns the ids of the bytes of a piece."""
        return [self._byte_ids.get(byte, self._unk_id) for byte in piece.encode("utf-8")]


class _Merger:
    """Merges neighbours into the piece with the best score, of equal ones the leftmost, and again.

    Follows https://github.com/google/sentencepiece/blob/master/src/bpe_model.cc.
    """

    def __init__(self, model: PieceModel, pieces: Mapping[str, int], symbols: SymbolTable):
        self._symbols = symbols
        scores = model.scores
        self._scores = {piece: scores[i] for piece, i in pieces.items()}
        self._unused = frozenset(_pieces_of_type(model, PieceType.UNUSED))

    def __call__(self, word: str) -> list[str]:
        parts = list(self._symbols.split(word))
        pieces = [word[start:end] for start, end, _ in parts]
        # Symbols that a user defined are never merged.
        is_frozen = [is_symbol for _, _, is_symbol in parts]
        following = [*range(1, len(pieces)), -1]
        preceding = list(range(-1, len(pieces) - 1))
        origins: dict[str, tuple[str, str]] = {}
        agenda: list[tuple[float, int, int, int]] = []

        def consider(left: int, right: int):
            if left < 0 or right < 0 or is_frozen[left] or is_frozen[right]:
                return
            merged = pieces[left] + pieces[right]
            score = self._scores.get(merged)
            if score is None:
                return
            heapq.heappush(agenda, (-score, left, right, len(merged)))
            if merged in self._unused:
                origins[merged] = (pieces[left], pieces[right])

        for i in range(1, len(pieces)):
            consider(i - 1, i)
        while agenda:
            _, left, right, length = heapq.heappop(agenda)
            if not (pieces[left] and pieces[right]):
                continue
            if len(pieces[left]) + len(pieces[right]) != length:
                continue
            pieces[left] += pieces[right]
            pieces[right] = ""
            after = following[right]
            following[left] = after
            if after >= 0:
                preceding[after] = left
            consider(preceding[left], left)
            consider(left, after)
        return [part for piece in pieces if piece for part in self._used_parts(piece, origins)]

    def _used_parts(self, piece: str, origins: dict[str, tuple[str, str]]) -> list[str]:
        """Returns the piece, or, where it is only for merging, the pieces it was made of."""
        if piece not in self._unused or piece not in origins:
            return [piece]
        return [part for origin in origins[piece] for part in self._used_parts(origin, origins)]


class _UnigramSegmenter(Segmenter):
    """Finds the pieces with the best sum of scores, as `EncodeOptimized` in
    https://github.com/google/sentencepiece/blob/master/src/unigram_model.cc does.

    There the sum runs over the whole text in single precision. Only where two splits of a word are
    so close that rounding decides between them does it matter what stood before the word: such
    words are split again with the true sum.
    """

    def __init__(self, model: PieceModel, ids: Sequence[int], pieces: Mapping[str, int]):
        unk_id = None if model.byte_fallback else ids[model.unk_id]
        super().__init__(_word_splitter(pieces), self._segment, unk_id)
        self._unk_piece = model.unk_id
        self._ids = ids
        self._finish = _Finisher(model, ids, pieces)
        self._pieces = dict(pieces)
        for piece in _pieces_of_type(model, PieceType.UNUSED):
            del self._pieces[piece]
        # The length of the longest piece that starts with two characters.
        self._longest = {piece[:2]: len(piece) for piece in sorted(self._pieces, key=len)}

        kinds = zip(model.scores, model.types, strict=True)
        normal = [score for score, kind in kinds if kind == PieceType.NORMAL]
        self._unknown_gain = _single(min(normal, default=_LARGEST_SINGLE) - _UNKNOWN_PENALTY)
        self._gains = list(model.scores)
        for i, kind in enumerate(model.types):
            if kind == PieceType.USER_DEFINED:
                # Found by trying sentencepiece 0.2.3: more for longer ones, always above all
                # others.
                self._gains[i] = _single((len(model.pieces[i].encode("utf-8")) - 1) * 0.1)
        largest_gain = max(map(abs, [*self._gains, self._unknown_gain]))
        self._least_safe_cost = MOST_FIXED_IDS * largest_gain

    def _segmentations(self, normalized: str) -> list[Segmentation]:
        segmentations = super()._segmentations(normalized)
        cost = sum(map(itemgetter(2), segmentations))
        if cost < min(map(itemgetter(3), segmentations), default=math.inf):
            return segmentations
        return self._with_true_sums(normalized, cost)

    def _with_true_sums(self, normalized: str, cost: float) -> list[Segmentation]:
        segmentations = []
        total = 0.0
        for word in self._split(normalized):
            segmentation = self._words[word]
            if segmentation.safe_cost <= cost:
                segmentation = self._segment(word, total)
            for gain in segmentation.gains:
                total = _single(total + gain)
            segmentations.append(segmentation)
        return segmentations

    def _segment(self, word: str, total: float | None = None) -> Segmentation:
        """Returns the best split of a word before which the gains add up to `total`.

        Without it nothing is rounded; `safe_cost` says where that gives the same.
        """
        starts, pieces, margins = self._best_steps(word, total)
        ids: list[int] = []
        spans: list[tuple[int, int]] = []
        gains: list[float] = []
        margin = math.inf
        end = len(word)
        while end:
            start, piece = starts[end], pieces[end]
            margin = min(margin, margins[end])
            is_unknown = piece == self._unk_piece
            found = [self._ids[piece]]
            if is_unknown and self._finish.has_bytes:
                found = self._finish.byte_ids(word[start:end])[::-1]
            ids += found
            spans += [(start, end)] * len(found)
            gains.append(self._unknown_gain if is_unknown else self._gains[piece])
            end = start
        # Each of at most len(word) + 1 sums is rounded by at most 2**-24 of what it comes to, in
        # both of the ways compared; the rest is for safety.
        safe_cost = margin / (len(word) + 1) * 2**21
        return Segmentation(
            tuple(reversed(ids)),
            tuple(reversed(spans)),
            sum(map(abs, gains)),
            safe_cost,
            tuple(reversed(gains)),
        )

    def _best_steps(self, word: str, total: float | None):
        """Returns for each place in a word the best way there: where its last piece starts, which
        it is, and how much better it is than the second best way.
        """
        size = len(word)
        sums = [-math.inf] * (size + 1)
        starts, pieces = [0] * (size + 1), [-1] * (size + 1)
        margins = [math.inf] * (size + 1)
        sums[0] = total or 0.0
        find, gains, longest = self._pieces.get, self._gains, self._longest
        ways: list[tuple[int, int, float]] = []
        for start in range(size):
            so_far = sums[start]
            piece = find(word[start])
            if piece is None:
                ways.append((start + 1, self._unk_piece, self._unknown_gain))
            else:
                ways.append((start + 1, piece, gains[piece]))
            last = min(start + longest.get(word[start : start + 2], 0), size)
            for end in range(start + 2, last + 1):
                piece = find(word[start:end])
                if piece is not None:
                    ways.append((end, piece, gains[piece]))
            for end, piece, gain in ways:
                candidate = so_far + gain
                if total is not None:
                    candidate = _single(candidate)
                gap = candidate - sums[end]
                if gap > 0:
                    sums[end], starts[end], pieces[end] = candidate, start, piece
                    margins[end] = gap
                elif -gap < margins[end]:
                    margins[end] = -gap
            ways.clear()
        return starts, pieces, margins


def _word_splitter(pieces: Iterable[str]) -> Callable[[str], list[str]]:
    """Returns a function that cuts a text into words such that no piece goes across a cut."""
    # Zero stands in no piece: it ends the strings of the format's own library.
    joined = "\0".join(["", *pieces])
    if not re.search(f"[^\0]{SPACE}", joined):
        return _split_into_words
    if not re.search(f"[^\0{SPACE}]{SPACE}", joined):
        return re.compile(f"{SPACE}+[^{SPACE}]*|[^{SPACE}]+").findall
    return _whole


def _whole(text: str) -> list[str]:
    return [text]


def _pieces_of_type(model: PieceModel, kind: PieceType) -> list[str]:
    return [p for p, its_kind in zip(model.pieces, model.types, strict=True) if its_kind == kind]


def _pieces_of_text(model: PieceModel) -> dict[str, int]:
    """Returns the pieces that text can be, with their indices."""
    kinds = enumerate(zip(model.pieces, model.types, strict=True))
    return {piece: i for i, (piece, kind) in kinds if kind not in _RESERVED}


_SINGLE = struct.Struct("<f")
_LARGEST_SINGLE = (2 - 2**-23) * 2.0**127


def _single(value: float) -> float:
    """Returns the value rounded to single precision."""
    return _SINGLE.unpack(_SINGLE.pack(value))[0]
