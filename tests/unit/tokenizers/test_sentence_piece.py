"""What is peculiar to SentencePiece; the ids themselves are compared in tests/parity."""

import base64

import pytest

from clozework.errors import ConfigError, PresetError, PresetNotFoundError
from clozework.tokenizers import SentencePieceTokenizer
from clozework.tokenizers.piece_model import ModelType, PieceType
from tests.unit.tokenizers.families import PIECES, SentencePiece, piece_model

BYTES = [(f"<0x{byte:02X}>", 0.0, PieceType.BYTE) for byte in range(256)]


def test_the_model_may_be_bytes_base64_or_a_path(tmp_path):
    proto = piece_model([*PIECES, *((f"x{i}", -20.0, PieceType.NORMAL) for i in range(200))])
    path = tmp_path / "spm.model"
    path.write_bytes(proto)
    encoded = base64.b64encode(proto).decode()
    for form in (proto, bytearray(proto), encoded, path, str(path)):
        tokenizer = SentencePieceTokenizer(form)
        assert tokenizer.proto == proto
        assert tokenizer("ab fox").tolist() == [4, 7, 4, 8]


def test_unknown_characters_in_a_row_are_one_token():
    tokenizer = SentencePieceTokenizer(piece_model())
    assert tokenizer("éèa é").tolist() == [4, 1, 5, 4, 1]
    assert tokenizer.encode(["éèa é"])[0].offsets == [(0, 0), (0, 2), (2, 3), (4, 4), (4, 5)]
    assert tokenizer.detokenize([4, 1, 5]) == " \u2047 a"


def test_unknown_characters_become_bytes_where_there_are_pieces_for_them():
    tokenizer = SentencePieceTokenizer(piece_model([*PIECES, *BYTES], byte_fallback=True))
    ids = tokenizer("é").tolist()
    assert [tokenizer.id_to_token(i) for i in ids] == ["▁", "<0xC3>", "<0xA9>"]
    assert tokenizer.detokenize(ids) == "é"
    assert tokenizer.encode(["aé"])[0].offsets[-2:] == [(1, 2), (1, 2)]
    # Half a character.
    assert tokenizer.detokenize(ids[:2]) == "\ufffd"


def test_fairseqs_numbers():
    class Fairseq(SentencePieceTokenizer):
        special_tokens_by_role = {"start": "<s>", "pad": "<pad>", "end": "</s>", "mask": "<mask>"}
        has_fairseq_ids = True

    pieces = [("<unk>", 0.0, PieceType.UNKNOWN), *PIECES[2:4], *PIECES[4:]]
    tokenizer = Fairseq(piece_model(pieces))
    assert tokenizer.get_vocabulary()[:5] == ["<s>", "<pad>", "</s>", "<unk>", "▁"]
    assert tokenizer.get_vocabulary()[-1] == "<mask>"
    assert tokenizer.vocabulary_size() == len(pieces) + 2
    assert tokenizer("ab é").tolist() == [4, 7, 4, 3]
    ids = [tokenizer.start_token_id, 4, 7, tokenizer.mask_token_id, 3, tokenizer.end_token_id]
    assert tokenizer.detokenize(ids) == "ab \u2047 "
    assert tokenizer.token_to_id("no such token") == 3


def test_a_mask_is_appended_unless_the_model_has_one():
    assert SentencePiece(piece_model()).mask_token_id == len(PIECES)
    proto = piece_model([*PIECES, ("<mask>", 0.0, PieceType.USER_DEFINED)])
    tokenizer = SentencePiece(proto)
    assert tokenizer.mask_token_id == len(PIECES)
    assert tokenizer.vocabulary_size() == len(PIECES) + 1


def test_begin_and_end_can_be_added():
    tokenizer = SentencePieceTokenizer(piece_model(), add_bos=True, add_eos=True)
    assert tokenizer(["ab", ""]) == [[2, 4, 7, 3], [2, 3]]
    assert tokenizer.encode(["ab"])[0].offsets == [(0, 0), (0, 0), (0, 2), (2, 2)]
    assert tokenizer.get_config()["add_bos"] is True


def test_begin_and_end_have_to_be_pieces():
    with pytest.raises(ConfigError, match=r"add_eos was asked for, but .* has no piece '<end>'"):
        SentencePieceTokenizer(piece_model(eos_piece="<end>"), add_eos=True)


def test_tokens_that_are_none_have_the_id_of_the_unknown_one():
    assert SentencePieceTokenizer(piece_model()).token_to_id("zebra") == 1


def test_of_equal_tokens_the_first_counts():
    pieces = [*PIECES, ("fox", -1.0, PieceType.NORMAL)]
    assert SentencePieceTokenizer(piece_model(pieces)).token_to_id("fox") == 8


def test_words_of_a_word_model():
    pieces = [*PIECES[:4], ("▁the", -1.0, PieceType.NORMAL), ("▁fox", -1.0, PieceType.NORMAL)]
    tokenizer = SentencePieceTokenizer(piece_model(pieces, model_type=ModelType.WORD))
    assert tokenizer("the fox foxes").tolist() == [4, 5, 1]


def test_unused_pieces_are_only_for_merging():
    pieces = [
        *PIECES[:4],
        *((piece, -9.0, PieceType.NORMAL) for piece in "▁abc"),
        *(("ab", -1.0, PieceType.UNUSED), ("abc", -2.0, PieceType.NORMAL)),
    ]
    tokenizer = SentencePieceTokenizer(piece_model(pieces, model_type=ModelType.BPE))
    assert [tokenizer.id_to_token(i) for i in tokenizer("abc ab")] == ["▁", "abc", "▁", "a", "b"]


def test_a_denormalizer_is_applied_to_texts(default_charsmap):
    tokenizer = SentencePieceTokenizer(
        piece_model(
            [*PIECES, ("①", -1.0, PieceType.NORMAL)], denormalizer_charsmap=default_charsmap
        )
    )
    assert tokenizer.detokenize([5, len(PIECES)]) == "a1"


def test_words_beyond_the_memory_are_split_the_same(monkeypatch):
    monkeypatch.setattr("clozework.tokenizers.word_memory.MOST_WORDS", 2)
    tokenizer = SentencePieceTokenizer(piece_model())
    texts = ["ab a b fox ab", "fox " + "ab" * 100]
    assert tokenizer(texts) == SentencePieceTokenizer(piece_model())(texts)


def test_rules_come_before_the_model():
    pieces = [*PIECES, *(('"', -2.0, PieceType.NORMAL), ("x1,", -1.0, PieceType.NORMAL))]
    pieces += [(character, -9.0, PieceType.NORMAL) for character in "x1,"]
    tokenizer = SentencePieceTokenizer(
        piece_model(pieces), lowercase=True, strip_accents=True, uses_albert_rules=True
    )
    assert tokenizer.encode(["``ÁB'' x1,"])[0].ids == tokenizer.encode_ids(["``ÁB'' x1,"])[0]
    tokens = [tokenizer.id_to_token(i) for i in tokenizer("``ÁB'' x1,")]
    assert tokens == ["▁", '"', "ab", '"', "▁", "x", "1", ","]
    offsets = tokenizer.encode(["``ÁB'' e\u0301fox"])[0].offsets
    assert offsets == [(0, 0), (0, 2), (2, 4), (4, 6), (7, 7), (7, 8), (9, 12)]
    assert SentencePieceTokenizer(**tokenizer.get_config()).get_config() == tokenizer.get_config()


def test_config_keys_are_kerashubs():
    config = SentencePieceTokenizer(piece_model()).get_config()
    assert list(config)[4:] == ["proto", "sequence_length", "add_bos", "add_eos"]
    assert config["proto"] is None


@pytest.mark.parametrize(
    ("proto", "error", "message"),
    [
        (5, ConfigError, "proto must be the path of a SentencePiece model or its content as bytes"),
        (
            "é" * 3000,
            ConfigError,
            "a string of 3000 characters, which is neither a path nor base64",
        ),
        ("absent.model", PresetNotFoundError, "There is no file 'absent.model' to read a Sentence"),
    ],
)
def test_what_is_no_model_is_refused(proto, error, message):
    with pytest.raises(error, match=message):
        SentencePieceTokenizer(proto)


def test_a_damaged_model_does_not_take_the_place_of_another():
    tokenizer = SentencePieceTokenizer(piece_model())
    with pytest.raises(PresetError, match="is not a SentencePiece model, or a damaged one"):
        tokenizer.set_proto(piece_model()[:-1])
    assert tokenizer.proto == piece_model()
    assert tokenizer("a").tolist() == [4, 5]


def test_a_damaged_file_is_named(tmp_path):
    path = tmp_path / "spiece.model"
    path.write_bytes(b"\x0a\x7f\x0a\x01a")
    with pytest.raises(PresetError, match=r"'.*spiece\.model' is not a SentencePiece model, or a"):
        SentencePieceTokenizer(path)
