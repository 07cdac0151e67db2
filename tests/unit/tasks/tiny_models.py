"""Models and tokenizers of a few numbers, without dropout: the same input, the same output."""

import keras
import numpy as np

from clozework import models

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "c", "##d", "heaven", "earth"]
LENGTH = 16


def tiny_tokenizer():
    return models.BertTokenizer(VOCABULARY, lowercase=True)


def tiny_backbone(**changes):
    sizes = {"num_layers": 1, "num_heads": 2, "hidden_dim": 8, "intermediate_dim": 16}
    return models.BertBackbone(
        **{
            "vocabulary_size": len(VOCABULARY),
            "max_sequence_length": LENGTH,
            "dropout": 0.0,
            **sizes,
            **changes,
        }
    )


def tiny_classifier(num_classes=2, **changes):
    preprocessor = models.BertTextClassifierPreprocessor(tiny_tokenizer(), sequence_length=LENGTH)
    options = {"preprocessor": preprocessor, "dropout": 0.0, **changes}
    backbone = options.pop("backbone", None) or tiny_backbone()
    return randomized(models.BertTextClassifier(backbone, num_classes, **options))


def tiny_masked_lm(**changes):
    preprocessor = models.BertMaskedLMPreprocessor(
        tiny_tokenizer(), sequence_length=LENGTH, mask_selection_rate=0.5, mask_selection_length=8
    )
    options = {"preprocessor": preprocessor, **changes}
    return randomized(models.BertMaskedLM(tiny_backbone(), **options))


def randomized(model):
    """Gives all weights values large enough for different texts to get different outputs."""
    random = np.random.default_rng(0)
    for variable in model.weights:
        variable.assign(random.normal(0.0, 0.5, variable.shape))
    return model


def values(model):
    """Returns the values of all weights."""
    return [keras.ops.convert_to_numpy(variable.value) for variable in model.weights]
