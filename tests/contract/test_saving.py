"""What is saved is loaded again: every family, every task, every format."""

import contextlib
import json
import warnings

import h5py
import keras
import numpy as np
import pytest

from clozework import models
from clozework.errors import ClozeworkWarning, PresetNotFoundError, WeightsError
from clozework.tasks.arguments import argument_defaults
from tests.contract.families import (
    TEXTS,
    assert_same_outputs,
    family_of_task,
    outputs_of,
    random_inputs,
    task_inputs,
    tiny_backbone,
    tiny_preprocessor,
    tiny_task,
    tiny_tokenizer,
)

TASK_BASES = {
    "CausalLM": models.CausalLM,
    "MaskedLM": models.MaskedLM,
    "TextClassifier": models.TextClassifier,
    "QuestionAnswerer": models.QuestionAnswerer,
    "TextEmbedder": models.TextEmbedder,
    "Seq2SeqLM": models.Seq2SeqLM,
    "TokenClassifier": models.TokenClassifier,
}


@pytest.fixture(scope="module")
def saved(task, tmp_path_factory):
    """The directory of a saved task."""
    directory = tmp_path_factory.mktemp("saved") / "preset"
    task.save_to_preset(directory)
    return directory


@contextlib.contextmanager
def warnings_of(layers, message):
    """Expects a warning for each of the layers that Hugging Face's format has not, and no other."""
    with contextlib.ExitStack() as expected:
        for layer in layers:
            match = message.format(layer)
            expected.enter_context(pytest.warns(ClozeworkWarning, match=match))
        yield


def exported_and_loaded(task, directory):
    task.export_to_transformers(directory)
    return type(task).from_preset(directory)


def test_a_task_is_loaded_as_it_was_saved(task, task_cls, saved):
    loaded = TASK_BASES[task_cls.kind].from_preset(saved)
    assert type(loaded) is task_cls
    assert loaded.name == task.name
    assert_same_outputs(loaded, task, task_inputs(task_cls))
    assert loaded.preprocessor.get_config().keys() == task.preprocessor.get_config().keys()
    assert loaded.preprocessor.sequence_length == task.preprocessor.sequence_length


def test_a_saved_task_holds_a_backbone_and_the_parts_for_text(task, task_cls, saved):
    family = family_of_task(task_cls)
    backbone = models.Backbone.from_preset(saved)
    assert type(backbone) is family.backbone
    assert backbone.get_config() == task.backbone.get_config()
    assert_same_outputs(backbone, task.backbone, random_inputs(family, [8, 5]))
    tokenizer = models.Tokenizer.from_preset(saved)
    assert type(tokenizer) is family.tokenizer
    assert tokenizer.get_vocabulary() == task.preprocessor.tokenizer.get_vocabulary()
    preprocessor = models.Preprocessor.from_preset(saved)
    assert type(preprocessor) is task_cls.preprocessor_cls
    assert preprocessor.tokenizer(TEXTS) == tokenizer(TEXTS)


def test_metadata_counts_the_parameters(task, saved):
    metadata = json.loads((saved / "metadata.json").read_text())
    assert metadata["parameter_count"] == task.backbone.count_params()
    assert type(task).kind in metadata["tasks"]


def test_shards_give_the_same_numbers(family, backbone, tmp_path):
    largest = max(np.prod(weight.shape) * 4 for weight in backbone.weights)
    backbone.save_to_preset(tmp_path / "preset", max_shard_size=1.1 * largest / 1e9)
    assert len(list((tmp_path / "preset").glob("model_*.weights.h5"))) > 1
    loaded = family.backbone.from_preset(tmp_path / "preset")
    assert_same_outputs(loaded, backbone, random_inputs(family, [8, 5]))


def test_keras_reads_our_weights_and_we_those_of_keras(family, backbone, tmp_path):
    backbone.save_to_preset(tmp_path / "preset")
    other = tiny_backbone(family)
    other.set_weights([0 * values for values in other.get_weights()])
    other.load_weights(tmp_path / "preset" / "model.weights.h5")
    assert_same_outputs(other, backbone, random_inputs(family, [8, 5]))
    (tmp_path / "preset" / "manifest.json").unlink()
    backbone.save_weights(tmp_path / "preset" / "model.weights.h5")
    loaded = family.backbone.from_preset(tmp_path / "preset")
    assert_same_outputs(loaded, backbone, random_inputs(family, [8, 5]))


# Keras's optimizer is empty in a file from before the first step, and not when it is loaded:
# https://github.com/keras-team/keras/blob/v3.15.1/keras/src/trainers/trainer.py
@pytest.mark.filterwarnings("ignore:Skipping variable loading for optimizer")
def test_a_keras_file_gives_the_same_model(task, task_cls, tmp_path):
    task.save(tmp_path / "task.keras")
    loaded = keras.saving.load_model(tmp_path / "task.keras")
    assert type(loaded) is task_cls
    assert_same_outputs(loaded, task, task_inputs(task_cls))
    assert loaded.preprocessor.tokenizer(TEXTS) == task.preprocessor.tokenizer(TEXTS)


def test_a_keras_file_of_a_backbone_gives_the_same_model(family, backbone, tmp_path):
    backbone.save(tmp_path / "backbone.keras")
    loaded = keras.saving.load_model(tmp_path / "backbone.keras")
    assert_same_outputs(loaded, backbone, random_inputs(family, [8, 5]))


def test_an_exported_task_comes_back(task, task_cls, tmp_path):
    inputs = task_inputs(task_cls)
    with warnings.catch_warnings():
        # Their heads take activation and epsilon from the encoder, ours, as KerasHub's, do not.
        warnings.filterwarnings("ignore", "`transformers` will compute", ClozeworkWarning)
        once = exported_and_loaded(task, tmp_path / "once")
    assert_same_outputs(once, task, inputs, atol=2e-2)
    # The second time there is nothing left to differ.
    twice = exported_and_loaded(once, tmp_path / "twice")
    assert_same_outputs(twice, once, inputs, atol=1e-6)
    assert twice.preprocessor.tokenizer(TEXTS) == task.preprocessor.tokenizer(TEXTS)


def test_an_exported_backbone_comes_back(family, backbone, tmp_path):
    skipped = family.hugging_face.skips
    with warnings_of(skipped, "has no '{}', so the export leaves that of .* out"):
        backbone.export_to_transformers(tmp_path / "exported")
    with warnings_of(skipped, "has no weights for {}/bias.* are random"):
        loaded = models.Backbone.from_preset(tmp_path / "exported")
    assert loaded.get_config().keys() == backbone.get_config().keys()
    for name in skipped:
        loaded.get_layer(name).set_weights(backbone.get_layer(name).get_weights())
    assert_same_outputs(loaded, backbone, random_inputs(family, [8, 5]))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "mixed_bfloat16", "mixed_float16"])
def test_a_preset_loads_in_low_precision(task, task_cls, saved, dtype):
    loaded = task_cls.from_preset(saved, dtype=dtype)
    assert loaded.backbone.dtype_policy.name == dtype
    of_variables = keras.dtype_policies.get(dtype).variable_dtype
    assert {keras.backend.standardize_dtype(w.dtype) for w in loaded.weights} == {of_variables}
    ours = keras.ops.cast(loaded(task_inputs(task_cls)), "float32")
    expected = outputs_of(task, task_inputs(task_cls))["output"]
    difference = np.abs(keras.ops.convert_to_numpy(ours) - expected).max()
    assert difference < (0.02 if dtype.endswith("_float16") or dtype == "float16" else 0.2)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_low_precision_survives_saving(family, tmp_path, dtype):
    backbone = tiny_backbone(family, dtype=dtype)
    backbone.save_to_preset(tmp_path / "preset")
    loaded = family.backbone.from_preset(tmp_path / "preset")
    assert loaded.dtype_policy.name == "float32"
    for ours, stored in zip(loaded.weights, backbone.weights, strict=True):
        expected = keras.ops.convert_to_numpy(keras.ops.cast(stored, "float32"))
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(ours), expected)


def test_own_arguments_of_ours_survive_saving(family, tmp_path):
    if "activation" not in argument_defaults(family.backbone):
        return
    backbone = tiny_backbone(family, activation="relu", name="mine")
    backbone.trainable = False
    backbone.save_to_preset(tmp_path / "preset")
    loaded = models.Backbone.from_preset(tmp_path / "preset")
    assert (loaded.activation, loaded.name, loaded.trainable) == ("relu", "mine", False)
    assert_same_outputs(loaded, backbone, random_inputs(family, [8, 5]))


@pytest.mark.parametrize("fmt", ["keras", "transformers"])
def test_label_names_survive(classifier_cls, tmp_path, fmt):
    classifier = tiny_task(classifier_cls, label_names=["bad", "good", "so so"])
    if fmt == "keras":
        classifier.save_to_preset(tmp_path / "preset")
    else:
        classifier.export_to_transformers(tmp_path / "preset")
    loaded = models.TextClassifier.from_preset(tmp_path / "preset")
    assert loaded.label_names == ["bad", "good", "so so"]
    other = classifier_cls.from_preset(tmp_path / "preset", label_names=["a", "b", "c"])
    assert other.label_names == ["a", "b", "c"]


def test_arguments_of_preprocessors_survive(task_cls, tmp_path):
    changes = dict.fromkeys(task_cls.preprocessor_cls.length_names, 11)
    if task_cls.kind == "CausalLM":
        changes.update(add_start_token=False, add_end_token=False)
    elif "sequence_length" in changes:
        changes["truncate"] = "waterfall"
    if task_cls.kind == "MaskedLM":
        changes.update(mask_selection_rate=0.3, mask_selection_length=7, mask_token_rate=0.5)
        changes.update(random_token_rate=0.25, mask_seed=3)
    tiny_preprocessor(task_cls, **changes).save_to_preset(tmp_path / "preset")
    loaded = task_cls.preprocessor_cls.from_preset(tmp_path / "preset")
    assert {name: getattr(loaded, name) for name in changes} == changes


def test_a_tokenizer_saved_alone_is_no_model(family, tmp_path):
    tokenizer = tiny_tokenizer(family)
    tokenizer.save_to_preset(tmp_path / "preset")
    loaded = models.Tokenizer.from_preset(tmp_path / "preset")
    assert type(loaded) is family.tokenizer
    assert loaded(TEXTS) == tokenizer(TEXTS)
    with pytest.raises(PresetNotFoundError, match=r"holds a .*Tokenizer alone.*Save the model"):
        models.Backbone.from_preset(tmp_path / "preset")


def test_a_model_trained_further_replaces_the_saved_one(task_cls, tmp_path):
    task = tiny_task(task_cls)
    task.save_to_preset(tmp_path / "preset")
    task.set_weights([values + 0.125 for values in task.get_weights()])
    task.save_to_preset(tmp_path / "preset")
    assert_same_outputs(
        task_cls.from_preset(tmp_path / "preset"), task, task_inputs(task_cls), atol=1e-6
    )


def test_random_weights_are_random_and_the_head_new(task, task_cls, saved):
    loaded = task_cls.from_preset(saved, load_weights=False)
    ours, theirs = loaded.backbone.get_weights(), task.backbone.get_weights()
    assert not any(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_other_weights_than_the_model_s_are_refused(task, task_cls, saved):
    with pytest.raises(WeightsError, match=r"(?s)'layers/.*is .* not .*argument replaced"):
        task_cls.from_preset(saved, intermediate_dim=20)


def test_a_weights_file_that_lacks_a_layer_is_refused(family, backbone, tmp_path):
    backbone.save_to_preset(tmp_path / "preset")
    (tmp_path / "preset" / "manifest.json").unlink()
    with h5py.File(tmp_path / "preset" / "model.weights.h5", "a") as file:
        norm = next(name for name in file["layers"] if name.endswith("_normalization"))
        del file[f"layers/{norm}/vars/0"]
    with pytest.raises(WeightsError, match=f"'layers/{norm}/vars/0' is missing"):
        family.backbone.from_preset(tmp_path / "preset")


def test_other_numbers_of_classes_make_a_new_head(classifier_cls, tmp_path):
    tiny_task(classifier_cls).save_to_preset(tmp_path / "preset")
    with pytest.warns(ClozeworkWarning, match=r"has no head for .*; it is random"):
        loaded = classifier_cls.from_preset(tmp_path / "preset", num_classes=5)
    assert loaded.num_classes == 5
    assert loaded.output_dense.kernel.shape[-1] == 5
