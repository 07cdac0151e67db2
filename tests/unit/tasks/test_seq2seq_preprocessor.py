"""Pairs of texts as rows of an encoder and a decoder: KerasHub's form, and what it refuses."""

import numpy as np
import pytest

from clozework import models
from clozework.errors import ClozeworkWarning, ConfigError, InputError
from tests.unit.tasks.tiny_models import VOCABULARY
from tests.unit.tasks.tiny_seq2seq import tiny_preprocessor, tiny_seq2seq

START, PAD, END = 0, 1, 2
A, B, C = 6, 7, 8


def rows(*rows, length):
    return [[*row, *[PAD] * (length - len(row))] for row in rows]


@pytest.fixture
def preprocessor():
    return tiny_preprocessor()


def test_a_decoder_learns_the_token_that_follows_each(preprocessor):
    x, y, weights = preprocessor({"encoder_text": ["ab", "c"], "decoder_text": ["cab", ""]})
    encoder = rows([START, A, B, END], [START, C, END], length=12)
    assert x["encoder_token_ids"].tolist() == encoder
    assert x["encoder_padding_mask"].sum(axis=1).tolist() == [4, 3]
    decoder = rows([END, START, C, A, B, END], [END, START, END], length=8)
    assert x["decoder_token_ids"].tolist() == decoder
    assert x["decoder_padding_mask"].sum(axis=1).tolist() == [6, 3]
    assert y.tolist() == rows([START, C, A, B, END], [START, END], length=8)
    assert weights.sum(axis=1).tolist() == [5, 2]


def test_one_pair_gives_rows_without_a_batch(preprocessor):
    one = preprocessor({"encoder_text": "ab", "decoder_text": "c"})
    batch = preprocessor({"encoder_text": ["ab"], "decoder_text": ["c"]})
    for name, values in one[0].items():
        np.testing.assert_array_equal(values, batch[0][name][0])
    np.testing.assert_array_equal(one[1], batch[1][0])
    np.testing.assert_array_equal(one[2], batch[2][0])


def test_labels_that_are_handed_in_do_not_count(preprocessor):
    pair = {"encoder_text": ["ab"], "decoder_text": ["c"]}
    np.testing.assert_array_equal(preprocessor(pair, y=[5])[1], preprocessor(pair)[1])


def test_lengths_are_those_of_the_call_before_those_of_the_preprocessor(preprocessor):
    pair = {"encoder_text": ["ab"], "decoder_text": ["c"]}
    x, y, _ = preprocessor(pair, encoder_sequence_length=5, decoder_sequence_length=6)
    assert (x["encoder_token_ids"].shape, y.shape) == ((1, 5), (1, 6))
    assert preprocessor(pair, sequence_length=4)[1].shape == (1, 4)
    preprocessor.encoder_sequence_length = 7
    preprocessor.decoder_sequence_length = 9
    assert preprocessor.sequence_length == 9
    x, y, _ = preprocessor(pair)
    assert (x["encoder_token_ids"].shape, y.shape) == ((1, 7), (1, 9))


def test_a_classifiers_decoder_reads_the_same_row_one_token_behind(preprocessor):
    classify = models.BartTextClassifierPreprocessor(preprocessor.tokenizer, sequence_length=8)
    x = classify([("ab", "c"), ("", "")])
    rows_of_encoder = [[START, A, B, END, END, C, END], [START, END, END, END]]
    assert x["encoder_token_ids"].tolist() == rows(*rows_of_encoder, length=8)
    behind = [[END, START, A, B, END, END, C, END], [END, START, END, END, END]]
    assert x["decoder_token_ids"].tolist() == rows(*behind, length=8)
    for half in ("encoder", "decoder"):
        assert x[f"{half}_padding_mask"].sum(axis=1).tolist() == [7, 4]


def test_long_texts_are_cut_before_their_end_and_it_is_said(preprocessor):
    with pytest.warns(ClozeworkWarning, match="1 of 1 texts have more than 12 tokens"):
        x, y, _ = preprocessor({"encoder_text": ["a" * 20], "decoder_text": ["b" * 20]})
    assert x["encoder_token_ids"][0, -1] == END
    assert y[0, -1] == END
    assert (x["decoder_token_ids"] != END).sum() == 7


def test_generation_begins_with_the_decoders_first_tokens(preprocessor):
    x = preprocessor.generate_preprocess(["ab", "c"])
    assert x["encoder_token_ids"].tolist() == rows([START, A, B, END], [START, C, END], length=12)
    assert x["decoder_token_ids"].tolist() == rows([END, START], [END, START], length=8)
    x = preprocessor.generate_preprocess({"encoder_text": ["c"], "decoder_text": ["ab"]})
    assert x["decoder_token_ids"].tolist() == rows([END, START, A, B], length=8)
    assert x["decoder_padding_mask"].sum() == 4
    x = preprocessor.generate_preprocess({"encoder_text": "c"}, sequence_length=5)
    assert x["decoder_token_ids"].tolist() == rows([END, START], length=5)[0]


def test_what_was_generated_comes_back_as_text(preprocessor):
    ids = np.array(rows([END, START, A, B, END], [END, START, C], length=8))
    mask = ids != PAD
    x = {"decoder_token_ids": ids, "decoder_padding_mask": mask}
    assert preprocessor.generate_postprocess(x) == ["ab", "c"]
    assert preprocessor.generate_postprocess({k: v[0] for k, v in x.items()}) == "ab"


def test_what_is_no_pair_is_named(preprocessor):
    with pytest.raises(InputError, match=r"Example 0 is 'ab', but a text for the encoder and one"):
        preprocessor(["ab", "c"])
    with pytest.raises(InputError, match=r"Example 0 is \('a', 'b', 'c'\), but a text for"):
        preprocessor([("a", "b", "c")])
    with pytest.raises(InputError, match="'encoder_text' is missing among 'decoder_text'"):
        preprocessor.generate_preprocess({"decoder_text": "a"})


@pytest.mark.parametrize("name", ["encoder_sequence_length", "decoder_sequence_length"])
def test_impossible_lengths_are_refused(preprocessor, name):
    for value in (0, 1.5, True, None):
        with pytest.raises(ConfigError, match=f"`{name}` must be a positive integer. Received"):
            tiny_preprocessor(**{name: value})
        with pytest.raises(ConfigError, match=f"`{name}` must be a positive integer. Received"):
            setattr(preprocessor, name, value)


def test_arguments_of_other_preprocessors_are_refused():
    with pytest.raises(ConfigError, match=r"no argument 'truncate'.*It has: tokenizer, encoder_se"):
        tiny_preprocessor(truncate="waterfall")
    with pytest.raises(ConfigError, match="needs a BartTokenizer"):
        models.BartSeq2SeqLMPreprocessor(models.BertTokenizer(VOCABULARY))


@pytest.mark.parametrize("name", ["encoder_sequence_length", "decoder_sequence_length"])
def test_rows_longer_than_the_positions_are_refused_before_training(name):
    model = tiny_seq2seq(preprocessor=tiny_preprocessor(**{name: 13}))
    with pytest.raises(ConfigError, match=rf"rows of {name}=13 tokens.*max_sequence_length=12"):
        model.fit({"encoder_text": ["a"], "decoder_text": ["b"]}, verbose=0)
