"""The cards of saved models."""

import re

import numpy as np
import pytest

from clozework import models
from tests.contract.families import FAMILIES, TASKS, TEXTS, family_of_task, tiny_backbone, tiny_task

CARDS = (
    *("RobertaMaskedLM", "BertTextClassifier", "BertTextEmbedder"),
    *("BertTokenClassifier", "BertQuestionAnswerer", "BartSeq2SeqLM", "GemmaCausalLM"),
)
OWN_CARD = "# Mine\n"


def card_of(directory) -> str:
    return (directory / "README.md").read_text(encoding="utf-8")


def codes_of(card: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)


@pytest.fixture
def classifier():
    return tiny_task(TASKS["BertTextClassifier"], label_names=["bad", "so|so", "good"])


def test_a_card_says_what_the_model_is(classifier, tmp_path):
    classifier.save_to_preset(tmp_path / "films")
    card = card_of(tmp_path / "films")
    assert card.startswith("---\nlibrary_name: keras-hub\n")
    assert "pipeline_tag: text-classification\n" in card
    assert "# films\n" in card
    stated = f"A BERT model (`BertTextClassifier`) with {classifier.count_params():,} parameters"
    assert stated in card
    assert "| 1 | so\\|so |" in card
    assert "| `hidden_dim` | 8 |" in card
    assert "## Training" not in card


def test_a_card_says_that_keras_hub_has_no_such_task(tmp_path):
    tiny_task(TASKS["BertTokenClassifier"]).save_to_preset(tmp_path / "saved")
    assert "KerasHub reads the backbone in this directory; it has no TokenClassifier." in card_of(
        tmp_path / "saved"
    )


# The example is longer than the rows of a tiny model that knows few words.
@pytest.mark.filterwarnings("ignore:.*are cut at:clozework.errors.ClozeworkWarning")
@pytest.mark.parametrize("name", CARDS)
def test_the_code_of_a_card_runs(name, tmp_path, monkeypatch):
    tiny_task(TASKS[name]).save_to_preset(tmp_path / "saved")
    (code,) = codes_of(card_of(tmp_path / "saved"))
    assert "model." in code
    monkeypatch.chdir(tmp_path)
    exec(code, {})


@pytest.mark.filterwarnings("ignore:.*are cut at:clozework.errors.ClozeworkWarning")
@pytest.mark.parametrize("name", CARDS)
def test_the_code_of_an_exported_card_runs(name, tmp_path, monkeypatch):
    family = family_of_task(TASKS[name])
    # Room for the example, of which the tokenizer knows few words.
    longer = {} if family.name == "gemma" else {"max_sequence_length": 64}
    task = tiny_task(TASKS[name], backbone=tiny_backbone(family, **longer))
    task.export_to_transformers(tmp_path / "exported")
    card = card_of(tmp_path / "exported")
    assert f"library_name: {task.hub_library}\n" in card
    theirs, ours = codes_of(card)
    assert 'from_pretrained("exported")' in theirs or 'SentenceTransformer("exported")' in theirs
    assert f'models.{name}.from_preset("./exported")' in ours
    monkeypatch.chdir(tmp_path)
    outputs: dict = {}
    exec(theirs, outputs)
    assert outputs.keys() & {"outputs", "vectors", "token_ids"}
    exec(ours, {})


def test_an_exported_embedder_gives_the_same_vectors_by_the_code_of_its_card(tmp_path, monkeypatch):
    embedder = tiny_task(TASKS["BertTextEmbedder"])
    embedder.export_to_transformers(tmp_path / "exported")
    monkeypatch.chdir(tmp_path)
    theirs, ours = ({}, {})
    for code, names in zip(codes_of(card_of(tmp_path / "exported")), (theirs, ours), strict=True):
        exec(code, names)
    np.testing.assert_allclose(ours["vectors"], theirs["vectors"], atol=1e-5)


def test_a_backbone_has_a_card_in_both_formats(tmp_path):
    backbone = tiny_backbone(FAMILIES["bert"])
    backbone.save_to_preset(tmp_path / "saved")
    backbone.export_to_transformers(tmp_path / "exported")
    assert "pipeline_tag: feature-extraction" in card_of(tmp_path / "saved")
    assert "BertModel.from_pretrained" in card_of(tmp_path / "exported")


def test_a_card_says_how_the_model_was_trained(classifier, tmp_path):
    history = classifier.fit(TEXTS, [0, 1, 2], batch_size=2, epochs=1, verbose=0)
    classifier.save_to_preset(tmp_path / "trained")
    card = card_of(tmp_path / "trained")
    assert "Trained last for 1 epoch of 2 steps with Adam, learning rate 5e-05 at the end" in card
    assert f"| `loss` | {history.history['loss'][-1]:.4f} |" in card
    assert "| `sparse_categorical_accuracy` |" in card


def test_what_keras_hub_does_not_know_is_said(classifier, tmp_path):
    classifier.save_to_preset(tmp_path / "named")
    assert "may compute other numbers: `label_names=['bad'" in card_of(tmp_path / "named")
    tiny_task(TASKS["BertTextClassifier"]).save_to_preset(tmp_path / "plain")
    assert "KerasHub reads this directory, too.\n" in card_of(tmp_path / "plain")


def test_a_card_is_written_anew(classifier, tmp_path):
    tiny_backbone(FAMILIES["bert"]).save_to_preset(tmp_path)
    classifier.save_to_preset(tmp_path)
    assert "BertTextClassifier" in card_of(tmp_path)


def test_a_card_that_somebody_wrote_stays(classifier, tmp_path):
    classifier.save_to_preset(tmp_path)
    (tmp_path / "README.md").write_text(OWN_CARD, encoding="utf-8")
    classifier.save_to_preset(tmp_path)
    assert card_of(tmp_path) == OWN_CARD
    models.TextClassifier.from_preset(tmp_path)


def test_a_bias_that_keras_hub_does_not_add_is_said(tmp_path):
    summarizer = tiny_task(TASKS["BartSeq2SeqLM"])
    bias = np.zeros(summarizer.backbone.vocabulary_size)
    bias[3] = -0.125
    summarizer.logits_bias.bias.assign(bias)
    summarizer.save_to_preset(tmp_path / "biased")
    assert "other numbers: `logits_bias` (up to 0.125)." in card_of(tmp_path / "biased")
    summarizer.logits_bias.bias.assign(0 * bias)
    summarizer.save_to_preset(tmp_path / "plain")
    assert "KerasHub reads this directory, too.\n" in card_of(tmp_path / "plain")
