"""Ids of words that are looked up as they are written."""

import pytest

from clozework.tokenizers.piece_model import ModelType, PieceType, read_piece_model
from clozework.tokenizers.piece_normalizer import PieceNormalizer
from clozework.tokenizers.piece_segmenters import make_segmenter
from clozework.tokenizers.written_words import WrittenWords
from tests.nasty_texts import nasty_texts
from tests.unit.tokenizers.families import PIECES, piece_model

# One symbol of a user, and two splits of "abfox" that score the same.
PIECES_WITH_SYMBOL = [*PIECES, ("<br", 0.0, PieceType.USER_DEFINED)]
PIECES_WITH_A_TIE = [*PIECES, ("abfox", -1.375 - 1.5, PieceType.NORMAL)]


def written_words(pieces=PIECES, **options):
    """Returns the words of a model, and what gives their ids the long way."""
    model = read_piece_model(piece_model(pieces, **options), "a test")
    normalizer = PieceNormalizer(model)
    segmenter = make_segmenter(model, range(len(model.pieces)))
    words = WrittenWords(normalizer, segmenter)
    return words, lambda text: segmenter.ids(normalizer.normalize(text))


@pytest.mark.parametrize("text", ["ab", "ab a b", "  ab   b ", "", " ", "a" * 100 + " b"])
@pytest.mark.parametrize("model_type", [ModelType.UNIGRAM, ModelType.BPE])
def test_ids_are_those_of_the_long_way(text, model_type):
    words, the_long_way = written_words(model_type=model_type)
    assert words.ids(text) == the_long_way(text)


def test_ids_of_any_text_are_those_of_the_long_way_or_none(default_charsmap):
    pieces = [*PIECES_WITH_SYMBOL, *((c, -9.0, PieceType.NORMAL) for c in "cdeghijklmnpqrstuv")]
    words, the_long_way = written_words(pieces, charsmap=default_charsmap)
    found = [(words.ids(text), the_long_way(text)) for text in nasty_texts(2000)]
    assert any(ids is not None for ids, _ in found)
    assert all(ids in (None, theirs) for ids, theirs in found)


@pytest.mark.parametrize("text", ["a fo", "a \u2581", "a <br b", "a abfo", "a b " * 2048])
def test_what_else_may_change_ids_has_none(text):
    # Unknown pieces, what stands for a space, a symbol, and more ids than words are safe in.
    words, _ = written_words(PIECES_WITH_SYMBOL)
    assert words.ids(text) is None


def test_rules_of_the_model_have_none(default_charsmap):
    words, _ = written_words(charsmap=default_charsmap)
    assert words.ids("a b") == [4, 5, 4, 6]
    assert words.ids("a \uff42") is None


def test_a_word_with_two_splits_that_are_as_good_has_none():
    words, _ = written_words(PIECES_WITH_A_TIE)
    assert words.ids("ab fox") == [4, 7, 4, 8]
    assert words.ids("ab abfox") is None


@pytest.mark.parametrize(
    "options",
    [
        {"add_dummy_prefix": False},
        {"remove_extra_whitespaces": False},
        {"escape_whitespaces": False},
        {"treat_whitespace_as_suffix": True},
        {"model_type": ModelType.CHAR},
        {"pieces": [*PIECES, ("\u2581\u2581", -1.0, PieceType.NORMAL)]},
        {"pieces": [*PIECES, ("a\u2581b", -1.0, PieceType.NORMAL)]},
        {"pieces": [*PIECES, ("a b", 0.0, PieceType.USER_DEFINED)]},
    ],
)
def test_models_whose_words_are_no_words_by_themselves_have_none(options):
    words, _ = written_words(**options)
    assert words.ids("ab") is None
