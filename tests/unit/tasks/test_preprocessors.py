"""Preprocessors called by hand: shapes, pairs, what is cut, what is refused."""

import warnings

import keras
import numpy as np
import pytest

from clozework import models
from clozework.errors import ClozeworkWarning, ConfigError, InputError
from tests.unit.tasks.tiny_models import (
    VOCABULARY,
    tiny_backbone,
    tiny_classifier,
    tiny_masked_lm,
    tiny_tokenizer,
)

PAD, CLS, SEP, MASK, A, B, C = 0, 2, 3, 4, 5, 6, 7
NO_TEXT = {
    "None": (None, r"x is None \(NoneType\), which holds no texts"),
    "number": (5, r"x is 5 \(int\), which holds no texts"),
    "dict": ({"text": ["a"]}, "x is a dict with 'text', which holds no texts"),
    "bytes": (b"a", r"x is one text, b'a' \(bytes\). Wrap it in a list"),
    "None among texts": (["a", None], r"x\[1\] is None \(NoneType\), but each text must be"),
    "number among texts": (["a", 3], r"x\[1\] is 3 \(int\), but each text must be a string"),
    "nan among texts": ([float("nan"), "a"], r"x\[0\] is nan \(float\)"),
    "None in a pair": ([("a", None)], r"x\[0\]\[1\] is None"),
    "list in a pair": ([["a", ["b"]]], r"x\[0\]\[1\] is \['b'\] \(list\)"),
    "pair among texts": (["a", ("a", "b")], r"x\[1\] is \('a', 'b'\) \(tuple\), while x\[0\]"),
    "uneven pairs": ([("a", "b"), ("a",)], r"x\[1\] is \('a',\) \(tuple\), while x\[0\]"),
    "uneven columns": ((["a", "b"], ["c"]), "a tuple of 2 columns with 2 and 1 texts"),
    "no UTF-8": ([b"\xff"], r"x\[0\] is b'\\xff' \(bytes\), which is not UTF-8"),
    "lone surrogate": (["a", "b\udfff"], r"Text 1 holds a lone surrogate at character 1 .U\+DFFF."),
    "set": ({"a", "b"}, r"x is .*\(set\), which holds no texts"),
    "three axes": (np.array([[["a"]]]), r"x is a NumPy array of shape \(1, 1, 1\)"),
}


@pytest.fixture
def preprocessor():
    return models.BertTextClassifierPreprocessor(tiny_tokenizer(), sequence_length=8)


@pytest.fixture
def masking():
    return models.BertMaskedLMPreprocessor(
        tiny_tokenizer(), sequence_length=8, mask_selection_length=4, mask_selection_rate=0.5
    )


def ids(batch):
    return batch["token_ids"].tolist()


@pytest.mark.parametrize(
    "examples", [[], ["", "a b", "a b c a b c"], [("a", "b c"), ("", ""), ("a b c", "a b c a")]]
)
def test_tokens_are_counted_as_they_lie_in_rows(preprocessor, examples):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        counts = preprocessor.num_tokens(examples).tolist()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ClozeworkWarning)
        batch = preprocessor(examples)
    assert counts == batch["padding_mask"].sum(axis=1).tolist()


def test_a_string_gives_one_row_and_a_list_a_batch(preprocessor):
    one, batch = preprocessor("a b"), preprocessor(["a b"])
    assert ids(one) == [CLS, A, B, SEP, PAD, PAD, PAD, PAD]
    assert ids(batch) == [ids(one)]
    assert one["padding_mask"].astype(int).tolist() == [1, 1, 1, 1, 0, 0, 0, 0]
    assert list(one) == ["token_ids", "segment_ids", "padding_mask"]


@pytest.mark.parametrize(
    "x",
    [(["a", "b"], ["c", "a"]), [("a", "c"), ("b", "a")], [["a", "c"], ["b", "a"]]],
    ids=["columns", "tuples", "lists"],
)
def test_pairs_are_two_segments_and_never_labels(preprocessor, x):
    batch = preprocessor(x)
    assert isinstance(batch, dict)
    assert ids(batch) == [[CLS, A, SEP, C, SEP, PAD, PAD, PAD], [CLS, B, SEP, A, SEP, 0, 0, 0]]
    assert batch["segment_ids"].tolist() == [[0, 0, 0, 1, 1, 0, 0, 0]] * 2


def test_a_tuple_of_two_strings_is_one_pair(preprocessor):
    one = preprocessor(("a", "c"))
    assert ids(one) == [CLS, A, SEP, C, SEP, PAD, PAD, PAD]


def test_three_segments_are_no_weights(preprocessor):
    batch = preprocessor((["a"], ["b"], ["c"]))
    assert ids(batch) == [[CLS, A, SEP, B, SEP, C, SEP, PAD]]


def test_labels_and_weights_go_through(preprocessor):
    x, y = preprocessor(["a", "b"], y=[1, 0])
    assert (ids(x)[0][1], y) == (A, [1, 0])
    x, y, sample_weight = preprocessor(["a", "b"], y=[1, 0], sample_weight=[0.5, 2.0])
    assert (y, sample_weight) == ([1, 0], [0.5, 2.0])


def test_an_empty_batch_has_the_right_shapes(preprocessor, masking):
    for name, value in preprocessor([]).items():
        assert (name, value.shape) == (name, (0, 8))
    x, y, sample_weight = masking([])
    assert (x["token_ids"].shape, x["mask_positions"].shape) == ((0, 8), (0, 4))
    assert y.shape == sample_weight.shape == (0, 4)


def test_an_empty_string_has_its_special_tokens(preprocessor):
    assert ids(preprocessor(""))[:3] == [CLS, SEP, PAD]
    assert ids(preprocessor(("", "")))[:4] == [CLS, SEP, SEP, PAD]


@pytest.mark.parametrize(("x", "message"), NO_TEXT.values(), ids=NO_TEXT)
def test_what_is_no_text_is_named(preprocessor, masking, x, message):
    for each in (preprocessor, masking):
        with pytest.raises(InputError, match=message):
            each(x)


def test_texts_that_are_cut_are_counted_once(preprocessor):
    texts = ["a b c a b c a b", "a", "b " * 20]
    expected = r"2 of 3 texts have more than 8 tokens \(the longest 22\) and are cut"
    with pytest.warns(ClozeworkWarning, match=expected) as caught:
        batch = preprocessor(texts)
    assert len(caught) == 1
    assert ids(batch)[2] == [CLS, B, B, B, B, B, B, SEP]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        preprocessor(texts)


def test_a_task_says_once_that_texts_are_cut():
    classifier = tiny_classifier()
    texts = ["a " * 40, "b"] * 4
    with pytest.warns(ClozeworkWarning, match="4 of 8 texts have more than 16 tokens") as caught:
        classifier.predict(texts, batch_size=2, verbose=0)
    assert [w.category for w in caught].count(ClozeworkWarning) == 1
    # Warnings are errors here.
    classifier.evaluate(texts, [0] * 8, verbose=0)


@pytest.mark.filterwarnings("ignore:.* are cut at `sequence_length`")
@pytest.mark.parametrize(
    ("truncate", "expected"),
    [
        ("round_robin", [CLS, A, A, A, SEP, B, B, SEP]),
        ("waterfall", [CLS, A, A, A, A, A, SEP, SEP]),
    ],
)
def test_pairs_are_cut_as_asked(truncate, expected):
    preprocessor = models.BertTextClassifierPreprocessor(tiny_tokenizer(), 8, truncate)
    assert ids(preprocessor(("a a a a a", "b b b b b"))) == expected


def test_one_call_may_have_another_length(preprocessor):
    assert preprocessor("a", sequence_length=4)["token_ids"].shape == (4,)
    preprocessor.sequence_length = 5
    assert preprocessor("a")["token_ids"].shape == (5,)


@pytest.mark.parametrize("length", [0, -1, 2.5, "8"])
def test_an_impossible_length_is_refused(preprocessor, length):
    with pytest.raises(ConfigError, match=f"must be a positive integer. Received: {length!r}"):
        models.BertTextClassifierPreprocessor(tiny_tokenizer(), sequence_length=length)
    with pytest.raises(ConfigError, match="must be a positive integer"):
        preprocessor.sequence_length = length
    with pytest.raises(ConfigError, match="sequence_length must be a whole number of at least 1"):
        preprocessor("a", sequence_length=length)


def test_a_length_without_room_is_refused(preprocessor):
    with pytest.raises(ConfigError, match="sequence_length=2 has no room for the 3 start"):
        preprocessor(("a", "b"), sequence_length=2)


def test_another_kind_of_truncation_is_refused():
    with pytest.raises(ConfigError, match="must be 'round_robin' or 'waterfall'. Received: 'left'"):
        models.BertTextClassifierPreprocessor(tiny_tokenizer(), truncate="left")


@pytest.mark.parametrize("tokenizer", [None, "vocab.txt", VOCABULARY])
def test_what_is_no_tokenizer_of_the_family_is_refused(tokenizer):
    with pytest.raises(ConfigError, match="BertMaskedLMPreprocessor needs a BertTokenizer. Rec"):
        models.BertMaskedLMPreprocessor(tokenizer)


def test_an_unknown_argument_is_named_with_the_nearest():
    expected = r"has no argument 'sequence_lenght' \(did you mean 'sequence_length'\?\)"
    with pytest.raises(ConfigError, match=expected):
        models.BertMaskedLMPreprocessor(tiny_tokenizer(), sequence_lenght=8)


def test_examples_of_different_numbers_of_segments_are_refused(preprocessor):
    with pytest.raises(InputError, match="Received examples with 1 and 2 segments"):
        preprocessor.encode(["a", ("a", "b")])


@pytest.mark.parametrize(
    ("rates", "message"),
    [
        ({"mask_selection_rate": 1.5}, "mask_selection_rate must be between 0 and 1, got 1.5"),
        ({"mask_token_rate": -0.1}, "mask_token_rate must be between 0 and 1"),
        ({"random_token_rate": 0.5}, r"mask_token_rate \+ random_token_rate must be between"),
    ],
)
def test_impossible_rates_of_masking_are_refused_at_once(rates, message):
    with pytest.raises(ConfigError, match=message):
        models.BertMaskedLMPreprocessor(tiny_tokenizer(), **rates)


def test_special_tokens_are_never_masked(masking):
    x, y, sample_weight = masking(["a b c"] * 50)
    positions = x["mask_positions"][sample_weight > 0]
    assert set(positions.tolist()) <= {1, 2, 3}
    assert set(y[sample_weight > 0].tolist()) <= {A, B, C}
    assert (x["token_ids"] == MASK).any()


def test_a_seed_makes_the_masks_the_same_each_time():
    first, second = (
        models.BertMaskedLMPreprocessor(tiny_tokenizer(), 8, mask_seed=5)(["a b c"] * 9)[0]
        for _ in range(2)
    )
    assert ids(first) == ids(second)


def test_arguments_survive_in_the_config(masking):
    config = keras.saving.serialize_keras_object(masking)
    restored = keras.saving.deserialize_keras_object(config)
    restored.tokenizer.set_vocabulary(VOCABULARY)
    assert restored.get_config()["mask_selection_length"] == 4
    assert restored(["a b"])[0]["token_ids"].shape == (1, 8)


@pytest.mark.parametrize("method", ["fit", "evaluate", "predict", "predict_on_batch"])
def test_rows_longer_than_the_positions_are_refused_at_first_use(method):
    for task in (tiny_classifier(), tiny_masked_lm()):
        task.preprocessor.sequence_length = 64
        expected = (
            f"makes rows of sequence_length=64 tokens, but '{task.backbone.name}' has positions "
            "for max_sequence_length=16. Set `preprocessor.sequence_length = 16`"
        )
        with pytest.raises(ConfigError, match=expected):
            getattr(task, method)(["a"])


def test_relative_positions_have_no_longest_row():
    sizes = {"num_layers": 1, "num_heads": 1, "hidden_dim": 4, "intermediate_dim": 4}
    backbone = models.DebertaV3Backbone(9, **sizes, max_sequence_length=8, bucket_size=4)
    assert backbone.longest_row is None
    assert models.RobertaBackbone(9, **sizes, max_sequence_length=8).longest_row == 8
    assert tiny_backbone().longest_row == 16


def test_ids_of_a_larger_vocabulary_are_refused():
    classifier = tiny_classifier(backbone=tiny_backbone(vocabulary_size=6))
    classifier.predict(["a"], verbose=0)
    for method in (classifier.predict, classifier.predict_on_batch):
        with pytest.raises(InputError, match="`token_ids` goes from 0 to 9, but .* takes 0 to 5"):
            method(["heaven"])
    with pytest.raises(InputError, match="`token_ids` goes from 0 to 9"):
        classifier.fit(["heaven"], [1], verbose=0)
