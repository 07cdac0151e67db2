"""Preprocessing for text embedders."""

from clozework.tasks.preprocessor import Preprocessor

__all__ = ["POOLING_MASK", "TextEmbedderPreprocessor"]

# Which tokens a text's vector is made of, for backbones that are not told what is padding.
POOLING_MASK = "pooling_mask"


class TextEmbedderPreprocessor(Preprocessor):
    """Turns strings into inputs of an embedder; see `Preprocessor`.

    Args:
        sequence_length: Number of tokens of every row; longer texts are cut.

    Outputs: the model's inputs, each `(batch, sequence_length)`; where the backbone takes no
        `"padding_mask"`, there is a `"pooling_mask"` (1 for a token) for what follows it.
    """

    def __init__(self, tokenizer, sequence_length=256, truncate="round_robin", **kwargs):
        super().__init__(tokenizer, sequence_length, truncate, **kwargs)

    @classmethod
    def own_inputs(cls):
        return () if "padding_mask" in cls.backbone_cls.input_names else (POOLING_MASK,)
