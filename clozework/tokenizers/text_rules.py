"""What some families do to a text before SentencePiece sees it, as ALBERT and its heirs do."""

import dataclasses
import re

import tokenizers
from tokenizers import normalizers

from clozework.tokenizers.piece_model import PieceModel

__all__ = ["TextRules"]

# What Google's code takes off the score of a piece such as "1,", so that it is hardly ever chosen.
_NUMBER_WITH_COMMA_PENALTY = 100.0
_QUOTES = re.compile("``|''")
_QUOTE_OR_CHARACTER = re.compile(f"{_QUOTES.pattern}|.", re.DOTALL)
_CHARACTER = tokenizers.Regex(r"[\s\S]")


class TextRules:
    """Rules for a text, taken by the normalisers of the `tokenizers` library.

    Args:
        lowercase: Whether to lowercase.
        strip_accents: Whether to decompose characters (NFKD) and drop their accents.
        uses_albert_rules: Whether two backticks or two apostrophes become a quotation mark, and
            pieces that end with a digit and a comma are avoided.

    Attributes:
        steps: The normalisers, in their order.
    """

    def __init__(self, *, lowercase: bool, strip_accents: bool, uses_albert_rules: bool):
        quotes = [normalizers.Replace("``", '"'), normalizers.Replace("''", '"')]
        case_and_accents: list[normalizers.Normalizer] = []
        if strip_accents:
            case_and_accents += [normalizers.NFKD(), normalizers.StripAccents()]
        if lowercase:
            case_and_accents.append(normalizers.Lowercase())
        self.steps = [*(quotes if uses_albert_rules else ()), *case_and_accents]
        self._normalizer = normalizers.Sequence(case_and_accents)
        self._uses_albert_rules = uses_albert_rules

    def apply(self, text: str) -> str:
        """Returns the text that SentencePiece sees."""
        if not self.steps:
            return text
        if self._uses_albert_rules:
            text = _QUOTES.sub('"', text)
        return self._normalizer.normalize_str(text)

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Returns where each character of `apply(text)` comes from, in characters of `text`."""
        # The library says of a replacement that it comes from the last of the characters alone.
        sources = [match.span() for match in _QUOTE_OR_CHARACTER.finditer(text)]
        if not self._uses_albert_rules:
            sources = [(i, i + 1) for i in range(len(text))]
        traced = tokenizers.PreTokenizedString(
            "".join(text[start:end] if end == start + 1 else '"' for start, end in sources)
        )
        traced.normalize(self._normalizer.normalize)
        traced.split(lambda _, part: part.split(_CHARACTER, "isolated"))
        parts = traced.get_splits(offset_referential="original", offset_type="char")
        return [(sources[i][0], sources[j - 1][1]) for part, (i, j), _ in parts if part]

    def scored(self, model: PieceModel) -> PieceModel:
        """Returns the model with the scores that pieces have under these rules."""
        if not self._uses_albert_rules:
            return model
        scores = [
            score - (_NUMBER_WITH_COMMA_PENALTY if _is_number_with_comma(piece) else 0.0)
            for piece, score in zip(model.pieces, model.scores, strict=True)
        ]
        return dataclasses.replace(model, scores=scores)


def _is_number_with_comma(piece: str) -> bool:
    return piece[-1:] == "," and piece[-2:-1].isdigit()
