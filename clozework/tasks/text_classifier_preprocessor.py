"""Preprocessing for text classifiers."""

from clozework.tasks.preprocessor import Preprocessor

__all__ = ["TextClassifierPreprocessor"]


class TextClassifierPreprocessor(Preprocessor):
    """Turns strings, or pairs of strings, into inputs of a classifier; see `Preprocessor`.

    Outputs: the model's inputs, each `(batch, sequence_length)`; with `y` a tuple `(x, y)`, with
        `sample_weight` `(x, y, sample_weight)`, both as they were handed in.
    """
