"""Inputs that no model can take raise errors that say why, on every backend and by every way in."""

import keras
import numpy as np
import pytest

from clozework.errors import InputError
from tests.contract.families import (
    TASKS,
    family_of_task,
    names_of,
    random_inputs,
    task_inputs,
    task_labels,
    tiny_task,
)

# Positions that are relative: rows may be of any length.
WITHOUT_LONGEST_ROW = ("deberta_v3", "gemma", "modern_bert")
BACKBONE_WAYS = {
    "call": lambda model, x: model(x),
    "predict": lambda model, x: model.predict(x, verbose=0),
    "predict_on_batch": lambda model, x: model.predict_on_batch(x),
}
TASK_WAYS = {
    "call": lambda task, x, y: task(x),
    "predict": lambda task, x, y: task.predict(x, verbose=0),
    "predict_on_batch": lambda task, x, y: task.predict_on_batch(x),
    "fit": lambda task, x, y: task.fit(x, y, verbose=0),
    "evaluate": lambda task, x, y: task.evaluate(x, y, verbose=0),
    "train_on_batch": lambda task, x, y: task.train_on_batch(x, y),
    "test_on_batch": lambda task, x, y: task.test_on_batch(x, y),
}


def too_high(inputs, model):
    name = names_of(inputs, "token_ids")[-1]
    inputs[name][1, 2] = model.vocabulary_size
    return rf"`{name}` goes from \d+ to {model.vocabulary_size}, but .* takes 0 to"


def negative(inputs, model):
    name = names_of(inputs, "token_ids")[-1]
    inputs[name][0, 1] = -1
    return rf"`{name}` goes from -1 to \d+, but"


def fractions(inputs, model):
    name = names_of(inputs, "token_ids")[-1]
    inputs[name] = inputs[name] + 0.7
    return rf"`{name}` must be whole numbers, not \d+\.7 \(float"


def strange_mask(inputs, model):
    if not names_of(inputs, "padding_mask"):
        inputs["segment_ids"] = inputs["segment_ids"] - 1
        return r"`segment_ids` goes from -1 to 0, but .* takes 0 to 1"
    name = names_of(inputs, "padding_mask")[-1]
    inputs[name] = -inputs[name]
    return rf"`{name}` must not be negative: .* It goes from -1 to 0"


def incomplete(inputs, model):
    name = [*names_of(inputs, "segment_ids"), *names_of(inputs, "padding_mask")][-1]
    del inputs[name]
    return rf"takes '\w*token_ids', .*; '{name}' is missing among '\w*token_ids'"


DAMAGES = (too_high, negative, fractions, strange_mask, incomplete)


@pytest.fixture(scope="module")
def bare_task(task_cls):
    """A task without a preprocessor, shared: whatever is refused leaves it as it was."""
    return tiny_task(task_cls, preprocessor=None)


@pytest.fixture(scope="module")
def labelled_task(labelled_task_cls):
    """A task without a preprocessor whose labels are ids, shared as well."""
    return tiny_task(labelled_task_cls, preprocessor=None)


@pytest.fixture(scope="module")
def bare_masked_lm(masked_lm_cls):
    """A masked LM without a preprocessor, shared as well."""
    return tiny_task(masked_lm_cls, preprocessor=None)


@pytest.mark.parametrize("way", BACKBONE_WAYS)
@pytest.mark.parametrize("damage", DAMAGES)
def test_backbones_refuse_impossible_ids(family, backbone, damage, way):
    inputs = random_inputs(family, [6, 4])
    message = damage(inputs, backbone)
    with pytest.raises(InputError, match=message):
        BACKBONE_WAYS[way](backbone, inputs)


@pytest.mark.parametrize("way", TASK_WAYS)
@pytest.mark.parametrize("damage", DAMAGES)
def test_tasks_refuse_impossible_ids(task_cls, bare_task, damage, way):
    inputs = task_inputs(task_cls)
    message = damage(inputs, bare_task.backbone)
    with pytest.raises(InputError, match=message):
        TASK_WAYS[way](bare_task, inputs, task_labels(task_cls))


@pytest.mark.parametrize("convert", [keras.ops.convert_to_tensor, np.ndarray.tolist])
@pytest.mark.parametrize("damage", [too_high, negative])
def test_tensors_and_lists_are_looked_at_as_well(family, backbone, damage, convert):
    inputs = random_inputs(family, [6, 4])
    message = damage(inputs, backbone)
    with pytest.raises(InputError, match=message):
        backbone({name: convert(values) for name, values in inputs.items()})


def test_segments_that_do_not_exist_are_refused():
    task = tiny_task(TASKS["BertTextClassifier"], preprocessor=None)
    inputs = task_inputs(TASKS["BertTextClassifier"])
    inputs["segment_ids"][0, 0] = 7
    for enter in TASK_WAYS.values():
        with pytest.raises(
            InputError, match=r"`segment_ids` goes from 0 to 7, but .* takes 0 to 1"
        ):
            enter(task, inputs, np.array([0, 1]))


@pytest.mark.parametrize("way", TASK_WAYS)
def test_rows_longer_than_the_positions_are_refused(task_cls, bare_task, way):
    family = family_of_task(task_cls)
    inputs = {**task_inputs(task_cls), **random_inputs(family, [17, 9])}
    if family.name in WITHOUT_LONGEST_ROW:
        assert np.isfinite(keras.ops.convert_to_numpy(bare_task(inputs))).all()
        return
    with pytest.raises(InputError, match=r"is 17 tokens long, but .* has 16 positions"):
        TASK_WAYS[way](bare_task, inputs, task_labels(task_cls, tokens=17))


@pytest.mark.parametrize("way", BACKBONE_WAYS)
def test_backbones_refuse_rows_longer_than_the_positions(family, backbone, way):
    if family.name in WITHOUT_LONGEST_ROW:
        return
    with pytest.raises(InputError, match=r"is 17 tokens long, but .* has 16 positions"):
        BACKBONE_WAYS[way](backbone, random_inputs(family, [17, 9]))


@pytest.mark.parametrize("way", TASK_WAYS)
@pytest.mark.parametrize("convert", [np.asarray, keras.ops.convert_to_tensor, np.ndarray.tolist])
@pytest.mark.parametrize("position", [-1, 8])
def test_mask_positions_outside_of_the_row_are_refused(
    masked_lm_cls, bare_masked_lm, position, convert, way
):
    inputs = task_inputs(masked_lm_cls)
    inputs["mask_positions"][1, 0] = position
    inputs["mask_positions"] = convert(inputs["mask_positions"])
    if convert is np.ndarray.tolist and way != "call":
        inputs["mask_positions"] = np.array(inputs["mask_positions"])
    with pytest.raises(InputError, match=r"`mask_positions` goes from .*, but rows have the pos"):
        TASK_WAYS[way](bare_masked_lm, inputs, task_labels(masked_lm_cls))


@pytest.mark.parametrize("way", ["fit", "evaluate", "train_on_batch", "test_on_batch"])
@pytest.mark.parametrize("label", [-1, 1000])
def test_labels_out_of_range_are_refused(labelled_task_cls, labelled_task, label, way):
    labels = task_labels(labelled_task_cls)
    labels.flat[0] = label
    with pytest.raises(InputError, match=rf"Labels go from .*{label}\b.*, but"):
        TASK_WAYS[way](labelled_task, task_inputs(labelled_task_cls), labels)


@pytest.mark.parametrize("way", ["fit", "evaluate", "train_on_batch", "test_on_batch"])
def test_missing_labels_are_refused(labelled_task_cls, labelled_task, way):
    with pytest.raises(InputError, match=r"needs labels"):
        TASK_WAYS[way](labelled_task, task_inputs(labelled_task_cls), None)


def test_text_is_not_called_on(task):
    for text in ("the fox", ["the fox"], np.array(["the fox"])):
        with pytest.raises(InputError, match=r"was called with text, but takes arrays"):
            task(text)


@pytest.mark.parametrize("text", [None, 5, b"\xff", "\ud800"])
@pytest.mark.parametrize("way", ["predict", "predict_on_batch", "fit"])
def test_what_is_no_text_is_refused(task, task_cls, text, way):
    mask = task.preprocessor.tokenizer.mask_token
    with pytest.raises(InputError):
        TASK_WAYS[way](task, [f"the {mask}", text], task_labels(task_cls))


def test_weights_stay_when_bad_input_ends_training(task_cls, bare_task):
    before = bare_task.get_weights()
    inputs = {name: np.concatenate([v] * 20) for name, v in task_inputs(task_cls).items()}
    name = names_of(inputs, "token_ids")[-1]
    inputs[name][-1, 0] = 1000
    labels = np.concatenate([task_labels(task_cls)] * 20)
    with pytest.raises(InputError, match=rf"`{name}` goes from"):
        bare_task.fit(inputs, labels, batch_size=40, verbose=0)
    for ours, kept in zip(bare_task.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, kept)


def test_an_empty_batch_is_refused(task):
    with pytest.raises(InputError):
        task.predict([], verbose=0)
