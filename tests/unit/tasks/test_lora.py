"""Adapters: trained, saved, loaded and merged, in KerasHub's files and in PEFT's."""

import json

import keras
import numpy as np
import peft
import pytest
import torch
import transformers
from safetensors.numpy import load_file, save_file

from clozework import models
from clozework.errors import ConfigError, PresetError, WeightsError
from clozework.presets import write_h5
from tests.contract.families import (
    FAMILIES,
    TASKS,
    TEXTS,
    assert_same_outputs,
    outputs_of,
    random_inputs,
    task_inputs,
    tiny_backbone,
    tiny_task,
    token_vectors,
)

# Of peft itself, with this version of transformers.
pytestmark = pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"
)

EVERY_KIND = ["query", "attention_output", "feedforward_intermediate_dense", "token_embedding"]
INPUTS = random_inputs(FAMILIES["bert"], [8, 5])


def with_adapters(rank=2, names=None, family="bert", **options):
    """A backbone with adapters that change its outputs."""
    backbone = tiny_backbone(FAMILIES[family])
    backbone.enable_lora(rank, names, **options)
    generator = np.random.default_rng(1)
    for variable in backbone.trainable_variables:
        if "lora" in variable.path:
            variable.assign(generator.normal(scale=0.3, size=variable.shape))
    return backbone


def test_only_adapters_and_the_head_are_trained():
    task = tiny_task(TASKS["BertTextClassifier"])
    task.backbone.enable_lora(2)
    frozen = [v for v in task.backbone.weights if not v.trainable]
    before = [keras.ops.convert_to_numpy(v) for v in frozen]
    trained = [keras.ops.convert_to_numpy(v) for v in task.trainable_variables]
    # Queries and values of two blocks, two factors each; and the classifier's kernel and bias.
    assert len(trained) == 10
    task.fit(TEXTS, [0, 1, 2], epochs=2, verbose=0)
    for variable, value in zip(frozen, before, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), value)
    for variable, value in zip(task.trainable_variables, trained, strict=True):
        assert np.any(keras.ops.convert_to_numpy(variable) != value), variable.path


@pytest.mark.parametrize(
    ("family", "layers"), [("deberta_v3", 4), ("distil_bert", 4), ("roberta", 4), ("bart", 12)]
)
def test_other_families_have_the_default_layers(family, layers):
    backbone = tiny_backbone(FAMILIES[family])
    backbone.enable_lora(2)
    assert len(backbone.trainable_variables) == 2 * layers


@pytest.mark.parametrize(("family", "alpha"), [("bert", None), ("bert", 6), ("bart", 6)])
def test_adapters_are_saved_and_loaded(family, alpha, tmp_path):
    inputs = random_inputs(FAMILIES[family], [8, 5])
    backbone = with_adapters(names=EVERY_KIND, family=family, alpha=alpha)
    path = tmp_path / "new" / "adapters.lora.h5"
    backbone.save_lora_weights(path)
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    loaded = tiny_backbone(FAMILIES[family])
    loaded.load_lora_weights(path)
    assert_same_outputs(backbone, loaded, inputs)
    enabled = tiny_backbone(FAMILIES[family])
    enabled.enable_lora(2, EVERY_KIND)
    enabled.load_lora_weights(path)
    assert_same_outputs(backbone, enabled, inputs)


@pytest.mark.parametrize("family", ["bert", "bart"])
def test_merging_keeps_the_outputs_and_frees_the_weights(family):
    inputs = random_inputs(FAMILIES[family], [8, 5])
    backbone = with_adapters(names=EVERY_KIND, family=family, alpha=3)
    before = outputs_of(backbone, inputs)
    backbone.merge_lora()
    for name, values in outputs_of(backbone, inputs).items():
        np.testing.assert_allclose(values, before[name], rtol=0, atol=1e-5)
    plain = tiny_backbone(FAMILIES[family])
    assert [v.path for v in backbone.weights] == [v.path for v in plain.weights]
    assert len(backbone.trainable_variables) == len(plain.trainable_variables)
    backbone.enable_lora(1)


def test_adapters_of_a_quantized_model_are_merged():
    backbone = tiny_backbone(FAMILIES["bert"])
    backbone.quantize("int8", filters="self_attention_layer/(query|value)")
    backbone.enable_lora(2)
    for variable in backbone.trainable_variables:
        variable.assign(keras.ops.ones(variable.shape) * 0.1)
    before = outputs_of(backbone, INPUTS)
    backbone.merge_lora()
    for name, values in outputs_of(backbone, INPUTS).items():
        # Rounded anew, to 1 in 127 of the largest weight.
        np.testing.assert_allclose(values, before[name], rtol=0, atol=0.05)


@pytest.mark.parametrize(
    ("family", "name"), [("bert", "BertTextClassifier"), ("bart", "BartTextClassifier")]
)
def test_a_preset_and_an_export_hold_the_sum(family, name, tmp_path):
    adapted = with_adapters(names=EVERY_KIND, family=family, alpha=1)
    task = tiny_task(TASKS[name], backbone=adapted)
    inputs = task_inputs(TASKS[name])
    task.save_to_preset(tmp_path / "saved")
    task.export_to_transformers(tmp_path / "exported")
    assert task.backbone.token_embedding.lora_enabled
    for directory in ("saved", "exported"):
        loaded = models.TextClassifier.from_preset(tmp_path / directory)
        assert_same_outputs(task, loaded, inputs)


def hidden_states(family, model):
    """Vectors of tokens of their model: the decoder's, where there are two halves."""
    names = {"token_ids": "input_ids", "padding_mask": "attention_mask"}
    names |= {"segment_ids": "token_type_ids", "encoder_token_ids": "input_ids"}
    names |= {"encoder_padding_mask": "attention_mask", "decoder_token_ids": "decoder_input_ids"}
    names |= {"decoder_padding_mask": "decoder_attention_mask"}
    inputs = random_inputs(FAMILIES[family], [8, 5])
    with torch.no_grad():
        states = model(**{names[name]: torch.tensor(inputs[name]).long() for name in inputs})
    return states.last_hidden_state.numpy()


def assert_same_on_tokens(backbone, model, family):
    inputs = random_inputs(FAMILIES[family], [8, 5])
    is_token = next(mask for name, mask in inputs.items() if name.endswith("padding_mask")) > 0
    ours, theirs = token_vectors(backbone, inputs), hidden_states(family, model)
    np.testing.assert_allclose(ours[is_token], theirs[is_token], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("family", "names"),
    [
        ("bert", None),
        ("bert", EVERY_KIND),
        ("bart", [*EVERY_KIND[:3], "key", "value", "feedforward_output_dense"]),
        ("gemma", ["query", "key", "value", "attention_output", "ffw_gating", "ffw_linear"]),
    ],
)
def test_peft_reads_what_we_write(family, names, tmp_path):
    tiny_backbone(FAMILIES[family]).export_to_transformers(tmp_path / "model")
    backbone = with_adapters(names=names, alpha=3, family=family)
    backbone.export_lora_to_peft(tmp_path / "adapters")
    model = transformers.AutoModel.from_pretrained(tmp_path / "model")
    model = peft.PeftModel.from_pretrained(model, tmp_path / "adapters").eval()
    assert_same_on_tokens(backbone, model, family)


@pytest.mark.parametrize(
    ("family", "modules", "options"),
    [
        (
            "bert",
            ["query", "attention.output.dense", "intermediate.dense", "word_embeddings"],
            {"alpha_pattern": {"intermediate.dense": 5}, "rank_pattern": {"intermediate.dense": 2}},
        ),
        ("bert", ["query"], {"use_rslora": True}),
        ("bart", ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"], {}),
        ("gemma", ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj"], {}),
    ],
)
def test_we_read_what_peft_writes(family, modules, options, tmp_path):
    tiny_backbone(FAMILIES[family]).export_to_transformers(tmp_path / "model")
    config = peft.LoraConfig(r=1, lora_alpha=3, target_modules=modules, **options)
    model = transformers.AutoModel.from_pretrained(tmp_path / "model")
    model = peft.get_peft_model(model, config).eval()
    for name, parameter in model.named_parameters():
        if "lora" in name:
            generator = torch.Generator().manual_seed(len(name))
            parameter.data.normal_(std=0.5, generator=generator)
    model.save_pretrained(tmp_path / "adapters")
    backbone = tiny_backbone(FAMILIES[family])
    backbone.load_lora_weights(tmp_path / "adapters")
    assert_same_on_tokens(backbone, model, family)
    backbone.save_lora_weights(tmp_path / "same.lora.h5")


def test_adapters_of_a_causal_lm_fit_its_backbone(tmp_path):
    tiny_task(TASKS["GemmaCausalLM"]).export_to_transformers(tmp_path / "model")
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    model = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=["q_proj"])).eval()
    model.base_model.model.model.layers[0].self_attn.q_proj.lora_B["default"].weight.data += 0.5
    model.save_pretrained(tmp_path / "adapters")
    ours = models.CausalLM.from_preset(tmp_path / "model")
    ours.backbone.load_lora_weights(tmp_path / "adapters")
    inputs = task_inputs(TASKS["GemmaCausalLM"])
    with torch.no_grad():
        theirs = model(torch.tensor(inputs["token_ids"][:1]).long()).logits.numpy()
    np.testing.assert_allclose(outputs_of(ours, inputs)["output"][:1], theirs, rtol=0, atol=1e-5)


def test_what_several_modules_share_there_is_not_written(tmp_path):
    backbone = with_adapters(names=["token_embedding"], family="bart")
    with pytest.raises(PresetError, match=r"'token_embedding/embeddings' .* `save_lora_weights` k"):
        backbone.export_lora_to_peft(tmp_path / "adapters")


def test_adapters_that_keras_does_not_have_are_refused(tmp_path):
    with_adapters().export_lora_to_peft(tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text(encoding="utf-8"))

    def load(**changes):
        content = json.dumps(config | changes)
        (tmp_path / "adapter_config.json").write_text(content, encoding="utf-8")
        tiny_backbone(FAMILIES["bert"]).load_lora_weights(tmp_path)

    with pytest.raises(PresetError, match="'use_dora' is True, not False; 'bias' is 'all'|'bias'"):
        load(use_dora=True, bias="all")
    with pytest.raises(PresetError, match="'lora_alpha' of .* must be a number. Received: 'x'"):
        load(lora_alpha="x", alpha_pattern={})
    weights = load_file(tmp_path / "adapter_model.safetensors")
    name = next(iter(weights))
    save_file({}, tmp_path / "adapter_model.safetensors")
    with pytest.raises(WeightsError, match="there is no adapter in it"):
        load()
    save_file({f"x.{name}": weights[name]}, tmp_path / "adapter_model.safetensors")
    with pytest.raises(WeightsError, match="belongs to no layer of the backbone"):
        load()
    save_file(
        {name: weights[name][:, :1] for name in weights}, tmp_path / "adapter_model.safetensors"
    )
    with pytest.raises(WeightsError, match="not for"):
        load()


def test_bad_adapters_are_refused(tmp_path):
    backbone = tiny_backbone(FAMILIES["bert"])
    with pytest.raises(ConfigError, match="`rank` must be a positive integer. Received: 0"):
        backbone.enable_lora(0)
    with pytest.raises(ConfigError, match="has no layers named 'quer' to adapt. It has: .*'query'"):
        backbone.enable_lora(2, ["quer"])
    with pytest.raises(ConfigError, match="has no adapters. Call `enable_lora"):
        backbone.save_lora_weights(tmp_path / "x.lora.h5")
    backbone.enable_lora(2)
    with pytest.raises(ConfigError, match="has adapters already"):
        backbone.enable_lora(2)
    with pytest.raises(ConfigError, match=r"ends in '.lora.h5'. Received: .*x.h5"):
        backbone.save_lora_weights(tmp_path / "x.h5")
    backbone.save_lora_weights(tmp_path / "x.lora.h5")
    other = tiny_backbone(FAMILIES["bert"])
    other.enable_lora(3, ["key"])
    with pytest.raises(WeightsError, match="adapters of rank 2 for 4 layers, but the model has 2"):
        other.load_lora_weights(tmp_path / "x.lora.h5")
    backbone.get_layer("pooled_dense").enable_lora(3)
    with pytest.raises(PresetError, match=r"The adapters have different ranks, \[2, 3\]"):
        backbone.save_lora_weights(tmp_path / "x.lora.h5")
    write_h5(tmp_path, "none.lora.h5", {"lora/vars/rank": np.array(2)}, {})
    with pytest.raises(WeightsError, match=r"none.lora.h5' holds no adapters"):
        tiny_backbone(FAMILIES["bert"]).load_lora_weights(tmp_path / "none.lora.h5")
    with pytest.raises(WeightsError, match="the adapter '.*' does not fit layer"):
        tiny_backbone(FAMILIES["bert"], hidden_dim=12).load_lora_weights(tmp_path / "x.lora.h5")
