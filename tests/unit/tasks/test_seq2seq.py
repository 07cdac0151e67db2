"""A model that writes texts for texts: in use, and with caches as without."""

import keras
import numpy as np
import pytest

from clozework import samplers
from clozework.errors import ClozeworkWarning, ConfigError, InputError
from tests.unit.tasks.tiny_seq2seq import TOKENS, tiny_preprocessor, tiny_seq2seq

PAIRS = {"encoder_text": ["ab cd", "e", "fgh abc"], "decoder_text": ["abc", "d d", ""]}
SETTINGS = {"num_beams": 2, "max_length": 7, "forced_bos_token_id": 0, "eos_token_id": [2, 9]}


@pytest.fixture(scope="module")
def model():
    model = tiny_seq2seq()
    model.compile(sampler="greedy")
    return model


def test_a_string_gives_a_string_and_a_list_a_list(model):
    one = model.generate("ab cd")
    assert isinstance(one, str)
    both = model.generate(["ab cd", "e"])
    assert both[0] == one
    assert both == model.generate({"encoder_text": ["ab cd", "e"]})
    assert model.generate([]) == []


def test_outputs_begin_with_what_is_given(model):
    texts = model.generate({"encoder_text": ["ab", "cd"], "decoder_text": ["hgf", "a"]})
    assert texts[0].startswith("hgf")
    assert texts[1].startswith("a")
    rest = model.generate({"encoder_text": "ab", "decoder_text": "hgf"}, strip_prompt=True)
    assert texts[0] == f"hgf{rest}"


def test_texts_are_as_long_as_they_are_meant_to_be(model):
    ids = model.preprocessor.tokenizer
    short = model.generate("ab cd", max_length=4, stop_token_ids=None)
    assert len(ids.encode_ids([short])[0]) <= 2
    with pytest.raises(InputError, match="begins with 5 tokens, but is to have at most 4"):
        model.generate({"encoder_text": "a", "decoder_text": "abc"}, max_length=4)
    with pytest.raises(InputError, match="up to 13 tokens were asked for"):
        model.generate("a", max_length=13)


def test_generation_needs_a_text_for_the_encoder(model):
    with pytest.raises(InputError, match="'encoder_text' is missing"):
        model.generate({"decoder_text": ["a"]})
    with pytest.raises(InputError, match="x is 5"):
        model.generate(5)
    with pytest.raises(InputError, match=r"x\[1\] is None"):
        model.generate(["a", None])


def test_long_texts_for_the_encoder_are_cut_and_it_is_said():
    model = tiny_seq2seq()
    with pytest.warns(ClozeworkWarning, match="1 of 1 texts have more than 12 tokens"):
        model.generate("ab" * 20)


def test_padding_of_the_encoder_does_not_change_a_text(model):
    alone = model.generate("e")
    assert model.generate(["abcd efgh", "e"])[1] == alone


@pytest.mark.parametrize("sampler", ["beam", "contrastive", "top_k", "random"])
def test_every_sampler_writes_texts(sampler):
    model = tiny_seq2seq()
    model.compile(sampler=sampler)
    assert all(isinstance(text, str) for text in model.generate(["ab", "cd"], max_length=6))


def test_caches_give_what_is_computed_without_them(model):
    x, _, _ = model.preprocessor(PAIRS)
    ids, mask = x["decoder_token_ids"][:, :5], x["encoder_padding_mask"]
    encoded = model.call_encoder(x["encoder_token_ids"], mask)
    whole, vectors, *nothing = model.call_decoder_with_cache(encoded, mask, ids)
    assert nothing == [None, None]
    full = model({**x, "decoder_token_ids": ids, "decoder_padding_mask": 0 * ids + 1})
    np.testing.assert_allclose(to_numpy(whole), to_numpy(full), rtol=0, atol=1e-5)
    own, cross = np.zeros((3, 1, 2, 6, 2, 4), "float32"), np.zeros((3, 1, 2, 12, 2, 4), "float32")
    for start, end, of_encoder in ((0, 2, 0), (2, 3, None), (3, 5, None)):
        logits, part, own, cross = model.call_decoder_with_cache(
            encoded, mask, ids[:, start:end], own, start, cross, of_encoder
        )
        np.testing.assert_allclose(
            to_numpy(logits), to_numpy(whole)[:, start:end], rtol=0, atol=1e-5
        )
        np.testing.assert_allclose(
            to_numpy(part), to_numpy(vectors)[:, start:end], rtol=0, atol=1e-5
        )


def test_one_cache_without_the_other_is_refused(model):
    ids, encoded = np.array([[2, 0]]), np.zeros((1, 3, 8), "float32")
    with pytest.raises(InputError, match="pass both `self_attention_cache` and"):
        model.call_decoder_with_cache(encoded, 0 * ids, ids, np.zeros((1, 1, 2, 6, 2, 4)), 0)


def to_numpy(x):
    return keras.ops.convert_to_numpy(x)


def test_training_lowers_the_loss_on_pairs():
    model = tiny_seq2seq()
    model.compile(optimizer=keras.optimizers.Adam(0.05))
    losses = model.fit(PAIRS, batch_size=3, epochs=8, verbose=0).history["loss"]
    assert losses[-1] < 0.8 * losses[0]
    as_tuples = list(zip(*PAIRS.values(), strict=True))
    first, second = (model.evaluate(x, verbose=0) for x in (PAIRS, as_tuples))
    np.testing.assert_allclose(first, second, rtol=1e-5)


def test_training_on_text_is_training_on_the_preprocessors_arrays(model):
    bare = tiny_seq2seq(preprocessor=None)
    x, y, weights = model.preprocessor(PAIRS)
    expected = bare.evaluate(x, y, sample_weight=weights, verbose=0)
    np.testing.assert_allclose(model.evaluate(PAIRS, verbose=0), expected, rtol=1e-5)


def test_validation_and_its_split_take_pairs():
    model = tiny_seq2seq()
    history = model.fit(PAIRS, validation_data=(PAIRS,), verbose=0).history
    assert "val_loss" in history
    assert "val_loss" in model.fit(PAIRS, validation_split=0.4, verbose=0).history


def test_predictions_have_the_decoders_length_in_every_batch(model):
    logits = model.predict(PAIRS, batch_size=2, verbose=0)
    assert logits.shape == (3, 8, len(TOKENS))
    x, _, _ = model.preprocessor(PAIRS)
    np.testing.assert_allclose(logits, to_numpy(model(x)), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["encoder_text", "decoder_text"])
def test_training_needs_both_texts(model, name):
    pairs = {key: values for key, values in PAIRS.items() if key != name}
    for use in (model.fit, model.evaluate, model.predict):
        with pytest.raises(InputError, match=f"'{name}' is missing among"):
            use(pairs, verbose=0)


def test_summaries_are_strings_for_strings(model):
    assert model.summarize("ab cd", max_length=6) == model.generate("ab cd", max_length=6).strip()
    assert model.summarize(["ab cd", ""], max_length=6)[1] == ""
    assert model.summarize([]) == []


def test_the_summary_of_a_long_text_is_that_of_its_windows(model):
    parts = ["abcd efgh.", "hgfe dcba.", "abc"]
    expected = " ".join(text.strip() for text in model.generate(parts, max_length=6))
    assert model.summarize([" ".join(parts)], max_length=6) == [expected]


def test_summaries_need_texts(model):
    with pytest.raises(InputError, match="takes strings, but text 0 is a pair"):
        model.summarize([("a", "b")])
    with pytest.raises(InputError, match="needs a preprocessor; this model was made with None"):
        tiny_seq2seq(preprocessor=None).summarize("a")


@pytest.mark.parametrize("sampler", [samplers.GreedySampler(), samplers.TopKSampler(k=4, seed=1)])
def test_a_stream_is_what_generate_returns(sampler):
    model = tiny_seq2seq()
    model.compile(sampler=sampler)
    state = [to_numpy(variable) for variable in sampler.variables]
    for begun in ("", "hgf"):
        inputs = {"encoder_text": "ab cd", "decoder_text": begun}
        expected = model.generate(inputs)
        for variable, value in zip(sampler.variables, state, strict=True):
            variable.assign(value)
        assert begun + "".join(model.stream(inputs)) == expected != begun
        for variable, value in zip(sampler.variables, state, strict=True):
            variable.assign(value)


def test_a_stream_follows_the_settings():
    settings = {"max_length": 6, "forced_bos_token_id": 0, "repetition_penalty": 3.0}
    model = tiny_seq2seq(generation_settings=settings)
    assert "".join(model.stream("ab cd")) == model.generate("ab cd")
    longer = "".join(model.stream("ab cd", max_length=8, stop_token_ids=None))
    assert longer == model.generate("ab cd", max_length=8, stop_token_ids=None)


def test_a_stream_is_of_one_text_and_token_by_token(model):
    with pytest.raises(InputError, match="goes on with one text, not with several"):
        model.stream({"encoder_text": ["ab"]})
    searching = tiny_seq2seq()
    searching.compile(sampler="beam")
    with pytest.raises(ConfigError, match="one token after another, which BeamSampler does not"):
        searching.stream("ab")


def test_settings_count_where_no_sampler_is_given():
    model = tiny_seq2seq(generation_settings=SETTINGS)
    assert isinstance(model.sampler, samplers.BeamSampler)
    model.compile(sampler="top_k")
    assert isinstance(model.sampler, samplers.TopKSampler)
    model.compile()
    assert isinstance(model.sampler, samplers.BeamSampler)
    assert isinstance(tiny_seq2seq().sampler, samplers.TopKSampler)


def test_settings_say_how_long_texts_are_and_what_ends_them():
    model = tiny_seq2seq(generation_settings={**SETTINGS, "num_beams": 1})
    ids = []
    postprocess = model.preprocessor.generate_postprocess
    model.preprocessor.generate_postprocess = lambda x: (
        ids.append(x["decoder_token_ids"]) or postprocess(x)
    )
    model.generate(["ab", "cd e"])
    assert ids[0].shape == (2, 7)
    # The first token, and the one that is forced, not given.
    assert ids[0][:, :2].tolist() == [[2, 0], [2, 0]]
    assert model._stop_token_ids("auto") == (2, 9)
    # Which ids end a text does not depend on the sampler.
    model.compile(sampler="greedy")
    assert model._stop_token_ids("auto") == (2, 9)


def test_settings_survive_a_keras_file(tmp_path):
    model = tiny_seq2seq(generation_settings=SETTINGS)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.generation_settings == model.generation_settings
    assert loaded.sampler.get_config() == model.sampler.get_config()
    assert loaded.generate(["ab", "c"]) == model.generate(["ab", "c"])


def test_another_first_token_of_the_decoder_survives(tmp_path):
    model = tiny_seq2seq(preprocessor=tiny_preprocessor(decoder_start_token_id=0))
    x, y, _ = model.preprocessor({"encoder_text": ["a"], "decoder_text": ["b"]})
    assert x["decoder_token_ids"][0, :4].tolist() == [0, 0, 7, 2]
    assert y[0, :3].tolist() == [0, 7, 2]
    for name in ("keras", "transformers"):
        if name == "keras":
            model.save_to_preset(tmp_path / name)
        else:
            model.export_to_transformers(tmp_path / name)
        loaded = type(model).from_preset(tmp_path / name)
        assert loaded.preprocessor.decoder_start_token_id == 0
    usual = tiny_preprocessor()
    assert "decoder_start_token_id" not in usual.get_config()
