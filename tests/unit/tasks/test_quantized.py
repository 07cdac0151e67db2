"""Models whose weights are rounded to few bits: used, saved and loaded."""

import json

import keras
import numpy as np
import pytest

from clozework import models
from clozework.errors import PresetError
from clozework.presets import keras_variables
from clozework.tasks.arguments import argument_defaults
from tests.contract.families import (
    FAMILIES,
    TASKS,
    assert_same_outputs,
    family_of_task,
    task_inputs,
    tiny_backbone,
    tiny_task,
)

NAME = "BertTextClassifier"
INPUTS = task_inputs(TASKS[NAME])


def is_dense(layer) -> bool:
    return isinstance(layer, keras.layers.Dense | keras.layers.EinsumDense)


def shallow_task(name: str):
    """A task of one block, or of one in each half."""
    family = family_of_task(TASKS[name])
    known = argument_defaults(family.backbone)
    depths = {argument: 1 for argument in ("num_layers", "num_groups") if argument in known}
    return tiny_task(TASKS[name], backbone=tiny_backbone(family, **depths))


@pytest.fixture(scope="module")
def quantized():
    """A classifier with all layers in 8 bits, which takes long to make; tests leave it as it is."""
    task = tiny_task(TASKS[NAME])
    task.quantize("int8")
    return task


def test_a_quantized_model_computes_nearly_the_same(quantized):
    texts = ["the quick brown fox", "heaven and earth"]
    expected = tiny_task(TASKS[NAME]).predict(texts, verbose=0)
    np.testing.assert_allclose(quantized.predict(texts, verbose=0), expected, rtol=0, atol=0.05)


# Each family once. Whole numbers take XLA long, so that most have the mode that is cheap.
SAVED = {
    "AlbertMaskedLM": "float8",
    "BartSeq2SeqLM": "int8",
    "BartTextClassifier": "float8",
    "BertQuestionAnswerer": "float8",
    "DebertaV3MaskedLM": "int8",
    "DistilBertTextEmbedder": "float8",
    "ElectraTokenClassifier": "float8",
    "FNetTextClassifier": "float8",
    "GemmaCausalLM": "int8",
    "MPNetMaskedLM": "float8",
    "ModernBertTokenClassifier": "float8",
    "RobertaMaskedLM": "int4",
    "XLMRobertaMaskedLM": "float8",
}


def test_every_family_is_saved_quantized():
    assert {family_of_task(TASKS[name]).name for name in SAVED} == set(FAMILIES)


@pytest.mark.parametrize(("name", "mode"), SAVED.items())
def test_a_quantized_model_is_saved_and_loaded(name, mode, tmp_path):
    task, inputs = shallow_task(name), task_inputs(TASKS[name])
    task.quantize(mode)
    task.save_to_preset(tmp_path / "first")
    loaded = models.Task.from_preset(tmp_path / "first")
    assert_same_outputs(task, loaded, inputs, atol=1e-6)
    loaded.save_to_preset(tmp_path / "second")
    again = models.Task.from_preset(tmp_path / "second")
    assert_same_outputs(task, again, inputs, atol=1e-6)
    assert [v.dtype for v in again.weights] == [v.dtype for v in task.weights]


def test_both_halves_of_bart_come_back_from_a_keras_file(tmp_path):
    task = shallow_task("BartSeq2SeqLM")
    task.quantize("int4")
    modes = {layer.quantization_mode for layer in task._flatten_layers() if is_dense(layer)}
    assert modes == {"int4"}
    task.save(tmp_path / "task.keras")
    loaded = keras.saving.load_model(tmp_path / "task.keras")
    assert_same_outputs(task, loaded, task_inputs(TASKS["BartSeq2SeqLM"]), atol=1e-6)


def test_a_quantized_model_comes_back_from_a_keras_file(quantized, tmp_path):
    quantized.save(tmp_path / "task.keras")
    loaded = keras.saving.load_model(tmp_path / "task.keras")
    assert_same_outputs(quantized, loaded, INPUTS, atol=1e-6)


def test_a_task_may_stand_on_a_quantized_backbone(tmp_path):
    task = tiny_task(TASKS[NAME])
    task.backbone.quantize("int8", filters="feedforward")
    task.save_to_preset(tmp_path)
    loaded = models.TextClassifier.from_preset(tmp_path)
    assert loaded.output_dense.quantization_mode is None
    assert_same_outputs(task, loaded, INPUTS, atol=1e-6)
    assert "int8" in {str(v.dtype) for v in models.Backbone.from_preset(tmp_path).weights}


def test_layers_can_be_left_out(tmp_path):
    task = tiny_task(TASKS[NAME])
    task.quantize("int8", filters="transformer_layer_0/self")
    task.save_to_preset(tmp_path)
    loaded = models.TextClassifier.from_preset(tmp_path)
    assert loaded.backbone.token_embedding.quantization_mode is None
    assert_same_outputs(task, loaded, INPUTS, atol=1e-6)


def test_what_would_not_be_found_again_is_not_saved(tmp_path, monkeypatch):
    task = tiny_task(TASKS[NAME])
    task.output_dense.quantize("int8")
    with pytest.raises(PresetError, match="'logits' was quantized by itself"):
        task.save_to_preset(tmp_path / "preset")
    own = keras.quantizers.Int8QuantizationConfig(activation_quantizer=None)
    other = tiny_task(TASKS[NAME])
    other.quantize(config=own, filters="logits")
    with pytest.raises(PresetError, match="quantized with an activation quantizer of your own"):
        other.save_to_preset(tmp_path / "preset")
    monkeypatch.setattr(keras_variables, "_STORED_MODES", ("float8",))
    with pytest.raises(PresetError, match="weights quantized by int8, which .* It holds: float8"):
        other.save_to_preset(tmp_path / "preset")
    with pytest.raises(PresetError, match="weights quantized to int8, which the format cannot"):
        task.export_to_transformers(tmp_path / "preset")
    assert not (tmp_path / "preset").exists()


@pytest.mark.parametrize(
    "policy",
    [
        {"class_name": "QuantizedDTypePolicy", "config": {"mode": "int3", "source_name": None}},
        {"class_name": "QuantizedDTypePolicy", "config": {"mode": "int8", "source_name": "x"}},
        {"class_name": "QuantizedDTypePolicy", "config": {"mode": "int8"}},
        {"class_name": "Popen", "config": {"mode": "int8", "source_name": None}},
        {
            "class_name": "QuantizedFloat8DTypePolicy",
            "config": {"mode": "float8", "source_name": None, "amax_history_length": 10**9},
        },
        "int8",
    ],
)
def test_a_strange_precision_is_refused(policy, tmp_path):
    task = tiny_task(TASKS[NAME])
    task.quantize("int8", filters="token_embedding")
    task.backbone.save_to_preset(tmp_path)
    (tmp_path / "manifest.json").unlink()
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    config["config"]["dtype"]["config"]["policy_map"]["token_embedding"] = policy
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(PresetError, match="The 'dtype' of 'config.json' .* is not one that Keras"):
        models.Backbone.from_preset(tmp_path)


def test_a_policy_map_without_policies_is_refused(tmp_path):
    backbone = FAMILIES["bert"].backbone(30, 1, 2, 8, 16)
    backbone.save_to_preset(tmp_path)
    (tmp_path / "manifest.json").unlink()
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    config["config"]["dtype"] = {"class_name": "DTypePolicyMap", "config": {}}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(PresetError, match="is not one that Keras writes"):
        models.Backbone.from_preset(tmp_path)
