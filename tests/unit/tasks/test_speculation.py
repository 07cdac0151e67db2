"""An assistant drafts what a model generates: the texts are those of the model."""

import numpy as np
import pytest

from clozework import models, samplers
from clozework.errors import ConfigError, InputError
from tests.contract.families import FAMILIES, tiny_backbone, tiny_task
from tests.unit.tasks.tiny_models import randomized
from tests.unit.tasks.tiny_seq2seq import tiny_seq2seq

PROMPTS = ["the quick", "heaven and earth and the quick", "a"]


def tiny_gemma(num_layers=1, **options):
    backbone = tiny_backbone(FAMILIES["gemma"], num_layers=num_layers, **options)
    return tiny_task(models.GemmaCausalLM, backbone=backbone)


@pytest.fixture(scope="module")
def model():
    return tiny_gemma(num_layers=2)


@pytest.fixture(scope="module")
def assistant():
    return tiny_gemma()


def test_greedy_texts_are_those_of_the_model(model, assistant):
    expected = model.generate(PROMPTS, max_length=16)
    assert model.generate(PROMPTS, max_length=16, assistant_model=assistant) == expected
    one = model.generate("a", max_length=16, assistant_model=assistant, strip_prompt=True)
    assert expected[2] == f"a{one}"
    # Without one again, the program for none is still there.
    assert model.generate(PROMPTS, max_length=16) == expected


def test_every_draft_is_taken_over_where_both_models_are_one(model):
    model.compile(sampler=samplers.SpeculativeSampler(2))
    drafted = model.generate(PROMPTS, max_length=13, stop_token_ids=None, assistant_model=model)
    model.compile()
    assert drafted == model.generate(PROMPTS, max_length=13, stop_token_ids=None)


def test_the_sampler_is_the_base_and_gives_its_seed(assistant):
    texts = []
    for seed in (1, 1):
        model = tiny_gemma()
        model.compile(sampler=samplers.TopKSampler(k=4, seed=seed))
        texts.append(model.generate(PROMPTS, max_length=12, assistant_model=assistant))
    assert texts[0] == texts[1]
    assert all(text.startswith(prompt) for text, prompt in zip(texts[0], PROMPTS, strict=True))


def test_low_precision_generates(assistant):
    model = tiny_gemma(dtype="bfloat16")
    text = model.generate("the quick", max_length=10, assistant_model=assistant)
    assert text.startswith("the quick")


def test_a_model_that_writes_texts_for_texts_has_assistants_too():
    model = tiny_seq2seq()
    model.compile(sampler="greedy")
    assistant = tiny_seq2seq()
    for variable in assistant.backbone.decoder_transformer_layers[0].weights:
        variable.assign(0.5 * variable.value)
    texts = {"encoder_text": ["ab cd", "e"], "decoder_text": ["h", "gfe"]}
    expected = model.generate(texts, stop_token_ids=None)
    assert model.generate(texts, stop_token_ids=None, assistant_model=assistant) == expected


def test_what_cannot_help_is_refused(model, assistant):
    for stranger in (tiny_seq2seq(), assistant.backbone):
        with pytest.raises(InputError, match="`assistant_model` has to be a CausalLM"):
            model.generate("a", assistant_model=stranger)
    other = models.GemmaCausalLM(tiny_backbone(FAMILIES["gemma"], vocabulary_size=99))
    with pytest.raises(InputError, match="has another vocabulary, of 99 tokens"):
        model.generate("a", assistant_model=other)
    model.compile(sampler="beam")
    with pytest.raises(ConfigError, match="helps samplers that choose one .*BeamSampler does not"):
        model.generate("a", assistant_model=assistant)
    model.compile(sampler="speculative")
    with pytest.raises(ConfigError, match="SpeculativeSampler, which needs a draft: call"):
        model.generate("a")
    with pytest.raises(ConfigError, match="one token after another, which Speculative"):
        model.stream("a")
    model.compile()


def test_an_assistant_needs_positions_for_the_text():
    model, assistant = tiny_seq2seq(), tiny_seq2seq(preprocessor=None)
    model.compile(sampler="greedy")
    short = models.BartBackbone(
        **{**assistant.backbone.arguments, "max_sequence_length": 4, "name": "short"}
    )
    short = randomized(models.BartSeq2SeqLM(short))
    with pytest.raises(InputError, match="`assistant_model` has positions for 4"):
        model.generate("ab", assistant_model=short)


def test_arrays_are_filled_as_strings_are(model, assistant):
    arrays = model.preprocessor.generate_preprocess(PROMPTS, sequence_length=11)
    bare = models.GemmaCausalLM(model.backbone)
    expected = bare.generate(arrays, stop_token_ids=[1])
    found = bare.generate(arrays, stop_token_ids=[1], assistant_model=assistant)
    mask = expected["padding_mask"]
    np.testing.assert_array_equal(found["padding_mask"], mask)
    np.testing.assert_array_equal(found["token_ids"][mask], expected["token_ids"][mask])
