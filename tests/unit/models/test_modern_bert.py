"""What is peculiar to ModernBERT: windows, configs of several ages, a head that tasks share."""

import json

import keras
import numpy as np
import pytest

from clozework import models
from clozework.errors import ClozeworkWarning, ConfigError, PresetError, PresetNotFoundError
from clozework.models.modern_bert_tables import MODERN_BERT
from clozework.presets.hugging_face import check_config, read_config_table
from tests.contract.families import (
    FAMILIES,
    TASKS,
    assert_same_outputs,
    random_inputs,
    tiny_backbone,
    tiny_task,
)

FAMILY = FAMILIES["modern_bert"]
# What no config leaves out.
CONFIG = {
    "vocab_size": 40,
    "hidden_size": 12,
    "num_hidden_layers": 4,
    "num_attention_heads": 3,
    "intermediate_size": 20,
    "max_position_embeddings": 24,
}
GLOBAL, LOCAL = "full_attention", "sliding_attention"


def assert_equal(ours, theirs):
    np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (ours, theirs)))


def read(**values):
    config = {**CONFIG, **values}
    check_config(MODERN_BERT, config, "the test")
    return read_config_table(MODERN_BERT.config, config, "the test")


def test_every_third_block_sees_the_whole_text():
    backbone = tiny_backbone(FAMILY, num_layers=5, global_max_wavelength=100.0)
    kinds = [(layer.window, layer.max_wavelength) for layer in backbone.transformer_layers]
    near, whole = (4, 10000), (None, 100)
    assert kinds == [whole, near, near, whole, near]


def test_what_is_absent_is_upstreams_default():
    arguments = read()
    assert arguments["global_attention_interval"] == 3
    assert arguments["local_attention_window"] == 128
    assert arguments["global_max_wavelength"] == 160000
    assert arguments["local_max_wavelength"] == 10000
    assert arguments["layer_norm_epsilon"] == 1e-5


@pytest.mark.parametrize(
    ("types", "interval"),
    [
        ([GLOBAL, LOCAL, LOCAL, GLOBAL], 3),
        ([GLOBAL, LOCAL, GLOBAL, LOCAL], 2),
        ([GLOBAL] * 4, 1),
        ([GLOBAL, LOCAL, LOCAL, LOCAL], 4),
    ],
)
def test_kinds_of_blocks_may_be_listed(types, interval):
    assert read(layer_types=types)["global_attention_interval"] == interval


def test_wavelengths_have_two_forms():
    old = read(global_rope_theta=80000.0, local_rope_theta=500)
    stated = {GLOBAL: {"rope_theta": 80000.0}, LOCAL: {"rope_type": "default", "rope_theta": 500}}
    new = read(rope_parameters=stated)
    assert (old["global_max_wavelength"], old["local_max_wavelength"]) == (80000, 500)
    assert old == new
    assert read(rope_parameters={GLOBAL: {"rope_theta": 7.0}})["local_max_wavelength"] == 10000


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"layer_types": [LOCAL, GLOBAL, LOCAL, GLOBAL]}, "must come at equal intervals"),
        ({"layer_types": [GLOBAL]}, "must come at equal intervals"),
        ({"rope_parameters": {"rope_theta": 5.0}}, "can have only 'rope_theta' and 'rope_type'"),
        ({"rope_parameters": {GLOBAL: {"factor": 2.0}}}, "can have only 'rope_theta' and"),
        ({"rope_parameters": {LOCAL: {"rope_type": "yarn"}}}, "only 'rope_type' is 'default'"),
        ({"global_rope_theta": 0}, "'rope_theta' must be positive"),
        ({"local_rope_theta": None}, "has no meaning here"),
        ({"norm_bias": True}, "'norm_bias' is True, Clozework has only False"),
        ({"decoder_bias": False}, "'decoder_bias' is False, Clozework has only True"),
        ({"classifier_activation": "relu"}, "Clozework has only 'gelu'"),
        ({"rope_scaling": {"factor": 2.0}}, "'rope_scaling' is not known"),
    ],
)
def test_configs_of_other_architectures_are_refused(values, message):
    with pytest.raises(PresetError, match=message):
        read(**values)


def test_poolings_that_upstream_has_not_are_refused():
    with pytest.raises(ConfigError, match="`pooling_mode` must be 'cls' or 'mean'. .* 'max'"):
        tiny_task(TASKS["ModernBertTextClassifier"], pooling_mode="max")


@pytest.mark.parametrize(
    "changes", [{"local_attention_window": 0}, {"global_attention_interval": 1.5}]
)
def test_windows_and_intervals_are_counts(changes):
    with pytest.raises(ConfigError, match="must be a positive integer, not"):
        tiny_backbone(FAMILY, **changes)


@pytest.fixture(scope="module")
def masked_lm(tmp_path_factory):
    """A masked LM, and the directory to which it was exported."""
    task = tiny_task(TASKS["ModernBertMaskedLM"])
    directory = tmp_path_factory.mktemp("modern_bert") / "exported"
    task.export_to_transformers(directory)
    return task, directory


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("TextClassifier", {"num_classes": 3}),
        ("TokenClassifier", {"num_classes": 4}),
        ("QuestionAnswerer", {}),
    ],
)
def test_a_new_head_begins_with_the_masked_lms(masked_lm, kind, options):
    task, directory = masked_lm
    with pytest.warns(ClozeworkWarning, match="has no head for ModernBert.*; it is random"):
        other = getattr(models, kind).from_preset(directory, **options)
    head = task.masked_lm_head
    assert_equal(other.head_dense.kernel, head._intermediate_dense.kernel)
    assert_equal(other.head_layer_norm.gamma, head._intermediate_layer_norm.gamma)
    assert_same_outputs(other.backbone, task.backbone, random_inputs(FAMILY, [6]))


def test_a_head_of_another_width_is_new_throughout(masked_lm):
    with pytest.warns(ClozeworkWarning, match="has no head for ModernBertTextClassifier"):
        other = models.TextClassifier.from_preset(masked_lm[1], num_classes=2, hidden_dim=5)
    assert other.head_dense.kernel.shape == (8, 5)


def test_a_masked_lm_takes_the_shared_head_of_a_classifier(tmp_path):
    classifier = tiny_task(TASKS["ModernBertTextClassifier"], pooling_mode="mean")
    classifier.export_to_transformers(tmp_path / "exported")
    config = json.loads((tmp_path / "exported" / "config.json").read_text())
    assert config["classifier_pooling"] == "mean"
    with pytest.warns(ClozeworkWarning, match="has no head for ModernBertMaskedLM"):
        other = models.MaskedLM.from_preset(tmp_path / "exported")
    assert_equal(other.masked_lm_head._intermediate_dense.kernel, classifier.head_dense.kernel)


def test_a_classifiers_last_layer_is_no_question_answerers(tmp_path):
    classifier = tiny_task(TASKS["ModernBertTextClassifier"], num_classes=2)
    classifier.export_to_transformers(tmp_path / "exported")
    with pytest.warns(ClozeworkWarning, match="has no head for ModernBertQuestionAnswerer"):
        other = models.QuestionAnswerer.from_preset(tmp_path / "exported")
    assert_equal(other.head_dense.kernel, classifier.head_dense.kernel)
    change = other.output_dense.kernel - classifier.output_dense.kernel
    assert np.abs(keras.ops.convert_to_numpy(change)).max() > 1e-3


def test_a_preset_keeps_the_pooling(tmp_path):
    classifier = tiny_task(TASKS["ModernBertTextClassifier"], pooling_mode="mean")
    classifier.save_to_preset(tmp_path / "preset")
    other = models.TextClassifier.from_preset(tmp_path / "preset")
    assert other.pooling_mode == "mean"
    assert_same_outputs(other, classifier, random_inputs(FAMILY, [6, 3]))


def test_an_export_without_a_tokenizer_names_no_special_tokens(masked_lm, tmp_path):
    masked_lm[0].backbone.export_to_transformers(tmp_path / "exported")
    bare = json.loads((tmp_path / "exported" / "config.json").read_text())
    assert bare["pad_token_id"] is None
    with pytest.raises(PresetNotFoundError, match="no tokenizer: there is no 'tokenizer.json'. P"):
        models.Tokenizer.from_preset(tmp_path / "exported")
    whole = json.loads((masked_lm[1] / "config.json").read_text())
    assert whole["pad_token_id"] == masked_lm[0].preprocessor.tokenizer.pad_token_id


def test_queries_keys_and_values_are_adapted_together():
    backbone = tiny_backbone(FAMILY)
    backbone.enable_lora(2)
    # Two factors in each of two blocks.
    assert len(backbone.trainable_variables) == 4
