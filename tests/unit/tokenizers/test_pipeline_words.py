"""Ids of texts put together from those of their words."""

import pytest

from clozework.tokenizers import BytePairTokenizer, WordPieceTokenizer, pipeline_words, pipelines
from clozework.tokenizers.pipeline_words import PipelineWords
from tests.unit.tokenizers.families import BYTE_PAIRS, MERGES, WORD_PIECES, BytePair

TEXTS = ["ab a ab a", "a ab ab a", "ab", "a a"]
# Of seven words each, of which two and three are new.
WITH_FEW_NEW_WORDS = ["a ab c d ab a a"]
WITH_MORE_NEW_WORDS = ["a ab e f g ab a"]


@pytest.fixture
def asked():
    """The texts whose ids a pipeline was asked for."""
    return []


@pytest.fixture
def words(asked):
    def encode(texts):
        asked.extend(texts)
        return [[ord(character) for character in text] for text in texts]

    return PipelineWords(encode)


def characters(texts):
    return [[ord(character) for character in text] for text in texts]


def test_words_are_asked_for_once(words, asked):
    assert words.ids(TEXTS) == characters(TEXTS)
    assert sorted(asked) == [" a", " ab", "a", "ab"]
    assert words.ids(TEXTS[::-1]) == characters(TEXTS[::-1])
    assert len(asked) == 4


@pytest.mark.parametrize(
    "text",
    [
        "",
        " a",
        "a ",
        "a  ab",
        "a\nab",
        "a \u2009 ab",
        "a\xa0",
        "a\u200bb",
        "\x1fa",
        "a " + "b" * 65,
    ],
)
def test_texts_with_more_than_words_and_spaces_are_asked_for_whole(words, asked, text):
    words.ids(TEXTS)
    asked.clear()
    for _ in range(2):
        assert words.ids([*TEXTS, text]) == characters([*TEXTS, text])
    assert asked == [text] * 2


def test_texts_with_many_new_words_are_asked_for_whole(words, asked):
    words.ids(TEXTS)
    asked.clear()
    assert words.ids(WITH_FEW_NEW_WORDS) == characters(WITH_FEW_NEW_WORDS)
    assert sorted(asked) == [" c", " d"]
    asked.clear()
    assert words.ids(WITH_MORE_NEW_WORDS) == characters(WITH_MORE_NEW_WORDS)
    assert asked == WITH_MORE_NEW_WORDS


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_ids_are_the_same_however_many_words_are_new(words, asked, monkeypatch, share):
    monkeypatch.setattr(pipeline_words, "_LARGEST_NEW_SHARE", share)
    texts = ["c d", "e f"]
    assert words.ids(texts) == characters(texts)
    assert (asked == texts) == (share == 0.0)


def test_no_more_words_are_remembered_than_there_is_room_for(words, asked, monkeypatch):
    monkeypatch.setattr(pipeline_words, "MOST_WORDS", 4)
    monkeypatch.setattr(pipeline_words, "_LARGEST_NEW_SHARE", 1.0)
    words.ids(TEXTS)
    assert words.ids(["c d"]) == characters(["c d"])
    asked.clear()
    assert words.ids(TEXTS) == characters(TEXTS)
    assert sorted(asked) == [" a", " ab", "a", "ab"]
    asked.clear()
    texts = ["c d e f"]
    assert words.ids(texts) == characters(texts)
    assert asked == texts


def test_of_no_texts_there_are_no_ids(words):
    assert words.ids([]) == []


@pytest.mark.parametrize("num_cores", [2, 64])
def test_words_are_remembered_where_cores_are_few(monkeypatch, num_cores):
    monkeypatch.setattr(pipelines, "_num_cores", lambda: num_cores)
    asked = []
    monkeypatch.setattr(
        pipelines.PipelineWords,
        "ids",
        lambda self, texts: asked.append(texts) or list(self._encode(texts)),
    )
    assert BytePair(BYTE_PAIRS, MERGES)(["ab"]) == [[6]]
    assert asked == ([["ab"]] if num_cores == 2 else [])


def test_tokens_that_are_never_split_may_go_across_a_space(monkeypatch):
    monkeypatch.setattr(pipelines, "_num_cores", lambda: 2)
    vocabulary = {**BYTE_PAIRS, "a b": 20}
    tokenizer = BytePairTokenizer(vocabulary, MERGES, unsplittable_tokens=["a b"])
    assert tokenizer(["a b", "a", "b"]) == [[20], [4], [5]]


def test_a_text_that_is_not_split_is_one_word(monkeypatch):
    monkeypatch.setattr(pipelines, "_num_cores", lambda: 2)
    tokenizer = WordPieceTokenizer(WORD_PIECES, split=False)
    assert tokenizer.encode_ids(["the fox the fox"]) == [[WORD_PIECES.index("[UNK]")]]
    assert tokenizer([["the", "fox"]]) == [[WORD_PIECES.index("the"), WORD_PIECES.index("fox")]]
