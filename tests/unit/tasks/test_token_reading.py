"""Several continuations of a text share a cache: the same as when each has one of its own."""

import keras
import numpy as np
import pytest
from keras import ops

from clozework import models
from clozework.samplers import BeamSampler
from clozework.tasks.generation import rounded_prompts
from clozework.tasks.token_reading import begin_reading
from tests.contract.families import FAMILIES, tiny_backbone, tiny_task
from tests.unit.tasks.tiny_models import randomized
from tests.unit.tasks.tiny_seq2seq import tiny_seq2seq

PROMPTS = ["the quick", "heaven and earth and the quick", "a"]
LENGTH = 20
SAMPLERS = {
    "running": {"num_beams": 3, "return_all_beams": True},
    "finished": {"num_beams": 2, "length_penalty": 0.6, "early_stopping": "never"},
}


def gemma():
    # Tokens see the nearest three only, by their places in the text.
    changes = {"use_sliding_window_attention": True, "sliding_window_size": 3}
    backbone = tiny_backbone(FAMILIES["gemma"], num_layers=1, **changes)
    return randomized(tiny_task(models.GemmaCausalLM, backbone=backbone))


def prompts_of(model):
    if isinstance(model, models.BartSeq2SeqLM):
        texts = {"encoder_text": ["ab cd", "e", "fgh abc"], "decoder_text": ["abc", "d d", ""]}
        return model.preprocessor.generate_preprocess(texts)
    return model.preprocessor.generate_preprocess(PROMPTS, sequence_length=LENGTH)


def run(sampler, next_token, inputs, names, cache):
    """Returns all that a sampler finds, as arrays."""
    ids, mask = (np.asarray(inputs[name]) for name in names)
    found = sampler(
        next_token,
        ops.cast(ids, "int32"),
        cache=cache,
        index=int(mask.sum(axis=1).min()),
        mask=ops.cast(mask, "bool"),
        stop_token_ids=(2, 5),
    )
    return [ops.convert_to_numpy(x) for x in keras.tree.flatten(found)]


@pytest.mark.parametrize("options", SAMPLERS.values(), ids=SAMPLERS)
@pytest.mark.parametrize("make", [gemma, tiny_seq2seq])
def test_beams_that_share_a_cache_are_those_that_copy_it(make, options):
    model = make()
    inputs, names, sampler = prompts_of(model), model.prompt_inputs, BeamSampler(**options)
    tokens = np.shape(inputs[names[0]])[1]
    # The greedy way to read, which the sampler repeats for each beam.
    model.sampler = "greedy"
    _, next_token, cache = begin_reading(model, inputs, tokens)
    copied = run(sampler, next_token, inputs, names, cache)
    model.sampler = sampler
    _, next_token, cache = begin_reading(model, inputs, tokens)
    shared = run(sampler, next_token, inputs, names, cache)
    assert {"shared", "places"} == set(cache)
    for one, other in zip(shared, copied, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_rows_are_little_longer_than_was_asked_for():
    widths = []
    for length in (5, 16, 17, 66, 130, 300, 1000):
        ids, mask = np.zeros((1, length), "int32"), np.arange(length)[None] < 3
        ids, mask, prompt_tokens = rounded_prompts(ids, mask)
        assert prompt_tokens == 16
        assert mask[0, length:].all()
        widths.append(ids.shape[1])
    assert widths == [16, 16, 32, 80, 160, 320, 1024]
