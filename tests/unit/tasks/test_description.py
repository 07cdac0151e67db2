"""What is said of a preset before its weights are loaded."""

import pytest

from clozework import models
from clozework.errors import PresetNotFoundError
from clozework.presets import family_named
from clozework.tasks import describe_preset


def test_a_built_in_name_is_described_from_its_architecture():
    description = describe_preset("bert_tiny_en_uncased")
    assert (description.family, description.format) == ("bert", "built-in")
    assert description.parameters == 4385920
    assert description.architecture["hidden_dim"] == 128
    assert description.files == {}
    assert description.handles[0].startswith("kaggle://")


def test_a_large_model_is_counted_without_memory_for_it():
    assert describe_preset("xlm_roberta_large_multi").parameters == 558837760


def test_a_stored_task_is_named_with_its_labels(classifier, tmp_path):
    classifier.save_to_preset(tmp_path / "preset")
    description = describe_preset(tmp_path / "preset")
    assert (description.task, description.format) == ("BertTextClassifier", "keras")
    assert description.label_names == ("calm", "storm")
    assert description.tokenizer == "BertTokenizer"
    assert description.parameters == classifier.backbone.count_params()
    config = tmp_path / "preset" / "config.json"
    assert description.files["config.json"] == config.stat().st_size


def test_a_hugging_face_directory_is_described_alike(classifier, tmp_path):
    classifier.export_to_transformers(tmp_path / "exported")
    description = describe_preset(str(tmp_path / "exported"))
    assert (description.task, description.format) == ("BertTextClassifier", "transformers")
    assert description.label_names == ("calm", "storm")


def test_a_backbone_alone_has_no_task_and_no_tokenizer(masked_lm, tmp_path):
    masked_lm.backbone.save_to_preset(tmp_path / "preset")
    description = describe_preset(tmp_path / "preset")
    assert (description.task, description.tokenizer) == (None, None)
    assert description.tasks == tuple(cls.__name__ for cls in family_named("bert").tasks)


def test_weights_are_not_read(masked_lm, tmp_path):
    masked_lm.save_to_preset(tmp_path / "preset")
    (tmp_path / "preset" / "model.weights.h5").write_bytes(b"damaged")
    assert describe_preset(tmp_path / "preset").files["model.weights.h5"] == len(b"damaged")


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(PresetNotFoundError, match="Did you mean 'bert_base_en'"):
        describe_preset("bert_base_eng")


@pytest.mark.parametrize("name", sorted(models.Backbone.presets))
def test_the_stated_number_of_parameters_is_exact(name):
    stated = models.Backbone.presets[name]["metadata"]["params"]
    assert describe_preset(name).parameters == stated
