"""Preprocessing for text embedders."""

from clozework.tasks.preprocessor import Preprocessor

__all__ = ["TextEmbedderPreprocessor"]


class TextEmbedderPreprocessor(Preprocessor):
    """Turns strings into inputs of an embedder; see `Preprocessor`.

    Args:
        sequence_length: Number of tokens of every row; longer texts are cut.

    Outputs: the model's inputs, each `(batch, sequence_length)`.
    """

    def __init__(self, tokenizer, sequence_length=256, truncate="round_robin", **kwargs):
        super().__init__(tokenizer, sequence_length, truncate, **kwargs)
