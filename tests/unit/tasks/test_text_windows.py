"""Long texts in parts that fit."""

import pytest

from clozework.errors import ConfigError
from clozework.tasks.text_windows import text_windows
from tests.unit.tasks.tiny_seq2seq import tiny_preprocessor


@pytest.fixture(scope="module")
def tokenizer():
    return tiny_preprocessor().tokenizer


def counts(tokenizer, parts):
    return [len(ids) for ids in tokenizer.encode_ids(parts)]


def test_a_text_that_fits_is_one_part(tokenizer):
    assert text_windows(tokenizer, "  abc abc ", 10) == ["abc abc"]


def test_an_empty_text_has_no_parts(tokenizer):
    assert text_windows(tokenizer, "", 10) == []
    assert text_windows(tokenizer, " \n ", 10) == []


@pytest.mark.parametrize(
    ("text", "num_tokens", "expected"),
    [
        # Of these characters letters and spaces have tokens, a token each.
        ("abcd efg. abcd efgh abc", 10, ["abcd efg.", "abcd efgh", "abc"]),
        ("ab cd? ef", 6, ["ab cd?", "ef"]),
        ("abcd\nefgh", 6, ["abcd", "efgh"]),
        ('abc "de." fgh abc', 9, ['abc "de."', "fgh abc"]),
        ("ab. cdefgh abc", 9, ["ab. cdefgh", "abc"]),
        ("abcdefgh a", 8, ["abcdefgh", "a"]),
        ("abcdefghabcd", 5, ["abcde", "fghab", "cd"]),
    ],
)
def test_parts_end_with_a_sentence_or_a_word_or_where_they_must(
    tokenizer, text, num_tokens, expected
):
    parts = text_windows(tokenizer, text, num_tokens)
    assert parts == expected
    assert max(map(len, tokenizer.encode_ids(parts))) <= num_tokens


def test_nothing_is_lost(tokenizer):
    text = "abc de fgh. " * 50
    parts = text_windows(tokenizer, text, 17)
    assert " ".join(parts) == text.strip()


def test_long_runs_without_tokens_come_to_an_end(tokenizer):
    text = "é" * 500 + "abc" + "é" * 500 + "de"
    assert "".join(text_windows(tokenizer, text, 3)) == text


def test_a_row_without_room_is_refused(tokenizer):
    with pytest.raises(ConfigError, match="room for 0 tokens of a text.*to at least 3"):
        text_windows(tokenizer, "abc", 0)
