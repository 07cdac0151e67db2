"""What is measured of KerasHub: the defaults of its tasks."""

from collections.abc import Callable

import keras_hub
import numpy as np

from benchmarks.workers.padded_batches import read_texts

__all__ = ["classifier"]


def classifier(settings: dict) -> Callable[[], np.ndarray]:
    """`predict` on strings: rows of 512 tokens, whatever they hold."""
    model = keras_hub.models.TextClassifier.from_preset(f"{settings['graph']}/preset")
    texts = read_texts(settings)
    return lambda: np.asarray(model.predict(texts, verbose=0), "float32")
