"""SentencePiece's normalisation of text: replacements, then spaces.

The `tokenizers` library has this too (`normalizers.Precompiled`), but replaces within one grapheme
at a time and knows no user-defined symbols, so that ids differ from SentencePiece's on some texts.
"""

import re
from collections.abc import Iterable, Iterator

from clozework.tokenizers.charsmap import Charsmap, read_charsmap
from clozework.tokenizers.piece_model import PieceModel, PieceType

__all__ = ["SPACE", "PieceNormalizer", "SymbolTable", "replaced"]

# What stands for a space inside pieces.
SPACE = "\u2581"


class PieceNormalizer:
    """Normalises text as the SentencePiece model says.

    Follows https://github.com/google/sentencepiece/blob/master/src/normalizer.cc to the letter:
    `normalize_with_spans` is that code's loop, `normalize` a faster way to the same text.

    Args:
        model: The model.

    Attributes:
        space: What stands for a space in normalised text.
        has_words_between_spaces: Whether a text of words that it `keeps` becomes these words, each
            with one space before it, however many there were.
    """

    def __init__(self, model: PieceModel):
        self._model = model
        self._rules = read_charsmap(model.charsmap)
        # Symbols that a user defined stay as they are, and come before any rule.
        self._symbols = SymbolTable(
            piece
            for piece, kind in zip(model.pieces, model.types, strict=True)
            if kind == PieceType.USER_DEFINED
        )
        starts_and_seconds = (
            self._rules.singles | self._symbols.singles,
            self._rules.firsts | self._symbols.firsts,
            self._rules.seconds | self._symbols.seconds,
        )
        self._find = _finder(*starts_and_seconds)
        self._is_plain = not (
            model.treat_whitespace_as_suffix
            or self._rules.has_double_spaces
            or self._symbols.has_double_spaces
        )
        self.space = SPACE if model.escape_whitespaces else " "
        self.has_words_between_spaces = (
            self._is_plain
            and model.add_dummy_prefix
            and model.remove_extra_whitespaces
            and model.escape_whitespaces
            and not any(" " in characters for characters in starts_and_seconds)
        )

    def keeps(self, word: str) -> bool:
        """Returns whether nothing in a word is replaced."""
        return not self._find(word, 0)

    def normalize(self, text: str) -> str:
        """Returns the normalised text."""
        if not self._is_plain:
            return self.normalize_with_spans(text)[0]
        text = self._replaced_text(text)
        model = self._model
        if model.remove_extra_whitespaces:
            if "  " in text:
                text = re.sub("  +", " ", text)
            text = text.lstrip(" ")
        if not text:
            return ""
        if model.add_dummy_prefix:
            text = " " + text
        if model.escape_whitespaces:
            text = text.replace(" ", SPACE)
        return text.rstrip(self.space) if model.remove_extra_whitespaces else text

    def normalize_with_spans(self, text: str) -> tuple[str, list[int], list[int]]:
        """Returns the normalised text, and for each of its characters where it starts and ends in
        `text`, in characters. Spaces put in have no width.
        """
        if self._is_unchanged(text):
            return self.normalize(text), [0, *range(len(text))], [0, *range(1, len(text) + 1)]
        model = self._model
        written: list[str] = []
        starts: list[int] = []
        ends: list[int] = []

        def write(characters: str, start: int, end: int):
            written.append(characters.replace(" ", self.space))
            starts.extend([start] * len(characters))
            ends.extend([end] * len(characters))

        consumed = 0
        elements = list(self._elements(text))
        first = 0
        if model.remove_extra_whitespaces:
            while first < len(elements) and elements[first][0] == " ":
                consumed += elements[first][1]
                first += 1
        if first == len(elements):
            return "", [], []
        if model.add_dummy_prefix and not model.treat_whitespace_as_suffix:
            write(" ", consumed, consumed)
        is_after_space = model.remove_extra_whitespaces
        for replacement, length in elements[first:]:
            if is_after_space:
                replacement = replacement.lstrip(" ")
            if replacement:
                write(replacement, consumed, consumed + length)
                is_after_space = model.remove_extra_whitespaces and replacement.endswith(" ")
            consumed += length
        normalized = "".join(written)
        if model.remove_extra_whitespaces:
            normalized = normalized.rstrip(self.space)
            del starts[len(normalized) :], ends[len(normalized) :]
        if model.add_dummy_prefix and model.treat_whitespace_as_suffix:
            normalized += self.space
            starts.append(consumed)
            ends.append(consumed)
        return normalized, starts, ends

    def _is_unchanged(self, text: str) -> bool:
        """Says whether all that happens to a text is the space before it."""
        model = self._model
        return (
            bool(text)
            and self._is_plain
            and model.add_dummy_prefix
            and not self._find(text, 0)
            and not ("  " in text or text[0] == " " or text[-1] in (" ", self.space))
        )

    def _elements(self, text: str) -> Iterator[tuple[str, int]]:
        """Yields what each stretch of the text becomes, and how many characters it has."""
        position = 0
        for start, end, replacement in self._replaced_stretches(text):
            for character in text[position:start]:
                yield character, 1
            yield replacement, end - start
            position = end
        for character in text[position:]:
            yield character, 1

    def _replaced_text(self, text: str) -> str:
        parts = []
        position = 0
        for start, end, replacement in self._replaced_stretches(text):
            parts += (text[position:start], replacement)
            position = end
        return "".join((*parts, text[position:])) if parts else text

    def _replaced_stretches(self, text: str) -> Iterator[tuple[int, int, str]]:
        """Yields start and end of what symbols and rules apply to, and what it becomes."""
        found = self._find(text, 0)
        while found:
            start = found.start()
            length, replacement = self._replacement(text, start)
            yield start, start + length, replacement
            found = self._find(text, start + length)

    def _replacement(self, text: str, start: int) -> tuple[int, str]:
        """Returns what the longest symbol, or else the longest rule, makes of the text there."""
        length = self._symbols.match_length(text, start)
        if length:
            return length, text[start : start + length]
        return self._rules.longest_match(text, start) or (1, text[start])


class SymbolTable:
    """Symbols to be found in texts, the longest first.

    Args:
        symbols: The symbols.
    """

    def __init__(self, symbols: Iterable[str]):
        self._symbols = frozenset(symbols)
        self.singles = {symbol for symbol in self._symbols if len(symbol) == 1}
        longer = [symbol for symbol in self._symbols if len(symbol) > 1]
        self.firsts = {symbol[0] for symbol in longer}
        self.seconds = {symbol[1] for symbol in longer}
        self.has_double_spaces = any("  " in symbol for symbol in longer)
        self._lengths: dict[str, list[int]] = {}
        for length in sorted({len(symbol) for symbol in self._symbols}, reverse=True):
            for first in {symbol[0] for symbol in self._symbols if len(symbol) == length}:
                self._lengths.setdefault(first, []).append(length)
        self._find = _finder(self.singles, self.firsts, self.seconds)

    def match_length(self, text: str, start: int) -> int:
        """Returns the length of the longest symbol that starts there, 0 if there is none."""
        for length in self._lengths.get(text[start], ()):
            # At the end of the text a slice may be shorter than that.
            if text[start : start + length] in self._symbols and start + length <= len(text):
                return length
        return 0

    def pieces(self, text: str) -> list[str]:
        """Returns the symbols in a text, and the single characters between them."""
        return [text[start:end] for start, end, _ in self.split(text)]

    def split(self, text: str) -> Iterator[tuple[int, int, bool]]:
        """Yields start and end of each symbol, and of each single character between them.

        The third element says which it is: `True` for a symbol.
        """
        position = 0
        while position < len(text):
            found = self._find(text, position)
            start = found.start() if found else len(text)
            for i in range(position, start):
                yield i, i + 1, False
            if not found:
                return
            length = self.match_length(text, start)
            position = start + (length or 1)
            yield start, position, length > 0


def replaced(text: str, rules: Charsmap) -> str:
    """Returns a text with the rules applied, from the left and the longest first."""
    written = []
    position = 0
    while position < len(text):
        length, replacement = rules.longest_match(text, position) or (1, text[position])
        written.append(replacement)
        position += length
    return "".join(written)


def _finder(singles: set[str], firsts: set[str], seconds: set[str]):
    """Returns a function that finds the next place where something that is looked for may start.

    It takes a text and a position and returns a match or `None`. A place it finds may turn out to
    be none; it skips those that cannot be, in most texts all of them.
    """
    options = []
    if singles:
        options.append(_character_class(singles))
    if firsts - singles:
        options.append(f"{_character_class(firsts - singles)}(?={_character_class(seconds)})")
    # (?!) matches nowhere.
    return re.compile("|".join(options) or "(?!)").search


def _character_class(characters: set[str]) -> str:
    """Returns a regular expression for the characters, or for a few more: `re` goes through those
    beyond U+FFFF one after the other, so that all of them are let in where one is.
    """
    escaped = [re.escape(character) for character in sorted(characters) if character <= "\uffff"]
    if len(escaped) < len(characters):
        escaped.append("\U00010000-\U0010ffff")
    return f"[{''.join(escaped)}]"
