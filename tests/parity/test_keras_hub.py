"""KerasHub loads what we save, and we what it saves, with the same numbers.

KerasHub needs TensorFlow and lives in an environment of its own, whose interpreter the environment
variable `CLOZEWORK_KERAS_HUB_PYTHON` names.
"""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from clozework import models
from tests.contract.families import (
    TASKS,
    TEXTS,
    family_of_task,
    outputs_of,
    task_inputs,
    tiny_backbone,
    tiny_task,
)

pytestmark = pytest.mark.real

KERAS_HUB_API = Path(__file__).parents[1] / "golden" / "keras_hub_api.txt"
_API = KERAS_HUB_API.read_text(encoding="utf-8")
# It lacks some tasks, and some families.
NAMES = [name for name in TASKS if f"models.{name}(" in _API]

SCRIPT = Path(__file__).with_name("keras_hub_outputs.py")
VARIABLE = "CLOZEWORK_KERAS_HUB_PYTHON"
# What tasks differ in, so that all ways of storing occur.
CHANGES = {"BertTextClassifier": {"dropout": 0.3}, "DistilBertTextClassifier": {"hidden_dim": 6}}
SHARD_SIZES = {"RobertaMaskedLM": 4e-6, "DebertaV3TextClassifier": 4e-6}
PRECISIONS = {"XLMRobertaMaskedLM": "bfloat16", "BertMaskedLM": "float16"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Presets of every task, ours and KerasHub's, with what KerasHub computes for them."""
    interpreter = os.environ.get(VARIABLE)
    if not interpreter:
        pytest.skip(f"{VARIABLE} does not name the interpreter of an environment with keras-hub")
    folder = tmp_path_factory.mktemp("presets")
    for name in NAMES:
        task_cls = TASKS[name]
        (folder / name).mkdir()
        backbone = tiny_backbone(family_of_task(task_cls), dtype=PRECISIONS.get(name))
        task = tiny_task(task_cls, backbone=backbone, **CHANGES.get(name, {}))
        if task.kind == "Seq2SeqLM":
            # KerasHub's has no bias of the logits; it is zero in the checkpoints there are.
            task.logits_bias.set_weights([0 * values for values in task.logits_bias.get_weights()])
        task.save_to_preset(folder / name / "ours", max_shard_size=SHARD_SIZES.get(name, 10))
        np.savez(folder / name / "inputs.npz", **task_inputs(task_cls))
        (folder / name / "texts.json").write_text(json.dumps(TEXTS))
    environment = {**os.environ, "KERAS_BACKEND": "jax", "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [interpreter, str(SCRIPT), str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


def assert_same_numbers(directory, preset, name):
    task = models.Task.from_preset(directory / preset)
    inputs = dict(np.load(directory / "inputs.npz"))
    of_backbone = {key: inputs[key] for key in task.backbone.input_names}
    ours = {f"backbone.{key}": v for key, v in outputs_of(task.backbone, of_backbone).items()}
    ours["task"] = outputs_of(task, inputs)["output"]
    theirs = dict(np.load(directory / f"keras_hub_of_{preset}.npz"))
    assert ours.keys() == theirs.keys()
    for key, values in theirs.items():
        np.testing.assert_allclose(ours[key], values, rtol=0, atol=1e-5, err_msg=f"{name} {key}")


@pytest.mark.parametrize("name", NAMES)
def test_keras_hub_gives_our_numbers_for_what_we_save(folder, name):
    assert_same_numbers(folder / name, "ours", name)


@pytest.mark.parametrize("name", NAMES)
def test_we_give_the_numbers_of_keras_hub_for_what_it_saves(folder, name):
    assert_same_numbers(folder / name, "theirs", name)


@pytest.mark.parametrize("name", NAMES)
def test_keras_hub_finds_the_same_classes_and_tokens(folder, name):
    answers = json.loads((folder / name / "keras_hub.json").read_text())
    task = models.Task.from_preset(folder / name / "ours")
    if task.kind == "CausalLM":
        assert answers.pop("generated") == task.generate(TEXTS, max_length=12)
    assert answers == {
        "class": name,
        "backbone_class": type(task.backbone).__name__,
        "sequence_length": task.preprocessor.sequence_length,
        "token_ids": task.preprocessor.tokenizer(TEXTS),
    }
