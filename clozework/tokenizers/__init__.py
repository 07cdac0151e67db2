"""Strings to ids and back."""

import importlib

from clozework.tokenizers.byte_pair import BytePairTokenizer
from clozework.tokenizers.sentence_piece import SentencePieceTokenizer
from clozework.tokenizers.tokenizer import Encoding, Tokenizer
from clozework.tokenizers.training import (
    compute_sentence_piece_proto,
    compute_word_piece_vocabulary,
)
from clozework.tokenizers.word_piece import WordPieceTokenizer

__all__ = [
    "BytePairTokenizer",
    "Encoding",
    "SentencePieceTokenizer",
    "Tokenizer",
    "WordPieceTokenizer",
    "compute_sentence_piece_proto",
    "compute_word_piece_vocabulary",
]


def __getattr__(name: str):
    """Finds the families' tokenizers, which KerasHub has here too, where their families are."""
    # By name and when asked, as the families are built on this package.
    if name.endswith("Tokenizer"):
        families = importlib.import_module("clozework.models")
        if name in families.__all__:
            return getattr(families, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
