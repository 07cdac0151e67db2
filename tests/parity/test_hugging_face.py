"""The numbers of `transformers`, to 1e-5: its directories loaded by us, ours loaded by it."""

import keras
import numpy as np
import pytest
import torch

from clozework import models
from tests.parity.hugging_face_models import (
    CLASSES,
    CONFIGS,
    random_inputs,
    random_model,
    upstream_outputs,
)

# ELECTRA, and the masked LMs of BERT and ALBERT, have no pooler, of which we warn.
pytestmark = pytest.mark.filterwarnings("ignore:.*pooled_dense")

NAMES = sorted(CONFIGS)
POSITIONS = np.array([[0, 3, 10], [1, 2, 10], [0, 0, 0]], "int32")


def assert_close(ours, theirs, inputs):
    """Compares on tokens, relative to the largest number."""
    ours = keras.ops.convert_to_numpy(ours)
    theirs = theirs.numpy()
    # A model without a mask has numbers at padding, too, and they count.
    mask = inputs.get("padding_mask")
    if mask is not None and ours.ndim == 3 and ours.shape[1] == mask.shape[1]:
        is_token = mask.astype(bool)
        ours, theirs = ours[is_token], theirs[is_token]
    assert ours.shape == theirs.shape
    scale = max(1.0, float(np.abs(theirs).max()))
    assert np.abs(ours - theirs).max() / scale <= 1e-5


def gathered(logits: torch.Tensor) -> torch.Tensor:
    positions = torch.tensor(POSITIONS).long()[..., None].expand(-1, -1, logits.shape[-1])
    return logits.gather(1, positions)


def saved(tmp_path, model, **options):
    model.save_pretrained(tmp_path / "theirs", **options)
    return tmp_path / "theirs"


@pytest.mark.parametrize("name", NAMES)
def test_backbone_gives_upstream_hidden_states(tmp_path, name):
    theirs = random_model(name, "backbone")
    inputs = random_inputs(name)
    ours = models.Backbone.from_preset(saved(tmp_path, theirs))
    outputs = upstream_outputs(theirs, inputs)
    assert_close(ours.token_vectors(ours(inputs)), outputs.last_hidden_state, inputs)
    if name.startswith(("albert", "bert", "f_net")):
        assert_close(ours(inputs)["pooled_output"], outputs.pooler_output, inputs)


@pytest.mark.parametrize("name", NAMES)
def test_masked_lm_gives_upstream_logits(tmp_path, name):
    theirs = random_model(name, "masked_lm")
    inputs = random_inputs(name)
    ours = models.MaskedLM.from_preset(saved(tmp_path, theirs), preprocessor=None)
    logits = gathered(upstream_outputs(theirs, inputs).logits)
    assert_close(ours({**inputs, "mask_positions": POSITIONS}), logits, inputs)


@pytest.mark.parametrize("name", NAMES)
def test_classifier_gives_upstream_logits_and_label_names(tmp_path, name):
    labels = {0: "bad", 1: "good", 2: "so so"}
    theirs = random_model(name, "text_classifier", id2label=labels)
    inputs = random_inputs(name)
    ours = models.TextClassifier.from_preset(saved(tmp_path, theirs), preprocessor=None)
    assert_close(ours(inputs), upstream_outputs(theirs, inputs).logits, inputs)
    assert ours.label_names == ["bad", "good", "so so"]


@pytest.mark.parametrize("name", NAMES)
def test_token_classifier_gives_upstream_logits_and_label_names(tmp_path, name):
    labels = {0: "O", 1: "B-PER", 2: "I-PER"}
    theirs = random_model(name, "token_classifier", id2label=labels)
    inputs = random_inputs(name)
    ours = models.TokenClassifier.from_preset(saved(tmp_path, theirs), preprocessor=None)
    assert_close(ours(inputs), upstream_outputs(theirs, inputs).logits, inputs)
    assert ours.label_names == ["O", "B-PER", "I-PER"]


@pytest.mark.parametrize("name", NAMES)
def test_question_answerer_gives_upstream_logits(tmp_path, name):
    theirs = random_model(name, "question_answerer")
    inputs = random_inputs(name)
    ours = models.QuestionAnswerer.from_preset(saved(tmp_path, theirs), preprocessor=None)
    outputs = upstream_outputs(theirs, inputs)
    logits = keras.ops.transpose(ours(inputs), (0, 2, 1))
    expected = torch.stack([outputs.start_logits, outputs.end_logits], dim=-1)
    assert_close(logits, expected, inputs)


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("name", NAMES)
def test_our_export_gives_upstream_the_same_numbers(tmp_path, name, kind):
    base = {
        "backbone": models.Backbone,
        "masked_lm": models.MaskedLM,
        "text_classifier": models.TextClassifier,
        "question_answerer": models.QuestionAnswerer,
        "token_classifier": models.TokenClassifier,
    }[kind]
    first = random_model(name, kind)
    inputs = random_inputs(name)
    options = {} if kind == "backbone" else {"preprocessor": None}
    ours = base.from_preset(saved(tmp_path, first), **options)
    ours.export_to_transformers(tmp_path / "ours")
    second, report = CLASSES[kind].from_pretrained(tmp_path / "ours", output_loading_info=True)
    # RoBERTa's bare encoder has a pooler, which we have not and which these outputs don't need.
    assert all("pooler" in key for key in report["missing_keys"])
    assert not report["unexpected_keys"]
    outputs, expected = upstream_outputs(second.eval(), inputs), upstream_outputs(first, inputs)
    keys = {"backbone": "last_hidden_state", "question_answerer": "start_logits"}
    key = keys.get(kind, "logits")
    # Start logits are one number a token, of which those of padding don't count.
    ours, theirs = (o[key][..., None] if "start" in key else o[key] for o in (outputs, expected))
    assert_close(ours.numpy(), theirs, inputs)


@pytest.mark.parametrize("name", [name for name in NAMES if "odd" not in name])
@pytest.mark.parametrize("kind", ["masked_lm", "text_classifier"])
def test_backbone_loads_from_any_class_of_theirs(tmp_path, name, kind):
    theirs = random_model(name, kind)
    inputs = random_inputs(name)
    ours = models.Backbone.from_preset(saved(tmp_path, theirs))
    encoder = getattr(theirs, theirs.base_model_prefix)
    expected = upstream_outputs(encoder, inputs).last_hidden_state
    assert_close(ours.token_vectors(ours(inputs)), expected, inputs)


@pytest.mark.parametrize("name", [name for name in NAMES if "odd" not in name])
def test_pytorch_file_and_shards_give_the_same_numbers(tmp_path, name):
    theirs = random_model(name, "masked_lm")
    inputs = {**random_inputs(name), "mask_positions": POSITIONS}
    whole = models.MaskedLM.from_preset(saved(tmp_path, theirs), preprocessor=None)
    expected = keras.ops.convert_to_numpy(whole(inputs))
    theirs.save_pretrained(tmp_path / "sharded", max_shard_size="2KB")
    assert (tmp_path / "sharded" / "model.safetensors.index.json").exists()
    theirs.config.save_pretrained(tmp_path / "pickled")
    torch.save(theirs.state_dict(), tmp_path / "pickled" / "pytorch_model.bin")
    for directory in ("sharded", "pickled"):
        other = models.MaskedLM.from_preset(tmp_path / directory, preprocessor=None)
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(other(inputs)), expected)
