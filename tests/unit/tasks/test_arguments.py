"""Constructors and `compile`: what they refuse, and with which words."""

import keras
import numpy as np
import pytest

from clozework import models
from clozework.errors import ConfigError, InputError
from clozework.tasks.numbers import known_range
from tests.unit.tasks.tiny_models import tiny_backbone, tiny_classifier, tiny_masked_lm


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_layers": -1}, "`num_layers` must be a positive integer, not -1"),
        ({"num_layers": 0}, "`num_layers` must be a positive integer, not 0"),
        ({"num_heads": 3}, "`num_heads` must divide `hidden_dim`, but 8 is not a multiple of 3"),
        ({"hidden_dim": 2.5}, r"`hidden_dim` must be a positive integer, not 2\.5"),
        ({"vocabulary_size": "30"}, "`vocabulary_size` must be a positive integer, not '30'"),
        ({"num_segments": True}, "`num_segments` must be a positive integer, not True"),
        ({"dropout": 1.0}, "`dropout` must be at least 0 and less than 1, not 1.0"),
        ({"activation": "gellu"}, "Activation 'gellu' is not known. Known are: elu, gelu"),
        ({"num_layer": 1}, r"no argument 'num_layer' \(did you mean 'num_layers'\?\)"),
        ({"foo": 1}, "BertBackbone has no argument 'foo'. It has: vocabulary_size"),
        ({"num_layers": 0, "dropout": 2}, "`num_layers` must .*; `dropout` must"),
    ],
    ids=repr,
)
def test_an_impossible_backbone_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        tiny_backbone(**changes)


def test_a_count_may_have_another_name():
    with pytest.raises(ConfigError, match="`vocab_size` must be a positive integer, not 0"):
        models.ElectraBackbone(0, 1, 2, 8, 4, 12)


def test_groups_have_to_divide_the_layers():
    message = "`num_groups` must divide `num_layers`, but 4 is not a multiple of 3"
    with pytest.raises(ConfigError, match=message):
        models.AlbertBackbone(30, 4, 2, 4, 8, 12, num_groups=3)


def test_layers_of_a_group_share_their_weights():
    twelve, one = (models.AlbertBackbone(30, layers, 2, 4, 8, 12) for layers in (12, 1))
    assert twelve.count_params() == one.count_params()


def test_a_family_may_have_its_own_learning_rate():
    classifiers = {
        1e-5: models.AlbertTextClassifier(models.AlbertBackbone(30, 1, 2, 4, 8, 12), 2),
        5e-5: tiny_classifier(),
    }
    for expected, classifier in classifiers.items():
        assert float(classifier.optimizer.learning_rate) == pytest.approx(expected)


def test_a_missing_argument_is_named():
    with pytest.raises(ConfigError, match="missing a required argument: 'num_classes'"):
        models.BertTextClassifier(tiny_backbone())


@pytest.mark.parametrize("num_classes", [0, -2, "2", 2.0, True])
def test_the_number_of_classes_is_a_positive_integer(num_classes):
    with pytest.raises(ConfigError, match=f"`num_classes` must be a positive .* {num_classes!r}"):
        models.BertTextClassifier(tiny_backbone(), num_classes)


def test_the_backbone_is_of_the_family():
    expected = "RobertaMaskedLM needs a RobertaBackbone as its backbone. Received: a BertBackbone"
    with pytest.raises(ConfigError, match=expected):
        models.RobertaMaskedLM(tiny_backbone())


def test_the_preprocessor_is_of_the_task():
    classifier, masked_lm = tiny_classifier(), tiny_masked_lm()
    for wrong in (classifier.preprocessor.tokenizer, masked_lm.preprocessor, 5):
        expected = "BertTextClassifier needs a BertTextClassifierPreprocessor. Received: a"
        with pytest.raises(ConfigError, match=expected):
            models.BertTextClassifier(tiny_backbone(), 2, wrong)
        with pytest.raises(ConfigError, match=expected):
            classifier.preprocessor = wrong


@pytest.mark.parametrize("activation", ["softmax", keras.activations.softmax, "sigmoid"])
def test_activations_go_by_name_or_function(activation):
    classifier = tiny_classifier(activation=activation)
    outputs = classifier.predict(["a", "b"], verbose=0)
    assert ((outputs > 0) & (outputs < 1)).all()
    name = "sigmoid" if activation == "sigmoid" else "softmax"
    assert classifier.get_config()["activation"] == name
    assert not classifier.loss.get_config()["from_logits"]


def test_an_activation_without_a_name_is_refused():
    with pytest.raises(ConfigError, match="Activation <function .* is not known"):
        tiny_classifier(activation=lambda x: x)


def test_a_model_that_is_not_compiled_can_be_used():
    classifier = tiny_classifier(compile=False)
    assert not classifier.compiled
    assert classifier.predict(["a"], verbose=0).shape == (1, 2)


def test_whole_numbers_have_a_range():
    assert known_range("x", [[3, 1], [2, 0]]) == (0, 3)
    assert known_range("x", np.array([2.0, 7.0])) == (2, 7)
    assert known_range("x", keras.ops.convert_to_tensor([4, 5])) == (4, 5)
    assert known_range("x", [True, False]) == (0, 1)
    assert known_range("x", np.zeros((0, 4))) is None
    assert known_range("x", keras.Input((None,))) is None


@pytest.mark.parametrize("value", [1.5, np.nan, np.inf, "a", None])
def test_other_things_are_no_whole_numbers(value):
    with pytest.raises(InputError, match=f"x must be whole numbers, not {value}"):
        known_range("x", [1, value])


def test_ragged_rows_are_no_array():
    with pytest.raises(InputError, match="x is no array: its rows differ in length"):
        known_range("x", [[1], [1, 2]])
