"""Tiny models to store and load."""

import pytest

from clozework import models
from tests.unit.tasks.tiny_models import tiny_backbone, tiny_classifier, tiny_tokenizer


@pytest.fixture
def masked_lm():
    preprocessor = models.BertMaskedLMPreprocessor(tiny_tokenizer(), sequence_length=16)
    # Head and encoder agree, as `transformers` has one value for both.
    backbone = tiny_backbone(activation="gelu", layer_norm_epsilon=1e-5)
    return models.BertMaskedLM(backbone, preprocessor)


@pytest.fixture
def classifier():
    return tiny_classifier(label_names=["calm", "storm"])
