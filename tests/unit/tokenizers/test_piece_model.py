"""The files of SentencePiece, good and damaged."""

import random

import pytest
import sentencepiece

from clozework.errors import PresetError
from clozework.tokenizers.charsmap import Charsmap
from clozework.tokenizers.piece_model import (
    ModelType,
    PieceModel,
    PieceType,
    read_piece_model,
    single_precision,
    write_piece_model,
)
from clozework.tokenizers.piece_normalizer import PieceNormalizer
from tests.nasty_texts import nasty_texts
from tests.unit.tokenizers.families import PIECES, piece_model


def test_what_is_written_is_read_back(default_charsmap):
    model = PieceModel(
        pieces=["<unk>", "a" * 200, "\u2581é", ""],
        scores=[0.0, -1.5, 3.25, -0.0],
        types=[2, 1, 4, 5],
        model_type=ModelType.BPE,
        charsmap=default_charsmap,
        denormalizer_charsmap=b"",
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        escape_whitespaces=False,
        treat_whitespace_as_suffix=True,
        byte_fallback=True,
        bos_piece="<b>",
        unk_surface="?",
        normalizer_name="nmt_nfkc",
    )
    assert read_piece_model(write_piece_model(model)) == model


def test_scores_are_rounded_as_in_a_file():
    scores = [0.1, -1 / 3, -0.0, 1e-46]
    model = PieceModel(pieces=list("abcd"), scores=scores, types=[2, 1, 1, 1])
    assert single_precision(scores, "This") == read_piece_model(write_piece_model(model)).scores


@pytest.mark.parametrize("score", [1e39, float("nan")])
def test_scores_that_a_file_cannot_hold_are_refused(score):
    with pytest.raises(PresetError, match=r"This has a piece with the score (1e\+39|nan), which"):
        single_precision([0.0, score], "This")


def test_sentencepiece_reads_what_is_written():
    model = sentencepiece.SentencePieceProcessor(model_proto=piece_model())
    assert [model.id_to_piece(i) for i in range(model.vocab_size())] == [p for p, _, _ in PIECES]
    assert (model.unk_id(), model.bos_id(), model.eos_id(), model.pad_id()) == (1, 2, 3, 0)


def test_unknown_fields_are_skipped():
    # Field 200 as a number and field 201 as eight bytes.
    strange = b"\xc0\x0c\x05" + b"\xc9\x0c" + b"12345678"
    assert read_piece_model(strange + piece_model()) == read_piece_model(piece_model())


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"no model at all", r"not a SentencePiece model, or a damaged one \(15 bytes\)"),
        (piece_model()[:-3], "damaged one .*: it ends inside a field"),
        (b"\x0a\x7f\x0a\x01a", "damaged one .*: it ends inside a piece"),
        (b"\x0a\x05\x0a\x01a\x10\x05" + piece_model(), "damaged one"),
        (b"\xff" * 12, "damaged one .*: a number has more than 64 bits"),
        (b"\x0b", "damaged one .*: wire type 3 does not exist"),
        (b"", "needs exactly one piece of type UNKNOWN, and of its 0 pieces 0 are"),
        (piece_model([*PIECES, ("<u>", 0.0, PieceType.UNKNOWN)]), "of its 10 pieces 2 are"),
        (piece_model(model_type=7), "its model type 7 is not known"),
        (piece_model(charsmap=b"\x08\0\0\0abc"), "The map of characters .* is damaged"),
    ],
)
def test_a_damaged_model_is_refused(data, message):
    with pytest.raises(PresetError, match=message):
        PieceNormalizer(read_piece_model(data))


def test_a_score_of_another_size_is_refused():
    with pytest.raises(PresetError, match="a score is not a 32-bit number"):
        read_piece_model(b"\x0a\x0c\x0a\x01a\x11" + b"\0" * 8 + piece_model())


def test_no_damage_leads_to_another_error():
    source = random.Random(0)
    original = piece_model()
    for _ in range(2000):
        data = bytearray(original)
        for _ in range(source.randrange(1, 4)):
            data[source.randrange(len(data))] = source.randrange(256)
        try:
            read_piece_model(bytes(data[: source.randrange(len(data) + 1)]))
        except PresetError:
            continue


def test_no_damage_of_a_map_of_characters_leads_to_another_error(default_charsmap):
    source = random.Random(0)
    for _ in range(12):
        data = bytearray(default_charsmap)
        for _ in range(3000):
            data[source.randrange(4, len(data))] = source.randrange(256)
        try:
            rules = Charsmap(bytes(data))
            for text in nasty_texts(100):
                for start in range(len(text)):
                    rules.longest_match(text, start)
        except PresetError:
            continue


def test_rules_of_the_default_map(default_charsmap):
    rules = Charsmap(default_charsmap)
    assert rules.longest_match("ﬁx", 0) == (1, "fi")
    assert rules.longest_match("xe\u0301", 1) == (2, "é")
    assert rules.longest_match("\t", 0) == (1, " ")
    assert rules.longest_match("x", 0) is None
    assert "ﬁ" in rules.singles
    assert "e" in rules.firsts
    assert "\u0301" in rules.seconds


def test_an_empty_map_has_no_rules():
    assert Charsmap(b"").longest_match("ﬁ", 0) is None


def test_normalising_with_and_without_spans_gives_the_same(default_charsmap):
    pieces = [*PIECES, *((s, 0.0, PieceType.USER_DEFINED) for s in ("<mask>", "a  b", "ﬁ", "\n\n"))]
    for options in (
        {},
        {"add_dummy_prefix": False},
        {"remove_extra_whitespaces": False},
        {"escape_whitespaces": False},
        {"treat_whitespace_as_suffix": True},
        {"charsmap": b""},
    ):
        proto = piece_model(pieces, **{"charsmap": default_charsmap, **options})
        normalizer = PieceNormalizer(read_piece_model(proto))
        upstream = sentencepiece.SentencePieceProcessor(model_proto=proto)
        for text in [*nasty_texts(500), "a  b a ﬁ \n\n\n ", " ", "  ", "\u200b", "\u2581"]:
            normalized, starts, ends = normalizer.normalize_with_spans(text)
            assert normalizer.normalize(text) == normalized == upstream.normalize(text), options
            assert len(starts) == len(ends) == len(normalized)
            assert all(0 <= a <= b <= len(text) for a, b in zip(starts, ends, strict=True))
