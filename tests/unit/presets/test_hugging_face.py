"""What directories of `transformers` may say, and what is refused."""

import json

import numpy as np
import pytest

from clozework import models
from clozework.errors import ClozeworkWarning, PresetError, PresetNotFoundError, WeightsError
from clozework.presets.files import LocalFiles
from clozework.presets.tensor_files import open_tensors, write_safetensors

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "fox", "Fox", "##y"]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A directory of `BertForSequenceClassification`, written by us."""
    tokenizer = models.BertTokenizer(VOCABULARY)
    classifier = models.BertTextClassifier(
        models.BertBackbone(len(VOCABULARY), 1, 2, 8, 12, max_sequence_length=16),
        num_classes=2,
        preprocessor=models.BertTextClassifierPreprocessor(tokenizer, sequence_length=8),
        label_names=["no", "yes"],
    )
    directory = tmp_path_factory.mktemp("exported") / "bert"
    classifier.export_to_transformers(directory)
    return directory


@pytest.fixture
def directory(exported, tmp_path):
    """A copy of the directory that a test may change."""
    for file in exported.iterdir():
        # A changed copy has another digest; the manifest is for whole presets.
        if file.name != "manifest.json":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def change_config(directory, **values):
    path = directory / "config.json"
    config = {**json.loads(path.read_text()), **values}
    path.write_text(json.dumps({key: value for key, value in config.items() if value != "absent"}))


def change_tensors(directory, change):
    tensors = {name: np.array(value) for name, value in open_tensors(LocalFiles(directory)).items()}
    change(tensors)
    write_safetensors(directory / "model.safetensors", tensors)


def load(directory, cls=models.TextClassifier, **options):
    return cls.from_preset(directory, **options)


def test_labels_and_tokenizer_options_come_along(directory):
    classifier = load(directory)
    assert classifier.label_names == ["no", "yes"]
    assert classifier.preprocessor.tokenizer(["the Foxy"]) == [[5, 7, 8]]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"position_embedding_type": "relative_key"},
            "'position_embedding_type' is 'relative_key'",
        ),
        ({"hidden_act": "secret"}, "'hidden_act' is 'secret'"),
        ({"is_decoder": True}, "'is_decoder' is True, Clozework has only False"),
        ({"new_feature": 3}, "'new_feature' is not known"),
        ({"tie_word_embeddings": False}, "'tie_word_embeddings' is False"),
        ({"hidden_size": "absent"}, "'hidden_size' is missing"),
        (
            {"model_type": "mamba"},
            "of type 'mamba', which .* It has: bart, bert",
        ),
        ({"id2label": {"a": "x"}}, "'id2label' must map numbers to names"),
    ],
)
def test_configs_that_would_change_the_numbers_are_refused(directory, values, message):
    change_config(directory, **values)
    with pytest.raises(PresetError, match=message):
        load(directory)


def test_deberta_of_an_older_generation_is_refused(tmp_path):
    backbone = models.DebertaV3Backbone(9, 1, 2, 8, 12, max_sequence_length=16, bucket_size=4)
    backbone.export_to_transformers(tmp_path / "deberta")
    (tmp_path / "deberta" / "manifest.json").unlink()
    change_config(tmp_path / "deberta", relative_attention="absent")
    with pytest.raises(PresetError, match="'relative_attention' is not stated"):
        models.Backbone.from_preset(tmp_path / "deberta")


def test_a_tensor_inside_the_encoder_that_nothing_uses_is_an_error(directory):
    def add(tensors):
        tensors["bert.encoder.layer.0.adapter.weight"] = np.zeros((2, 2), "float32")

    change_tensors(directory, add)
    with pytest.raises(WeightsError, match=r"'encoder\.layer\.0\.adapter\.weight' is not used"):
        load(directory)


def test_heads_of_other_classes_are_named_and_left(directory):
    def add(tensors):
        tensors["cls.species.weight"] = np.zeros((6, 8), "float32")

    change_tensors(directory, add)
    with pytest.warns(ClozeworkWarning, match="does not use: cls.species.weight"):
        load(directory)


def test_a_masked_lm_from_a_classifier_says_that_its_head_is_new(directory):
    with pytest.warns(ClozeworkWarning, match="has no head for BertMaskedLM; it is random"):
        load(directory, models.MaskedLM)


def test_num_classes_replaces_the_stored_head(directory):
    with pytest.warns(ClozeworkWarning, match="has no head for BertTextClassifier"):
        classifier = load(directory, num_classes=3)
    assert classifier.num_classes == 3
    assert classifier.label_names is None


@pytest.fixture(scope="module")
def electra():
    return models.ElectraBackbone(9, 1, 2, 8, 6, 12, max_sequence_length=16)


def test_an_activation_that_their_head_cannot_have_is_named(electra, tmp_path):
    masked_lm = models.ElectraMaskedLM(electra, head_activation="relu")
    with pytest.warns(
        ClozeworkWarning, match="`head_activation` is 'relu' here, but always 'gelu'"
    ):
        masked_lm.export_to_transformers(tmp_path / "electra")


def test_layers_that_they_do_not_have_matter_to_what_reads_them_alone(electra, tmp_path):
    classifier = models.ElectraTextClassifier(electra, num_classes=2)
    classifier.export_to_transformers(tmp_path / "electra")
    assert load(tmp_path / "electra", preprocessor=None).num_classes == 2
    with pytest.warns(ClozeworkWarning, match="no weights for pooled_dense/bias, pooled_dense/ker"):
        models.Backbone.from_preset(tmp_path / "electra")


def test_a_directory_without_tokenizer_says_what_to_do(directory):
    (directory / "vocab.txt").unlink()
    with pytest.raises(PresetNotFoundError, match="Pass `preprocessor=None`"):
        load(directory)
    assert load(directory, preprocessor=None).num_classes == 2


def test_another_family_is_named(directory):
    with pytest.raises(PresetError, match="holds a BertBackbone, which is no RobertaBackbone"):
        models.RobertaBackbone.from_preset(directory)
    with pytest.raises(PresetError, match="for which there is no RobertaTextClassifier"):
        models.RobertaTextClassifier.from_preset(directory)


def test_a_directory_of_neither_format_is_refused(directory):
    (directory / "config.json").write_text('{"hidden_size": 3}')
    with pytest.raises(PresetError, match="is neither KerasHub's"):
        load(directory)
