"""Small tokenizers with special tokens, and what they are made of."""

from clozework.tokenizers import BytePairTokenizer, SentencePieceTokenizer, WordPieceTokenizer
from clozework.tokenizers.piece_model import PieceModel, PieceType, write_piece_model

__all__ = [
    "BYTE_PAIRS",
    "MERGES",
    "PIECES",
    "WORD_PIECES",
    "BytePair",
    "SentencePiece",
    "WordPiece",
    "piece_model",
]

WORD_PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "quick", "bro", "##wn", "fox"]
WORD_PIECES += [".", "中", "国", "cafe", "café"]
MERGES = ["Ġ f", "o x", "Ġf ox", "a b"]
BYTE_PAIRS = {"<s>": 0, "<pad>": 1, "</s>": 2, "<mask>": 3, "a": 4, "b": 5, "ab": 6, "Ġ": 7, "f": 8}
BYTE_PAIRS |= {"o": 9, "x": 10, "ox": 11, "Ġf": 12, "Ġfox": 13, "<unk>": 14}
PIECES = [
    *(("<pad>", 0.0, PieceType.CONTROL), ("<unk>", 0.0, PieceType.UNKNOWN)),
    *(("<s>", 0.0, PieceType.CONTROL), ("</s>", 0.0, PieceType.CONTROL)),
    *((piece, -1.0 - i / 8, PieceType.NORMAL) for i, piece in enumerate("▁ a b ab fox".split())),
]


class WordPiece(WordPieceTokenizer):
    special_tokens_by_role = {
        "cls": "[CLS]",
        "sep": "[SEP]",
        "pad": "[PAD]",
        "mask": "[MASK]",
        "start": "[CLS]",
        "end": "[SEP]",
    }


class BytePair(BytePairTokenizer):
    special_tokens_by_role = {"start": "<s>", "pad": "<pad>", "end": "</s>", "mask": "<mask>"}
    tokens_taking_space_before = frozenset({"<mask>"})


class SentencePiece(SentencePieceTokenizer):
    special_tokens_by_role = {"start": "<s>", "pad": "<pad>", "end": "</s>", "mask": "<mask>"}
    appended_tokens = ("<mask>",)


def piece_model(pieces=PIECES, **options) -> bytes:
    names, scores, types = (list(column) for column in zip(*pieces, strict=True))
    return write_piece_model(PieceModel(pieces=names, scores=scores, types=types, **options))
