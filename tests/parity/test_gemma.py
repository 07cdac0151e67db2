"""Gemma and Gemma 2 give the numbers and the texts of `transformers`, read and written."""

import keras
import numpy as np
import pytest
import torch
import transformers

from clozework import models, samplers
from clozework.errors import PresetError
from tests.contract.families import TEXTS, tiny_task
from tests.parity.toy_generator import until_stop

TINY = {
    "vocab_size": 40,
    "hidden_size": 12,
    "intermediate_size": 20,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 6,
    "initializer_range": 0.5,
}
GEMMA_2 = {
    **TINY,
    "query_pre_attn_scalar": 6,
    "sliding_window": 4,
    "attn_logit_softcapping": 5.0,
    "final_logit_softcapping": 3.0,
}
CONFIGS = {
    "gemma": ("gemma", TINY),
    "gemma-odd": ("gemma", {**TINY, "num_key_value_heads": 1, "rms_norm_eps": 1e-3}),
    "gemma2": ("gemma2", GEMMA_2),
    "gemma2-odd": (
        "gemma2",
        {
            **GEMMA_2,
            "query_pre_attn_scalar": 3,
            "attn_logit_softcapping": None,
            "final_logit_softcapping": None,
            "num_hidden_layers": 2,
        },
    ),
}
LENGTHS = np.array([9, 5, 1])
MASK = (np.arange(9) < LENGTHS[:, None]).astype("int32")
IDS = np.random.default_rng(1).integers(3, 40, size=(3, 9)).astype("int32") * MASK


def random_model(name, **changes):
    """Returns a causal LM of theirs with all parameters random."""
    model_type, values = CONFIGS[name]
    config = transformers.AutoConfig.for_model(model_type, **{**values, **changes})
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.4)
    return model.eval()


def upstream(model):
    with torch.no_grad():
        return model(
            input_ids=torch.tensor(IDS).long(),
            attention_mask=torch.tensor(MASK).long(),
            output_hidden_states=True,
        )


def assert_close(ours, theirs):
    is_token = MASK.astype(bool)
    ours, theirs = keras.ops.convert_to_numpy(ours)[is_token], theirs.numpy()[is_token]
    assert np.abs(ours - theirs).max() / max(1.0, np.abs(theirs).max()) <= 1e-5


@pytest.fixture(scope="module", params=CONFIGS)
def pair(request, tmp_path_factory):
    """A model of theirs, and ours that was read from its directory."""
    return saved_pair(request.param, tmp_path_factory.mktemp("theirs") / "model")


def saved_pair(name, directory):
    theirs = random_model(name)
    theirs.save_pretrained(directory)
    return theirs, models.CausalLM.from_preset(directory, preprocessor=None)


def test_hidden_states_and_logits(pair):
    theirs, ours = pair
    inputs, expected = {"token_ids": IDS, "padding_mask": MASK}, upstream(theirs)
    assert_close(ours.backbone(inputs), expected.hidden_states[-1])
    assert_close(ours(inputs), expected.logits)


def test_texts_that_another_model_drafts(tmp_path):
    theirs, ours = saved_pair("gemma2", tmp_path / "theirs")
    random_model("gemma-odd", num_hidden_layers=1).save_pretrained(tmp_path / "draft")
    draft = models.CausalLM.from_preset(tmp_path / "draft", preprocessor=None)
    prompts = np.random.default_rng(2).integers(3, 40, size=(24, 4)).astype("int32")
    expected = theirs.generate(
        torch.tensor(prompts).long(),
        attention_mask=torch.ones(prompts.shape).long(),
        max_length=17,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
    )
    ours.compile(sampler=samplers.SpeculativeSampler(num_speculative_tokens=3))
    arrays = {"token_ids": prompts, "padding_mask": np.ones_like(prompts)}
    options = {"max_length": 17, "stop_token_ids": None, "assistant_model": draft}
    generated = ours.generate(arrays, **options)["token_ids"]
    np.testing.assert_array_equal(generated, expected.numpy())
    # Alone, a row goes at its own pace.
    alone = ours.generate({name: values[:1] for name, values in arrays.items()}, **options)
    np.testing.assert_array_equal(alone["token_ids"], expected[:1].numpy())


@pytest.mark.parametrize("num_beams", [1, 3])
def test_stored_settings_give_upstream_ids_and_survive(num_beams, tmp_path):
    theirs = random_model("gemma", num_hidden_layers=1)
    settings = {
        "num_beams": num_beams,
        "repetition_penalty": 1.3,
        "no_repeat_ngram_size": 2,
        "min_length": 5,
        "max_length": 15,
        "eos_token_id": [1, 7, 9],
        "pad_token_id": 0,
        "bos_token_id": 2,
    }
    theirs.generation_config = transformers.GenerationConfig(do_sample=False, **settings)
    theirs.save_pretrained(tmp_path / "theirs")
    ours = models.CausalLM.from_preset(tmp_path / "theirs", preprocessor=None)
    prompts = np.random.default_rng(2).integers(10, 40, size=(48, 4)).astype("int32")
    expected = upstream_ids(theirs, prompts)
    assert len({row.tolist().count(0) for row in expected}) > 2
    np.testing.assert_array_equal(our_ids(ours, prompts), expected)
    ours.export_to_transformers(tmp_path / "ours")
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "ours")
    stored = {name: getattr(again.generation_config, name) for name in settings}
    assert stored == settings
    ours.save_to_preset(tmp_path / "preset")
    assert "generation_settings" not in (tmp_path / "preset" / "task.json").read_text()
    restored = models.CausalLM.from_preset(tmp_path / "preset", preprocessor=None)
    assert restored.generation_settings == ours.generation_settings
    assert restored.sampler.get_config() == ours.sampler.get_config()


def upstream_ids(theirs, prompts):
    ids = torch.tensor(prompts).long()
    generated = theirs.generate(ids, attention_mask=torch.ones_like(ids)).numpy()
    padded = np.pad(generated, ((0, 0), (0, 15 - generated.shape[1])))
    # Theirs pads beams with the first stop token where the id of padding is 0.
    return until_stop(padded, theirs.generation_config.eos_token_id, 4)


def our_ids(ours, prompts):
    arrays = {"token_ids": prompts, "padding_mask": np.ones_like(prompts)}
    outputs = ours.generate(arrays, max_length=15)
    return np.where(outputs["padding_mask"], outputs["token_ids"], 0)


@pytest.mark.parametrize("num_beams", [1, 3])
@pytest.mark.parametrize("name", ["gemma", "gemma2"])
def test_texts_of_many_prompts(name, num_beams, tmp_path):
    theirs, ours = saved_pair(name, tmp_path / "theirs")
    prompts = np.random.default_rng(2).integers(3, 40, size=(200, 4)).astype("int32")
    expected = theirs.generate(
        torch.tensor(prompts).long(),
        attention_mask=torch.ones(prompts.shape).long(),
        max_length=14,
        num_beams=num_beams,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
    )
    beams = samplers.BeamSampler(num_beams=num_beams, length_penalty=1.0)
    ours.compile(sampler="greedy" if num_beams == 1 else beams)
    generated = ours.generate(
        {"token_ids": prompts, "padding_mask": np.ones_like(prompts)},
        max_length=14,
        stop_token_ids=None,
    )
    np.testing.assert_array_equal(generated["token_ids"], expected.numpy())


def test_export(pair, tmp_path):
    theirs, ours = pair
    ours.export_to_transformers(tmp_path / "ours")
    again, report = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "ours", output_loading_info=True, attn_implementation="eager"
    )
    assert type(again) is type(theirs)
    assert not report["unexpected_keys"]
    assert not report["missing_keys"]
    outputs, expected = upstream(again.eval()), upstream(theirs)
    assert_close(outputs.logits.numpy(), expected.logits)
    ours.backbone.export_to_transformers(tmp_path / "bare")
    assert_close(
        ours.backbone({"token_ids": IDS, "padding_mask": MASK}), expected.hidden_states[-1]
    )
    bare = transformers.AutoModel.from_pretrained(tmp_path / "bare", attn_implementation="eager")
    with torch.no_grad():
        states = bare(torch.tensor(IDS).long(), attention_mask=torch.tensor(MASK).long())[0]
    assert_close(states.numpy(), expected.hidden_states[-1])


def test_tokens_of_our_export_start_and_end_as_ours(tmp_path):
    ours = tiny_task(models.GemmaCausalLM)
    ours.export_to_transformers(tmp_path / "ours")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "ours")
    for text in TEXTS:
        row = ours.preprocessor.generate_preprocess(text)
        assert theirs(text).input_ids == row["token_ids"][row["padding_mask"]].tolist()
    (tmp_path / "ours" / "tokenizer.model").unlink()
    again = models.GemmaCausalLM.from_preset(tmp_path / "ours").preprocessor.tokenizer
    assert again(TEXTS) == ours.preprocessor.tokenizer(TEXTS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"query_pre_attn_scalar": 5}, "neither head_dim nor hidden_size divided by the heads"),
        ({"layer_types": ["full_attention"] * 3}, "with and without a window must alternate"),
        ({"attention_bias": True}, "'attention_bias' is True, Clozework has only False"),
    ],
)
def test_what_gemma_2_does_not_compute_is_refused(tmp_path, changes, message):
    random_model("gemma2", **changes).save_pretrained(tmp_path / "theirs")
    with pytest.raises(PresetError, match=message):
        models.CausalLM.from_preset(tmp_path / "theirs", preprocessor=None)


def test_a_mixture_of_both_has_no_form_of_theirs(tmp_path):
    backbone = models.GemmaBackbone(
        vocabulary_size=9,
        num_layers=1,
        num_query_heads=1,
        num_key_value_heads=1,
        hidden_dim=4,
        intermediate_dim=4,
        head_dim=2,
        final_logit_soft_cap=3.0,
    )
    with pytest.raises(PresetError, match="with its arguments has no form .*GemmaModel, Gemma2"):
        backbone.export_to_transformers(tmp_path / "ours")
