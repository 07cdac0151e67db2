"""What is peculiar to WordPiece."""

import re

import pytest

from clozework.errors import ConfigError, InputError, PresetError
from clozework.tokenizers import WordPieceTokenizer, pipelines
from tests.unit.tokenizers.families import WORD_PIECES, WordPiece

PLAIN = ["[UNK]", "a", "b", "中", "国", "##中", "##国", "cafe", "café"]


def test_ids_are_those_that_kerashub_stored():
    tokenizer = WordPiece([*WORD_PIECES, "brown"], lowercase=True)
    texts = ["the quick brown fox", "", "The Quick,  BROWN fox.", " airplane at airport"]
    brown = len(WORD_PIECES)
    assert tokenizer(texts) == [[5, 6, brown, 9], [], [5, 6, 1, brown, 9, 10], [1, 1, 1]]
    rows = tokenizer(texts)
    assert tokenizer.detokenize(rows)[2] == "the quick [UNK] brown fox ."


def test_texts_beyond_what_is_read_at_once_come_in_their_order():
    tokenizer = WordPiece(WORD_PIECES)
    texts = [["the", "quick", "fox"][i % 3] for i in range(2 * pipelines._TEXTS_AT_ONCE + 1)]
    assert tokenizer(texts) == [[WORD_PIECES.index(text)] for text in texts]


def test_suffixes_are_joined():
    tokenizer = WordPiece(WORD_PIECES)
    assert tokenizer.detokenize([8, 7, 8, 9]) == "##wn brown fox"


def test_lowercasing_drops_accents_unless_they_are_to_stay():
    ids = {token: i for i, token in enumerate(PLAIN)}
    assert WordPieceTokenizer(PLAIN, lowercase=True)("CAFÉ") == ids["cafe"]
    assert WordPieceTokenizer(PLAIN, lowercase=True, keep_accents=True)("CAFÉ") == ids["café"]
    assert WordPieceTokenizer(PLAIN, strip_accents=True)("café") == ids["cafe"]
    assert WordPieceTokenizer(PLAIN)("café") == ids["café"]


def test_keeping_accents_is_stored_only_where_it_is_asked_for():
    assert "keep_accents" not in WordPieceTokenizer(PLAIN, lowercase=True).get_config()
    tokenizer = WordPieceTokenizer(PLAIN, lowercase=True, keep_accents=True)
    config = tokenizer.get_config()
    assert config["keep_accents"] is True
    assert WordPieceTokenizer.from_config(config).keep_accents


def test_config_keys_are_kerashubs():
    assert list(WordPieceTokenizer(PLAIN).get_config())[4:] == [
        *("vocabulary", "sequence_length", "lowercase", "strip_accents", "split"),
        *("suffix_indicator", "oov_token", "special_tokens", "special_tokens_in_strings"),
    ]


def test_not_splitting_chinese_survives_the_config():
    tokenizer = WordPieceTokenizer(PLAIN, split_on_cjk=False)
    assert tokenizer("中国").tolist() == [3, 6]
    assert WordPieceTokenizer(PLAIN)("中国").tolist() == [3, 4]
    loaded = WordPieceTokenizer.from_config(tokenizer.get_config())
    loaded.set_vocabulary(PLAIN)
    assert loaded("中国").tolist() == [3, 6]


def test_words_of_more_than_100_characters_are_unknown():
    tokenizer = WordPieceTokenizer(["[UNK]", "é", "##é"])
    assert tokenizer("é" * 100).tolist() == [1] + [2] * 99
    assert tokenizer("é" * 101).tolist() == [0]


def test_words_that_are_split_already():
    tokenizer = WordPieceTokenizer(["[UNK]", "a b", "a", "##.", "B"], split=False)
    assert tokenizer(["a b", "a."]).tolist() == [1, 2, 3]
    assert tokenizer([["a b"], ["a.", "b"], []]) == [[1], [2, 3, 0], []]
    assert tokenizer("a.").tolist() == [2, 3]
    assert tokenizer.encode_ids(["a b", "a."]) == [[1], [2, 3]]
    with pytest.raises(InputError, match="Text 1 is 5"):
        tokenizer([["a"], ["a", 5]])


def test_a_suffix_indicator_of_ones_own():
    tokenizer = WordPieceTokenizer(["<u>", "a", "@@b"], suffix_indicator="@@", oov_token="<u>")
    assert tokenizer("ab c").tolist() == [1, 2, 0]
    assert tokenizer.detokenize([1, 2, 0]) == "ab <u>"


def test_further_special_tokens_can_count_in_every_call():
    options = {"special_tokens": ["[X]"], "special_tokens_in_strings": True, "lowercase": True}
    tokenizer = WordPieceTokenizer(["[UNK]", "[X]", "a", "[", "]", "x"], **options)
    assert tokenizer("a[X]a [x]").tolist() == [2, 1, 2, 3, 5, 4]
    assert tokenizer.get_config()["special_tokens"] == ["[X]"]
    assert tokenizer.encode_ids(["[X]"]) == [[1]]


def test_a_vocabulary_may_be_a_file_or_a_dictionary(tmp_path):
    path = tmp_path / "vocab.txt"
    # Only line breaks end tokens; this one ends with an ideographic space.
    path.write_bytes("[UNK]\r\na\nb\u3000\n".encode())
    tokenizer = WordPieceTokenizer(str(path))
    assert tokenizer.get_vocabulary() == ["[UNK]", "a", "b\u3000"]
    assert WordPieceTokenizer({"a": 1, "[UNK]": 0})("a").tolist() == [1]


def test_of_equal_tokens_the_last_counts_as_upstream():
    assert WordPieceTokenizer(["[UNK]", "a", "a"])("a").tolist() == [2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"vocabulary": {"[UNK]": 0, "a": 2}}, "must be 0, 1, 2, ... without a gap and each once"),
        ({"vocabulary": 5}, "vocabulary must be a list of tokens, a dict token -> id or the path"),
        ({"vocabulary": ["[UNK]", 5]}, "Every token of a vocabulary must be a str, got 5."),
        ({"vocabulary": ["a"]}, "lacks '[UNK]', named by oov_token or special_tokens"),
        (
            {"vocabulary": ["[UNK]"], "special_tokens": ["[X]"]},
            "lacks '[X]', named by oov_token or",
        ),
        ({"oov_token": None}, "oov_token must be a str, got None"),
        ({"keep_accents": True, "strip_accents": True}, "exclude each other; choose one"),
    ],
)
def test_what_cannot_be_is_refused(arguments, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        WordPieceTokenizer(**arguments)


def test_a_token_that_is_not_there_is_named():
    with pytest.raises(InputError, match=r"Token 'zebra' is not in the vocabulary."):
        WordPieceTokenizer(PLAIN).token_to_id("zebra")


def test_a_file_that_is_no_text_is_named(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(PresetError, match=r"vocab.txt' is no vocabulary: it is not text in UTF-8"):
        WordPieceTokenizer(path)
