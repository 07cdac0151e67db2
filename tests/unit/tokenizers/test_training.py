"""Making vocabularies from text."""

import sys
from pathlib import Path

import numpy as np
import pytest

from clozework.errors import ConfigError, MissingPackageError
from clozework.tokenizers import (
    SentencePieceTokenizer,
    WordPieceTokenizer,
    compute_sentence_piece_proto,
    compute_word_piece_vocabulary,
)

RESERVED = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"]
TEXTS = [
    *("she sells sea shells by the sea shore", "the shells she sells are sea shells, I'm sure"),
    *("so if she sells sea shells on the sea shore", "then I'm sure she sells sea shore shells"),
] * 9


# What TensorFlow Text's wordpiece_tokenizer_learner_lib makes of these texts' words, given 45.
GOLDEN_PIECES = ["##he", "##re", "sea", "shells", "##'", "##,", "##I", "##a", "##b", "##e", "##f"]
GOLDEN_PIECES += [f"##{character}" for character in "hilmnorstuy"]


def test_the_example_of_kerashub():
    vocabulary = compute_word_piece_vocabulary(["bat sat pat mat rat"], 13)
    assert vocabulary == [*RESERVED, "a", "b", "m", "p", "r", "s", "t", "##at"]
    assert WordPieceTokenizer(vocabulary)("bat sat").tolist() == [6, 12, 10, 12]


def test_word_pieces_are_those_of_tensorflow_text():
    characters = sorted(set("".join(TEXTS)) - {" "})
    vocabulary = compute_word_piece_vocabulary(iter(TEXTS), 45)
    assert vocabulary == [*RESERVED, *characters, *GOLDEN_PIECES]


def test_options_are_those_of_the_tokenizer():
    texts = ["CAFÉ 中国"] * 20
    assert "cafe" in compute_word_piece_vocabulary(texts, 50, lowercase=True)
    assert "CAFE" in compute_word_piece_vocabulary(texts, 50, strip_accents=True)
    assert "CAFÉ" in compute_word_piece_vocabulary(texts, 50)
    assert "中国" in compute_word_piece_vocabulary(texts, 50, split_on_cjk=False)
    assert "中国" not in compute_word_piece_vocabulary(texts, 50)
    vocabulary = compute_word_piece_vocabulary(texts, 50, suffix_indicator="@", reserved_tokens=[])
    assert "@A" in vocabulary
    assert "[PAD]" not in vocabulary


@pytest.mark.parametrize("as_words", [list, np.array, lambda words: np.array(words).astype("S")])
def test_data_may_be_split_already(as_words):
    data = [as_words(["a-b", "c"])] * 20
    assert "a-b" in compute_word_piece_vocabulary(data, 50, split=False)


def test_data_may_be_files(tmp_path):
    paths = []
    for i in range(2):
        paths.append(tmp_path / f"{i}.txt")
        paths[i].write_text("\n".join(TEXTS[i::2]) + "\n", encoding="utf-8")
    expected = compute_word_piece_vocabulary([*TEXTS[0::2], *TEXTS[1::2]], 60)
    assert compute_word_piece_vocabulary(paths, 60) == expected
    assert compute_word_piece_vocabulary([str(path) for path in paths], 60) == expected
    with pytest.raises(ConfigError, match=r"Some of the data are files, but 'she sells' is none"):
        compute_word_piece_vocabulary([str(paths[0]), "she sells"], 60)


def test_a_vocabulary_can_be_written(tmp_path):
    path = tmp_path / "vocabulary.txt"
    assert compute_word_piece_vocabulary(TEXTS, 60, path) is None
    assert WordPieceTokenizer(path).get_vocabulary() == compute_word_piece_vocabulary(TEXTS, 60)


@pytest.mark.parametrize("data", ["one text", 5, b"bytes"])
def test_data_that_are_no_texts_are_refused(data):
    with pytest.raises(ConfigError, match="data must be an iterable of texts or a list of paths"):
        compute_word_piece_vocabulary(data, 60)


def test_data_without_words_are_refused():
    with pytest.raises(ConfigError, match="There is no word in the data"):
        compute_word_piece_vocabulary(["", " "], 60)


@pytest.mark.parametrize("model_type", ["unigram", "bpe", "word", "char"])
def test_a_sentence_piece_model_is_trained(model_type, tmp_path):
    size = {"unigram": 30, "bpe": 60, "word": 18, "char": 20}[model_type]
    proto = compute_sentence_piece_proto(TEXTS, size, model_type)
    tokenizer = SentencePieceTokenizer(proto)
    assert tokenizer.get_vocabulary()[:4] == ["<pad>", "<unk>", "<s>", "</s>"]
    assert tokenizer.vocabulary_size() == size
    assert tokenizer.detokenize(tokenizer("sea shells")) == "sea shells"
    path = Path(tmp_path) / "spm.model"
    assert compute_sentence_piece_proto(TEXTS, size, model_type, str(path)) is None
    assert path.read_bytes() == proto


def test_a_sentence_piece_model_can_lowercase():
    tokenizer = SentencePieceTokenizer(compute_sentence_piece_proto(TEXTS, 30, lowercase=True))
    assert tokenizer("SEA").tolist() == tokenizer("sea").tolist()


def test_what_cannot_be_trained_is_refused():
    with pytest.raises(
        ConfigError, match=r"model_type must be one of 'unigram', .* got 'wordpiece'"
    ):
        compute_sentence_piece_proto(TEXTS, 40, "wordpiece")
    with pytest.raises(ConfigError, match="cannot train 4000 pieces of type 'unigram' on these d"):
        compute_sentence_piece_proto(TEXTS, 4000)


def test_training_says_which_package_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    with pytest.raises(MissingPackageError, match=r'pip install "clozework\[sentencepiece\]"'):
        compute_sentence_piece_proto(TEXTS, 40)
