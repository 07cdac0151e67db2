"""Options of `transformers` for generation: read, checked, and as a sampler."""

import warnings

import pytest

from clozework import samplers
from clozework.errors import ClozeworkWarning, ConfigError
from clozework.tasks.generation_settings import GenerationSettings


def sampler_for(**options):
    return GenerationSettings(**options).sampler()


def test_what_is_not_about_generation_is_left_out():
    config = {"num_beams": 4, "use_cache": True, "vocab_size": 9, "min_length": None}
    assert GenerationSettings.read(config).stated() == {"num_beams": 4}
    assert GenerationSettings.read({}).stated() == {}


def test_neutral_values_of_what_is_not_honoured_are_no_matter():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        GenerationSettings.read({"diversity_penalty": 0.0, "typical_p": 1.0, "bad_words_ids": None})


def test_what_is_not_honoured_is_said():
    message = "a model says how .* encoder_no_repeat_ngram_size=3, typical_p=0.5"
    with pytest.warns(ClozeworkWarning, match=message):
        GenerationSettings.read({"encoder_no_repeat_ngram_size": 3, "typical_p": 0.5}, "a model")


def test_beams_that_are_drawn_at_random_are_not_honoured():
    with pytest.warns(ClozeworkWarning, match="does not have: do_sample=True"):
        GenerationSettings.read({"do_sample": True, "num_beams": 3})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_beams": 0}, "'num_beams' is 0, not a whole number of at least 1"),
        ({"max_length": 5.5}, "'max_length' is 5.5, not a whole number"),
        ({"min_length": True}, "'min_length' is True, not a whole number of at least 0"),
        ({"length_penalty": "2"}, "'length_penalty' is '2', not a number"),
        ({"early_stopping": "always"}, "'early_stopping' is 'always', not True, False or 'never'"),
        ({"repetition_penalty": 0.0}, "'repetition_penalty' is 0.0, not a number above 0"),
        ({"do_sample": 1}, "'do_sample' is 1, not True or False"),
        ({"top_p": 2}, "'top_p' is 2, not a number between 0 and 1"),
        ({"eos_token_id": []}, r"'eos_token_id' is \[\], not an id or a list of ids"),
        ({"num_beams": -1, "top_k": -1}, "'num_beams' is -1, .*; 'top_k' is -1"),
    ],
)
def test_impossible_values_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        GenerationSettings(**options)


def test_stop_tokens_are_one_or_several():
    assert GenerationSettings().stop_token_ids is None
    assert GenerationSettings(eos_token_id=2).stop_token_ids == (2,)
    assert GenerationSettings(eos_token_id=[2, 7]).stop_token_ids == (2, 7)


def test_new_tokens_count_before_the_length_of_the_row():
    assert GenerationSettings().longest(1) is None
    assert GenerationSettings(max_length=9).longest(3) == 9
    assert GenerationSettings(max_length=9, max_new_tokens=4).longest(3) == 7


def test_a_list_of_one_forced_token_is_that_token():
    assert GenerationSettings.read({"forced_eos_token_id": [2]}).forced_eos_token_id == 2
    with pytest.raises(ConfigError, match="'forced_eos_token_id' is"):
        GenerationSettings.read({"forced_eos_token_id": [2, 3]})


def test_processing_is_in_the_order_of_transformers():
    sampler = sampler_for(
        forced_eos_token_id=2,
        forced_bos_token_id=0,
        min_new_tokens=2,
        min_length=5,
        no_repeat_ngram_size=3,
        repetition_penalty=1.5,
    )
    assert isinstance(sampler, samplers.GreedySampler)
    assert sampler.logits_processing == (
        samplers.RepetitionPenalty(1.5),
        samplers.NoRepeatNgrams(3),
        samplers.MinLength(5),
        samplers.MinNewTokens(2),
        samplers.ForcedFirstToken(0),
        samplers.ForcedLastToken(2),
    )


def test_values_that_change_nothing_need_no_processing():
    sampler = sampler_for(
        repetition_penalty=1.0, no_repeat_ngram_size=0, min_length=0, min_new_tokens=0
    )
    assert sampler.logits_processing == ()
    assert sampler_for(forced_bos_token_id=0).logits_processing == (samplers.ForcedFirstToken(0),)


def test_beams_have_the_defaults_of_transformers():
    config = sampler_for(num_beams=3).get_config()
    assert (config["num_beams"], config["length_penalty"]) == (3, 1.0)
    assert config["early_stopping"] is False


@pytest.mark.parametrize(
    ("options", "expected", "config"),
    [
        ({}, samplers.TopKSampler, {"k": 50, "temperature": 1.0}),
        ({"top_k": 7, "temperature": 0.5}, samplers.TopKSampler, {"k": 7, "temperature": 0.5}),
        ({"top_p": 0.9}, samplers.TopPSampler, {"p": 0.9, "k": 50}),
        ({"top_p": 0.9, "top_k": 0}, samplers.TopPSampler, {"p": 0.9, "k": None}),
        ({"top_k": 0}, samplers.RandomSampler, {}),
    ],
)
def test_sampling_is_by_the_likeliest_tokens(options, expected, config):
    sampler = sampler_for(do_sample=True, **options)
    assert type(sampler) is expected
    assert {name: sampler.get_config()[name] for name in config} == config
