"""What sentence-transformers stores beside a model: its older forms, and what is refused."""

import json

import numpy as np
import pytest

from clozework.errors import PresetError, WeightsError
from clozework.presets.files import LocalFiles, MemoryFiles
from clozework.presets.sentence_modules import (
    SentenceModules,
    projection_weights,
    read_sentence_modules,
    transformer_folder,
    write_sentence_modules,
)
from clozework.presets.tensor_files import write_safetensors

TYPES = "sentence_transformers.models."
STEPS = ["Transformer", "Pooling", "Normalize"]
MEAN = {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}


def files_of(steps=STEPS, pooling=MEAN, **others):
    listed = [
        {"idx": i, "path": f"{i}_{kind}" if i else "", "type": f"{TYPES}{kind}"}
        for i, kind in enumerate(steps)
    ]
    return MemoryFiles(
        {"modules.json": json.dumps(listed), "1_Pooling/config.json": pooling, **others}
    )


def test_a_directory_without_steps_has_none():
    assert read_sentence_modules(MemoryFiles({"config.json": {}})) is None


def test_the_older_and_the_newer_form_of_pooling_are_read():
    for pooling in ({"pooling_mode_cls_token": True}, {"pooling_mode": "cls"}):
        assert read_sentence_modules(files_of(pooling=pooling)).pooling_mode == "cls"


def test_steps_come_in_the_order_of_their_numbers():
    files = files_of()
    listed = json.loads(files.read_text("modules.json"))[::-1]
    modules = read_sentence_modules(
        MemoryFiles({"modules.json": json.dumps(listed), "1_Pooling/config.json": MEAN})
    )
    assert modules == SentenceModules(pooling_mode="mean", normalize=True)


def test_dropout_is_for_training_and_prompts_without_text_are_none():
    settings = {"prompts": {"query": "q: ", "document": ""}, "default_prompt_name": None}
    files = files_of(
        ["Transformer", "Pooling", "Dropout"], **{"config_sentence_transformers.json": settings}
    )
    modules = read_sentence_modules(files)
    assert not modules.normalize
    assert modules.prompts == {"query": "q: "}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (files_of(["Transformer", "Normalize"]), r"has the steps Transformer, Normalize\. Cloz"),
        (files_of([*STEPS, "Dense"]), r"has the steps Transformer, Pooling, Normalize, Dense"),
        (files_of(["Transformer", "Pooling", "LSTM"]), r"Transformer, Pooling, LSTM\."),
        (files_of([]), r"has the steps none"),
        (files_of(pooling={"pooling_mode_oddtoken": True}), r"pools by pooling_mode_oddtoken"),
        (
            files_of(pooling={**MEAN, "pooling_mode_cls_token": True}),
            r"mean_tokens and pooling_mode_cls_token\. Clozework has one of",
        ),
        (files_of(pooling={}), r"pools by nothing"),
        (files_of(pooling={**MEAN, "include_prompt": False}), r"without the prompt"),
        (
            files_of(**{"sentence_bert_config.json": {"do_lower_case": True}}),
            r"lowercases texts before its tokenizer",
        ),
        (MemoryFiles({"modules.json": "{}"}), r"pools|has the steps none"),
        (MemoryFiles({"modules.json": "[1]"}), r"is not the list of steps"),
        (MemoryFiles({"modules.json": "[{"}), r"is not the list of steps"),
        (
            files_of(
                ["Transformer", "Pooling", "Dense"],
                **{"2_Dense/config.json": {"out_features": 3, "activation_function": "x.Odd"}},
            ),
            r"'2_Dense' of in memory has out_features=3 and the activation 'Odd'\. Cloz.*: GELU",
        ),
    ],
)
def test_what_is_not_computed_is_refused(files, message):
    with pytest.raises(PresetError, match=message):
        read_sentence_modules(files)


def test_a_model_in_a_folder_of_its_own_has_its_lengths_there():
    listed = [
        {"idx": 0, "path": "0_Transformer", "type": f"{TYPES}Transformer"},
        {"idx": 1, "path": "1_Pooling", "type": f"{TYPES}Pooling"},
    ]
    files = MemoryFiles(
        {
            "modules.json": json.dumps(listed),
            "1_Pooling/config.json": MEAN,
            "0_Transformer/sentence_bert_config.json": {"max_seq_length": 7},
        }
    )
    assert transformer_folder(files) == "0_Transformer"
    assert read_sentence_modules(files).max_length == 7


def test_other_weights_than_those_of_a_dense_step_are_refused(tmp_path):
    (tmp_path / "2_Dense").mkdir()
    tensors = {"linear.weight": np.ones((2, 3)), "other": np.ones(1)}
    write_safetensors(tmp_path / "2_Dense" / "model.safetensors", tensors)
    with pytest.raises(WeightsError, match=r"in '2_Dense' of .* are linear\.weight, other; expec"):
        projection_weights(LocalFiles(tmp_path), "2_Dense")


def test_an_activation_that_they_lack_is_refused(tmp_path):
    projection = {"units": 2, "activation": "mish", "use_bias": False}
    modules = SentenceModules("mean", normalize=False, projections=(projection,))
    with pytest.raises(PresetError, match=r"not told of the activation 'mish'.*one of: gelu"):
        write_sentence_modules(tmp_path, modules, [[np.ones((3, 2))]], hidden_dim=3)
