"""Beam search and logits processing give the token ids of `transformers`."""

import keras
import numpy as np
import pytest
from keras import ops

from clozework import samplers
from tests.parity.toy_generator import generated, until_stop
from tests.unit.samplers import toy_language as toy

LENGTH = 14
PROMPT = np.random.default_rng(2).integers(8, toy.VOCABULARY, (6, 3)).astype("int32")

# Options of theirs, and what says the same here.
PROCESSING = {
    "plain": ({}, []),
    "repetition": ({"repetition_penalty": 1.7}, [samplers.RepetitionPenalty(1.7)]),
    "ngrams": ({"no_repeat_ngram_size": 2}, [samplers.NoRepeatNgrams(2)]),
    "tokens": ({"no_repeat_ngram_size": 1}, [samplers.NoRepeatNgrams(1)]),
    "min-length": ({"min_length": 9}, [samplers.MinLength(9)]),
    "min-new": ({"min_new_tokens": 7}, [samplers.MinNewTokens(7)]),
    "last": ({"forced_eos_token_id": 5}, [samplers.ForcedLastToken(5)]),
    "all": (
        {
            "repetition_penalty": 1.2,
            "no_repeat_ngram_size": 3,
            "min_length": 8,
            "forced_eos_token_id": 2,
        },
        [
            samplers.RepetitionPenalty(1.2),
            samplers.NoRepeatNgrams(3),
            samplers.MinLength(8),
            samplers.ForcedLastToken(2),
        ],
    ),
}
BEAMS = {
    "default": {},
    "early": {"early_stopping": True},
    "never": {"early_stopping": "never", "length_penalty": 2.0},
    "short": {"length_penalty": -1.0, "num_beams": 2},
    "sums": {"length_penalty": 0.0, "early_stopping": "never", "num_beams": 3},
}


def sampled(sampler, stop_token_ids, prompt=PROMPT):
    padded = np.pad(prompt, ((0, 0), (0, LENGTH - prompt.shape[1])))
    ids = sampler(
        toy.next_token,
        ops.convert_to_tensor(padded),
        cache=toy.prompt_cache(padded, prompt.shape[1]),
        index=prompt.shape[1],
        mask=np.broadcast_to(np.arange(LENGTH) < prompt.shape[1], padded.shape),
        stop_token_ids=stop_token_ids,
    )
    return until_stop(keras.ops.convert_to_numpy(ids), stop_token_ids, prompt.shape[1])


@pytest.mark.parametrize("name", PROCESSING)
def test_greedy_search_with_processing(name):
    theirs, ours = PROCESSING[name]
    expected = generated(PROMPT, max_length=LENGTH, eos_token_id=[2, 7], **theirs)
    found = sampled(samplers.GreedySampler(logits_processing=ours), (2, 7))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", BEAMS)
@pytest.mark.parametrize("stop_token_ids", [(2,), (1, 2, 7)])
def test_beam_search(name, stop_token_ids):
    options = {"num_beams": 4, "length_penalty": 1.0, "early_stopping": False, **BEAMS[name]}
    expected = generated(PROMPT, max_length=LENGTH, eos_token_id=list(stop_token_ids), **options)
    found = sampled(samplers.BeamSampler(**options), stop_token_ids)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", PROCESSING)
def test_beam_search_with_processing(name):
    theirs, ours = PROCESSING[name]
    expected = generated(PROMPT, max_length=LENGTH, eos_token_id=2, num_beams=3, **theirs)
    sampler = samplers.BeamSampler(num_beams=3, length_penalty=1.0, logits_processing=ours)
    np.testing.assert_array_equal(sampled(sampler, (2,)), expected)


def test_a_forced_first_token():
    prompt = PROMPT[:, :1]
    expected = generated(
        prompt, max_length=LENGTH, eos_token_id=2, num_beams=3, forced_bos_token_id=9
    )
    sampler = samplers.BeamSampler(
        num_beams=3, length_penalty=1.0, logits_processing=[samplers.ForcedFirstToken(9)]
    )
    np.testing.assert_array_equal(sampled(sampler, (2,), prompt), expected)


def test_prompts_of_several_lengths_give_what_each_gives_alone():
    sampler = samplers.BeamSampler(
        num_beams=3, early_stopping=True, logits_processing=[samplers.MinNewTokens(4)]
    )
    together = keras.ops.convert_to_numpy(toy.sampled(sampler, (2,)))
    for row, length in enumerate(toy.PROMPT_LENGTHS):
        alone = generated(
            toy.PROMPT[row : row + 1, :length],
            max_length=toy.LENGTH,
            eos_token_id=2,
            num_beams=3,
            early_stopping=True,
            min_new_tokens=4,
        )
        np.testing.assert_array_equal(until_stop(together[row : row + 1], (2,), length), alone)
