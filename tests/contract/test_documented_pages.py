"""What KerasHub's reference pages say besides examples: presets, their sizes, and properties."""

import keras
import numpy as np
import pytest

import clozework as keras_hub
from tests.contract.families import FAMILIES, tiny_backbone, tiny_task

# Class -> preset -> millions of parameters, as the pages round them.
PRESETS = {
    "DebertaV3MaskedLM": {
        "deberta_v3_extra_small_en": "70.68",
        "deberta_v3_small_en": "141.30",
        "deberta_v3_base_en": "183.83",
        "deberta_v3_large_en": "434.01",
        "deberta_v3_base_multi": "278.22",
    },
    "DistilBertBackbone": {
        "distil_bert_base_en_uncased": "66.36",
        "distil_bert_base_en": "65.19",
        "distil_bert_base_multi": "134.73",
    },
    "RobertaBackbone": {
        "roberta_base_en": "124.05",
        "roberta_large_en": "354.31",
        "xlm_roberta_base_multi": "277.45",
        "xlm_roberta_large_multi": "558.84",
    },
    "BartBackbone": {
        "bart_base_en": "139.42",
        "bart_large_en": "406.29",
        "bart_large_en_cnn": "406.29",
    },
    "FNetBackbone": {"f_net_base_en": "82.86", "f_net_large_en": "236.95"},
}
WITH_TOKEN_EMBEDDING = ("distil_bert", "roberta", "bart", "f_net")


@pytest.mark.parametrize("name", PRESETS)
def test_presets_of_a_class_have_the_documented_sizes(name):
    presets = getattr(keras_hub.models, name).presets
    sizes = {
        preset: f"{presets[preset]['metadata']['params'] / 1e6:.2f}" for preset in PRESETS[name]
    }
    assert sizes == PRESETS[name]
    assert all(presets[preset]["metadata"]["description"] for preset in sizes)


@pytest.mark.parametrize("name", WITH_TOKEN_EMBEDDING)
def test_the_token_embedding_maps_ids_to_vectors(name):
    backbone = tiny_backbone(FAMILIES[name])
    assert isinstance(backbone.token_embedding, keras.layers.Embedding)
    assert backbone.token_embedding(np.array([[3, 1]])).shape == (1, 2, backbone.hidden_dim)


def test_a_task_has_its_parts_as_properties():
    task = tiny_task(keras_hub.models.DebertaV3MaskedLM)
    assert isinstance(task.backbone, keras_hub.models.Backbone)
    assert isinstance(task.preprocessor, keras_hub.models.Preprocessor)
    task.preprocessor = None
    assert task.preprocessor is None
