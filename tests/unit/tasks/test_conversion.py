"""From one stored format to another, with nothing lost."""

import keras
import numpy as np
import pytest

from clozework import models
from clozework.errors import ClozeworkWarning, ConfigError, PresetNotFoundError
from clozework.tasks import convert_preset, describe_preset

TEXTS = ["a heaven b", "earth [MASK] c"]


@pytest.mark.parametrize("first", ["keras", "transformers"])
def test_a_task_survives_the_way_there_and_back(classifier, tmp_path, first):
    expected = classifier.predict(TEXTS, verbose=0)
    classifier.save_to_preset(tmp_path / "source")
    convert_preset(tmp_path / "source", tmp_path / "there", to=first)
    convert_preset(tmp_path / "there", tmp_path / "back", to="keras")
    assert describe_preset(tmp_path / "there").format == first
    restored = models.TextClassifier.from_preset(tmp_path / "back")
    assert restored.label_names == ["calm", "storm"]
    np.testing.assert_allclose(restored.predict(TEXTS, verbose=0), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("to", ["keras", "transformers"])
def test_a_backbone_brings_its_tokenizer_along(masked_lm, tmp_path, to):
    backbone, tokenizer = masked_lm.backbone, masked_lm.preprocessor.tokenizer
    convert_preset(stored_backbone(masked_lm, tmp_path), tmp_path / "there", to=to)
    assert describe_preset(tmp_path / "there").task is None
    restored = models.Tokenizer.from_preset(tmp_path / "there")
    assert restored.get_vocabulary() == tokenizer.get_vocabulary()
    inputs = models.BertTextClassifierPreprocessor(tokenizer, sequence_length=8)(TEXTS)
    outputs = [
        keras.ops.convert_to_numpy(model(inputs)["sequence_output"])
        for model in (models.Backbone.from_preset(tmp_path / "there"), backbone)
    ]
    np.testing.assert_allclose(*outputs, rtol=1e-5, atol=1e-6)


def test_a_missing_tokenizer_is_said_and_the_rest_converted(masked_lm, tmp_path):
    masked_lm.backbone.save_to_preset(tmp_path / "source")
    with pytest.warns(ClozeworkWarning, match="converted without a tokenizer"):
        convert_preset(tmp_path / "source", tmp_path / "there", to="transformers")
    assert (tmp_path / "there" / "model.safetensors").is_file()


def test_a_task_without_a_tokenizer_is_converted_too(masked_lm, tmp_path):
    masked_lm.preprocessor = None
    masked_lm.save_to_preset(tmp_path / "source")
    with pytest.warns(ClozeworkWarning, match="converted without a tokenizer"):
        convert_preset(tmp_path / "source", tmp_path / "there", to="transformers")
    assert describe_preset(tmp_path / "there").task == "BertMaskedLM"


def test_what_transformers_cannot_tell_apart_is_said(masked_lm, tmp_path):
    other = models.BertMaskedLM(masked_lm.backbone, head_activation="relu")
    expected = "`head_activation` is 'relu' here, but 'gelu' there, as in the encoder"
    with pytest.warns(ClozeworkWarning, match=expected):
        other.export_to_transformers(tmp_path / "there")


def test_a_missing_source_leaves_no_destination(tmp_path):
    with pytest.raises(PresetNotFoundError, match="no directory"):
        convert_preset(tmp_path / "nothing", tmp_path / "there", to="keras")
    assert not (tmp_path / "there").exists()


def test_an_unknown_format_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="There is no format 'onnx'"):
        convert_preset("bert_tiny_en", tmp_path, to="onnx")


def stored_backbone(masked_lm, directory):
    """Stores a backbone with its tokenizer and no task, as KerasHub's own presets are."""
    masked_lm.save_to_preset(directory / "source")
    for name in ("task.json", "task.weights.h5", "preprocessor.json", "manifest.json"):
        (directory / "source" / name).unlink(missing_ok=True)
    return directory / "source"
