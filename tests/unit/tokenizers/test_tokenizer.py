"""What holds for every tokenizer."""

import copy
import pickle
import re
import subprocess
import sys

import numpy as np
import pytest

from clozework.errors import ConfigError, InputError, PresetNotFoundError
from clozework.tokenizers import Tokenizer
from clozework.tokenizers.piece_model import ModelType
from tests.unit.tokenizers.families import (
    BYTE_PAIRS,
    MERGES,
    WORD_PIECES,
    BytePair,
    SentencePiece,
    WordPiece,
    piece_model,
)


def make(cls, **options):
    vocabularies = {
        WordPiece: {"vocabulary": WORD_PIECES},
        BytePair: {"vocabulary": BYTE_PAIRS, "merges": MERGES},
        SentencePiece: {"proto": piece_model()},
    }
    return cls(**vocabularies[cls], **options)


every_class = pytest.mark.parametrize("cls", [WordPiece, BytePair, SentencePiece])


@every_class
def test_a_string_gives_an_array(cls):
    ids = make(cls)("fox fox")
    assert ids.dtype == np.int32
    assert ids.ndim == 1


@every_class
def test_a_list_gives_lists_of_python_ints(cls):
    rows = make(cls)(["fox", "", "ab ab"])
    assert [type(row) for row in rows] == [list] * 3
    assert rows[1] == []
    assert all(type(i) is int for row in rows for i in row)


@every_class
@pytest.mark.parametrize("as_batch", [tuple, np.array, iter, lambda texts: np.array(texts, object)])
def test_a_batch_may_come_as_any_iterable(cls, as_batch):
    tokenizer = make(cls)
    assert tokenizer(as_batch(["ab", "fox"])) == tokenizer(["ab", "fox"])


@every_class
def test_an_array_without_dimensions_is_a_string(cls):
    tokenizer = make(cls)
    assert tokenizer(np.array("fox")).tolist() == tokenizer("fox").tolist()


@every_class
def test_nothing_gives_nothing(cls):
    assert make(cls)([]) == []
    assert make(cls)("").shape == (0,)
    assert make(cls).encode([]) == []


@every_class
def test_sequence_length_pads_and_cuts(cls):
    tokenizer = make(cls, sequence_length=2)
    rows = make(cls)(["fox fox fox", "", "fox"])
    padded = tokenizer(["fox fox fox", "", "fox"])
    assert padded.shape == (3, 2)
    assert padded.dtype == np.int32
    assert padded[0].tolist() == rows[0][:2]
    assert padded[1].tolist() == [tokenizer.pad_token_id] * 2
    assert tokenizer("fox fox").shape == (2,)


@every_class
def test_string_dtype_gives_tokens(cls):
    tokens = make(cls, dtype="string")("fox")
    assert "".join(tokens).strip("▁Ġ") == "fox"
    assert make(cls, dtype="string", sequence_length=9)(["fox"])[0][-1] == ""
    assert make(cls, dtype="int64")("fox").dtype == np.int64


@every_class
def test_encoding_has_ids_and_offsets(cls):
    encodings = make(cls).encode(["the  fox", "ab"])
    assert [encoding.ids for encoding in encodings] == make(cls)(["the  fox", "ab"])
    assert encodings[0].offsets[-1][1] == 8
    assert "the  fox"[slice(*encodings[0].offsets[-1])].endswith("x")


@every_class
def test_special_tokens_in_texts_count_only_when_asked(cls):
    tokenizer = make(cls)
    text = f"ab {tokenizer.mask_token} fox"
    assert tokenizer.mask_token_id not in tokenizer.encode_ids([text])[0]
    recognised = tokenizer.encode([text], special_tokens_in_strings=True)[0]
    place = recognised.ids.index(tokenizer.mask_token_id)
    assert text[slice(*recognised.offsets[place])] == tokenizer.mask_token
    ids = tokenizer.encode_ids([text], special_tokens_in_strings=True)
    assert ids == [recognised.ids]


@every_class
def test_special_tokens_have_attributes_and_a_fixed_order(cls):
    tokenizer = make(cls)
    roles = cls.special_tokens_by_role
    assert tokenizer.special_tokens == list(dict.fromkeys(roles.values()))
    assert tokenizer.special_token_ids == [
        tokenizer.token_to_id(t) for t in tokenizer.special_tokens
    ]
    for role, token in roles.items():
        assert getattr(tokenizer, f"{role}_token") == token
        assert getattr(tokenizer, f"{role}_token_id") == tokenizer.token_to_id(token)


@every_class
def test_vocabulary_is_in_the_order_of_ids(cls):
    tokenizer = make(cls)
    vocabulary = tokenizer.get_vocabulary()
    assert len(vocabulary) == tokenizer.vocabulary_size()
    assert [tokenizer.id_to_token(i) for i in range(len(vocabulary))] == vocabulary
    assert [tokenizer.token_to_id(token) for token in vocabulary] == list(range(len(vocabulary)))


@every_class
def test_assets_and_config_make_the_same_tokenizer(cls, tmp_path):
    tokenizer = make(cls, sequence_length=7, name="mine")
    tokenizer.save_assets(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(cls.file_assets)
    loaded = cls.from_config(tokenizer.get_config())
    loaded.load_assets(tmp_path)
    assert loaded.get_config() == tokenizer.get_config()
    assert loaded.get_vocabulary() == tokenizer.get_vocabulary()
    texts = ["the fox", "ab", "中国 café"]
    assert loaded(texts).tolist() == tokenizer(texts).tolist()


@every_class
def test_config_is_kerashubs(cls):
    config = make(cls).get_config()
    assert list(config)[:4] == ["name", "trainable", "dtype", "config_file"]
    assert config["dtype"] == {
        "module": "keras",
        "class_name": "DTypePolicy",
        "config": {"name": "int32"},
        "registered_name": None,
    }


@every_class
@pytest.mark.parametrize("as_ids", [list, tuple, np.array])
def test_detokenize_takes_one_sequence_or_a_batch(cls, as_ids):
    tokenizer = make(cls)
    ids = tokenizer(["fox"])[0]
    text = tokenizer.detokenize(ids)
    assert text.strip() == "fox"
    assert tokenizer.detokenize(as_ids([as_ids(ids), as_ids(ids)])) == [text, text]
    assert tokenizer.detokenize([]) == ""
    assert tokenizer.detokenize([[], ids]) == ["", text]
    assert tokenizer.detokenize(ids[0]) == tokenizer.detokenize([ids[0]])


@every_class
@pytest.mark.parametrize("id_", [-1, 10_000])
def test_an_id_out_of_range_is_named(cls, id_):
    with pytest.raises(InputError, match=f"Id {id_} at position 1 of sequence 2 is not in the voc"):
        make(cls).detokenize([[], [4], [4, id_]])
    with pytest.raises(InputError, match=f"Id {id_} is not in the vocabulary"):
        make(cls).id_to_token(id_)


@every_class
@pytest.mark.parametrize("ids", [[0.5], ["fox"], [[[1]]]])
def test_what_is_no_id_is_refused(cls, ids):
    with pytest.raises(InputError, match=r"detokenize\(\) takes integer ids"):
        make(cls).detokenize(ids)


@every_class
@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (
            ["a", None],
            "Text 1 is None, but every text must be a str. Leave it out, or pass an empt",
        ),
        ([5], r"Text 0 is 5 (of type int), but every text must be a str. Convert it with str()"),
        (["a", "b", b"c"], "Text 2 is b'c' (of type bytes), but every text must be a str. Decode"),
        ([["a"]], "Text 0 is ['a'] (of type list), but every text must be a str. Pass a flat list"),
        ([{"text": "a"}], "Pass the column with the texts alone."),
        (["", "ab", "", "fuenf\udc3d"], "Text 3 holds a lone surrogate at character 5 (U+DC3D)"),
        (["\ud83d", "\ude00"], "Text 0 holds a lone surrogate at character 0 (U+D83D)"),
    ],
)
def test_a_bad_text_is_named(cls, texts, message):
    for method in (make(cls), make(cls).encode, make(cls).encode_ids):
        with pytest.raises(InputError, match=re.escape(message)):
            method(texts)


@every_class
@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (None, "Expected a str or a list of str, got None."),
        (5, "Expected a str or a list of str, got 5 (of type int)."),
        (b"ab", "Expected a str or a list of str, got b'ab' (of type bytes). Decode it first"),
        ({"text": "a"}, "Pass the column with the texts alone."),
    ],
)
def test_a_bad_batch_is_named(cls, inputs, message):
    with pytest.raises(InputError, match=re.escape(message)):
        make(cls)(inputs)


@every_class
def test_without_vocabulary_the_error_says_what_to_do(cls, tmp_path):
    tokenizer = cls()
    assert tokenizer.mask_token_id is None
    for act in (
        lambda: tokenizer("a"),
        lambda: tokenizer.encode(["a"]),
        lambda: tokenizer.detokenize([1]),
        lambda: tokenizer.save_assets(tmp_path),
        lambda: tokenizer.token_to_id("a"),
        lambda: tokenizer.id_to_token(1),
        tokenizer.get_vocabulary,
        tokenizer.vocabulary_size,
    ):
        with pytest.raises(ConfigError, match=f"{cls.__name__} has no vocabulary yet. Pass"):
            act()


@every_class
def test_a_missing_file_is_named(cls, tmp_path):
    with pytest.raises(PresetNotFoundError, match=r"There is no file '.*vocabulary"):
        cls().load_assets(tmp_path)
    with pytest.raises(PresetNotFoundError, match="absent' is not a directory"):
        make(cls).save_assets(tmp_path / "absent")


@every_class
def test_a_dtype_that_is_neither_integer_nor_string_is_refused(cls):
    with pytest.raises(ConfigError, match="A tokenizer gives ids or strings, not dtype 'float32'"):
        make(cls, dtype="float32")


@every_class
def test_an_unknown_argument_is_refused(cls):
    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
        make(cls, colour="red")


@every_class
def test_one_string_is_no_batch(cls):
    for method in (make(cls).encode, make(cls).encode_ids):
        with pytest.raises(InputError, match="Expected a list of texts, got the str 'fox'"):
            method("fox")


@every_class
def test_tokenizers_can_be_sent_to_other_processes(cls):
    tokenizer = make(cls)
    texts = ["ab fox", f"the {tokenizer.mask_token}"]
    received = pickle.loads(pickle.dumps(tokenizer))
    assert received(texts) == tokenizer(texts)
    options = {"special_tokens_in_strings": True}
    assert received.encode(texts, **options) == copy.deepcopy(tokenizer).encode(texts, **options)


@pytest.mark.parametrize("model_type", list(ModelType))
def test_every_sentence_piece_model_can_be_sent(model_type):
    tokenizer = SentencePiece(piece_model(model_type=model_type))
    assert pickle.loads(pickle.dumps(tokenizer))(["ab fox"]) == tokenizer(["ab fox"])


def test_a_missing_special_token_is_named():
    message = "The vocabulary lacks special tokens that WordPiece needs: '[CLS]', '[MASK]'"
    with pytest.raises(ConfigError, match=re.escape(message)):
        WordPiece([token for token in WORD_PIECES if token not in ("[CLS]", "[MASK]")])


def test_names_are_those_that_keras_makes():
    class XLMRobertaV3Tokenizer(WordPiece):
        pass

    assert XLMRobertaV3Tokenizer().name == "xlm_roberta_v3_tokenizer"


def test_a_tokenizer_of_ones_own_needs_only_what_it_uses():
    class SplitAtSpaces(Tokenizer):
        def tokenize(self, inputs):
            return inputs.split()

    tokenizer = SplitAtSpaces()
    assert tokenizer("a b") == ["a", "b"]
    for method, arguments in (
        ("get_vocabulary", ()),
        ("vocabulary_size", ()),
        ("id_to_token", (1,)),
        ("token_to_id", ("a",)),
        ("save_assets", ("",)),
        ("load_assets", ("",)),
        ("encode", (["a"],)),
    ):
        message = rf"SplitAtSpaces does not implement {method}\(\)"
        with pytest.raises(NotImplementedError, match=message):
            getattr(tokenizer, method)(*arguments)
    with pytest.raises(NotImplementedError, match=r"does not implement tokenize\(\)"):
        tokenizer.encode_ids(["a"])


def test_a_sentence_piece_model_needs_neither_sentencepiece_nor_protobuf():
    code = (
        "import sys, clozework.tokenizers as t\n"
        f"t.SentencePieceTokenizer({piece_model()!r})('fox')\n"
        "assert not {'sentencepiece', 'google.protobuf', 'tensorflow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
