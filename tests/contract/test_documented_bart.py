"""KerasHub's documented examples of BART run with `import clozework as keras_hub`.

The code is KerasHub's (Apache-2.0), as in its reference pages, with a tiny preset behind the name.
"""

import dataclasses

import keras
import numpy as np
import pytest

import clozework as keras_hub
from clozework.presets import Preset, registry
from tests.contract.families import FAMILIES, tiny_backbone


@pytest.fixture(autouse=True)
def _stand_in(tmp_path, monkeypatch):
    """Puts a tiny preset behind the built-in name."""
    backbone = tiny_backbone(FAMILIES["bart"])
    backbone.save_to_preset(tmp_path / "bart")
    arguments = backbone.count_params(), backbone.arguments
    preset = Preset("bart_base_en", *arguments, embedded=tmp_path / "bart")
    family = dataclasses.replace(FAMILIES["bart"], presets=(preset,))
    monkeypatch.setitem(registry._FAMILIES, "bart", family)


def test_bart_backbone():
    input_data = {
        "encoder_token_ids": np.ones(shape=(1, 12), dtype="int32"),
        "encoder_padding_mask": np.array([[1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0]]),
        "decoder_token_ids": np.ones(shape=(1, 12), dtype="int32"),
        "decoder_padding_mask": np.array([[1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0]]),
    }

    # Pretrained BART encoder.
    model = keras_hub.models.BartBackbone.from_preset("bart_base_en")
    model(input_data)

    # Randomly initialized BART encoder-decoder model with a custom config
    model = keras_hub.models.BartBackbone(
        vocabulary_size=50265,
        num_layers=6,
        num_heads=12,
        hidden_dim=768,
        intermediate_dim=3072,
        max_sequence_length=12,
    )
    output = model(input_data)
    assert output["encoder_sequence_output"].shape == (1, 12, 768)
    assert output["decoder_sequence_output"].shape == (1, 12, 768)
    assert isinstance(model.token_embedding, keras.layers.Embedding)
