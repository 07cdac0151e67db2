"""`fill`: what it returns, and what it says of texts that cannot be filled."""

import keras
import numpy as np
import pytest

from clozework import models
from clozework.errors import ClozeworkWarning, ConfigError, InputError
from clozework.tasks import FilledText
from tests.unit.tasks.tiny_models import LENGTH, randomized, tiny_masked_lm

# The single characters that byte-level BPE needs, and some words after a space.
BYTES = [*map(chr, range(33, 127)), "Ġ", "Ã", "©", "Ċ", "Ġa", "Ġb"]
ROBERTA = {
    token: i
    for i, token in enumerate(dict.fromkeys(["<s>", "<pad>", "</s>", "<unk>", *BYTES, "<mask>"]))
}


@pytest.fixture(scope="module")
def masked_lm():
    """Shared: nothing here trains it."""
    return tiny_masked_lm()


@pytest.fixture(scope="module")
def roberta():
    tokenizer = models.RobertaTokenizer(ROBERTA, ["Ġ a", "Ġ b"])
    backbone = models.RobertaBackbone(
        vocabulary_size=len(ROBERTA),
        num_layers=1,
        num_heads=2,
        hidden_dim=8,
        intermediate_dim=16,
        dropout=0.0,
        max_sequence_length=32,
    )
    preprocessor = models.RobertaMaskedLMPreprocessor(tokenizer, sequence_length=32)
    return randomized(models.RobertaMaskedLM(backbone, preprocessor))


def test_a_string_gives_one_answer_and_a_list_a_list(masked_lm):
    one = masked_lm.fill("a [MASK]")
    assert isinstance(one, FilledText)
    (same,) = masked_lm.fill(["a [MASK]"])
    assert (same.text, len(same.masks)) == (one.text, 1)
    assert masked_lm.fill([]) == []


def test_answers_come_in_the_order_of_the_texts(masked_lm):
    texts = [f"{word} [MASK]" for word in ("a", "b", "c", "heaven")] * 10
    filled = masked_lm.fill(texts)
    assert [answer.text.split()[0] for answer in filled] == [text.split()[0] for text in texts]


@pytest.mark.parametrize(
    "text",
    [
        "[MASK]",
        "[MASK] at the start",
        "at the end [MASK]",
        "  [MASK]\n",
        "a[MASK]b [MASK][MASK]",
        "é [MASK] 漢字 😀 [MASK] ñ",
        "e\u0301 ﬁ İ [MASK]",
    ],
)
def test_spans_are_the_places_of_the_masks(masked_lm, text):
    filled = masked_lm.fill(text, top_k=2)
    assert [text[mask.start : mask.end] for mask in filled.masks] == ["[MASK]"] * text.count("[M")
    best = iter([mask.candidates[0].token for mask in filled.masks])
    expected = "".join(
        part if i == 0 else next(best) + part for i, part in enumerate(text.split("[MASK]"))
    )
    assert filled.text == expected


def test_the_text_of_a_candidate_has_the_best_in_other_masks(masked_lm):
    filled = masked_lm.fill("a [MASK] b [MASK]", top_k=3)
    second = filled.masks[1].candidates[0].token
    for candidate in filled.masks[0].candidates:
        assert candidate.text == f"a {candidate.token} b {second}"
    assert filled.text == filled.masks[0].candidates[0].text


def test_probabilities_are_the_softmax_of_the_logits(masked_lm):
    text = "a [MASK] heaven [MASK]"
    filled = masked_lm.fill(text, top_k=masked_lm.backbone.vocabulary_size)
    expected = keras.ops.convert_to_numpy(
        keras.ops.softmax(masked_lm.predict([text], verbose=0)[0])
    )
    for mask, row in zip(filled.masks, expected, strict=True):
        assert [candidate.token_id for candidate in mask.candidates] == np.argsort(-row).tolist()
        given = [candidate.probability for candidate in mask.candidates]
        np.testing.assert_allclose(given, np.sort(row)[::-1], atol=1e-6)
        assert sum(given) == pytest.approx(1.0, abs=1e-5)


def test_top_k_is_the_number_of_candidates(masked_lm):
    for top_k in (1, 3, np.int64(4), masked_lm.backbone.vocabulary_size):
        (mask,) = masked_lm.fill("a [MASK]", top_k=top_k).masks
        assert len(mask.candidates) == top_k
        assert sum(candidate.probability for candidate in mask.candidates) <= 1.0 + 1e-6
    assert len(masked_lm.fill("a [MASK]").masks[0].candidates) == 5


@pytest.mark.parametrize("top_k", [0, -1, 12, 2.5, True, "3", None])
def test_top_k_is_within_the_vocabulary(masked_lm, top_k):
    with pytest.raises(InputError, match=f"`top_k` must be .* from 1 to 11. Received: {top_k!r}"):
        masked_lm.fill("a [MASK]", top_k=top_k)


def test_tokens_are_words_without_marks_of_the_vocabulary(masked_lm, roberta):
    (mask,) = masked_lm.fill("a [MASK]", top_k=11).masks
    assert {"heaven", "d"} <= {candidate.token for candidate in mask.candidates}
    assert not any("##" in candidate.token for candidate in mask.candidates)
    (mask,) = roberta.fill("a <mask>", top_k=len(ROBERTA)).masks
    tokens = [candidate.token for candidate in mask.candidates]
    assert tokens.count("a") == tokens.count("b") == 2
    assert not any("Ġ" in token or token.startswith(" ") for token in tokens)


@pytest.mark.parametrize("text", ["a <mask>", "a<mask>", "<mask> b", "a  <mask>  b", "é <mask>\n"])
def test_a_mask_keeps_the_spaces_around_it(roberta, text):
    filled = roberta.fill(text, top_k=3)
    (mask,) = filled.masks
    assert text[mask.start : mask.end] == "<mask>"
    for candidate in mask.candidates:
        assert candidate.text == text.replace("<mask>", candidate.token)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("no mask", r"Text 0 has no mask to fill: 'no mask'. Write '\[MASK\]' where a word"),
        ("", "Text 0 has no mask to fill: ''"),
        ("[mask] <mask>", "Text 0 has no mask to fill"),
        (["[MASK]", "b"], "Text 1 has no mask to fill: 'b'"),
        (["[MASK]", "long" * 40], r"Text 1 has no mask to fill: 'longl.*\.\.\.'"),
        (["[MASK]"] * 40 + ["b"], "Text 40 has no mask to fill: 'b'"),
        (("[MASK]", "b"), "text 0 is a pair. Join its parts"),
        ([("[MASK]", "b")], "text 0 is a pair. Join its parts"),
        (["[MASK]", None], r"x\[1\] is None"),
        (None, "x is None"),
        (7, r"x is 7 \(int\)"),
        ({"text": "[MASK]"}, "holds no texts that can be read"),
        ("[MASK] \ud800", "lone surrogate at character 7"),
    ],
)
def test_what_cannot_be_filled_is_named(masked_lm, texts, message):
    with pytest.raises(InputError, match=message):
        masked_lm.fill(texts)


@pytest.mark.filterwarnings("ignore:.* are cut at `sequence_length`")
@pytest.mark.parametrize("way", ["fill", "predict", "predict_on_batch"])
def test_a_mask_that_is_cut_off_is_named(masked_lm, way):
    text = "[MASK] " + "a " * LENGTH + "[MASK]"
    expected = (
        r"Text 0 has 1 of its 2 masks behind token 16, where it is cut: '\[MASK\] a.*'\. "
        r"Shorten it, or raise `sequence_length`"
    )
    with pytest.raises(InputError, match=expected):
        getattr(masked_lm, way)([text])


def test_as_many_masks_as_a_row_has_room_for_are_filled(masked_lm):
    filled = masked_lm.fill("[MASK] " * (LENGTH - 2))
    assert len(filled.masks) == LENGTH - 2


def test_many_texts_and_masks_give_what_each_gives_alone(masked_lm):
    texts = ["a [MASK]" + " [MASK]" * (i % 4) + " b" * (i % 5) for i in range(40)]
    for filled, text in zip(masked_lm.fill(texts), texts, strict=True):
        alone = masked_lm.fill(text)
        assert filled.text == alone.text
        for mask, expected in zip(filled.masks, alone.masks, strict=True):
            np.testing.assert_allclose(
                [candidate.probability for candidate in mask.candidates],
                [candidate.probability for candidate in expected.candidates],
                atol=1e-5,
            )


def test_fill_needs_a_preprocessor():
    masked_lm = tiny_masked_lm(preprocessor=None)
    with pytest.raises(InputError, match="`fill` needs a preprocessor"):
        masked_lm.fill("a [MASK]")


def test_fill_refuses_rows_longer_than_the_positions(masked_lm):
    long = tiny_masked_lm()
    long.preprocessor.sequence_length = 64
    with pytest.raises(ConfigError, match="sequence_length=64 tokens, .* max_sequence_length=16"):
        long.fill("a [MASK]")


def test_pairs_are_predicted(masked_lm):
    outputs = masked_lm.predict([("a [MASK]", "b [MASK]"), ("heaven", "[MASK]")], verbose=0)
    assert outputs.shape == (2, 2, 11)
    # A text with fewer masks repeats its last one.
    np.testing.assert_array_equal(outputs[1, 0], outputs[1, 1])


def test_predict_takes_no_single_string(masked_lm):
    for method in (masked_lm.predict, masked_lm.predict_on_batch):
        with pytest.raises(InputError, match=r"x is one text, .* Wrap it in a list"):
            method("a [MASK]")


def test_masks_of_other_families_are_warned_of(masked_lm, roberta):
    with pytest.warns(ClozeworkWarning, match="Text 1 holds '<mask>', which is no mask to this"):
        filled = masked_lm.fill(["a [MASK]", "[MASK] <mask>"])
    assert "<mask>" in filled[1].text
    with pytest.warns(ClozeworkWarning, match=r"Text 0 holds '\[MASK\]', .* Write '<mask>' where"):
        roberta.fill("a <mask> [MASK]")
