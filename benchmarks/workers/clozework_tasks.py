"""What is measured of Clozework: the defaults of its tasks."""

from collections.abc import Callable

import numpy as np

from benchmarks.workers.padded_batches import read_texts
from clozework import models

__all__ = ["classifier", "full_rows"]


def classifier(settings: dict) -> Callable[[], np.ndarray]:
    """`predict` on strings; `dtype` is that of the weights, `quantization` what rounds them."""
    model = models.TextClassifier.from_preset(settings["model"], dtype=settings["dtype"])
    if settings.get("quantization"):
        model.quantize(settings["quantization"])
    texts = read_texts(settings)
    return lambda: np.asarray(model.predict(texts, verbose=0), "float32")


def full_rows(settings: dict) -> Callable[[], np.ndarray]:
    """`predict` on rows that are full of tokens, which shows the limit: nothing is wasted."""
    model = models.TextClassifier.from_preset(settings["model"], preprocessor=None)
    shape = (settings["num_rows"], settings["row_length"])
    ids = np.random.default_rng(0).integers(4, 50000, shape).astype("int32")
    inputs = {"token_ids": ids, "padding_mask": np.ones_like(ids)}
    batch_size = settings["batch_size"]
    return lambda: np.asarray(model.predict(inputs, batch_size=batch_size, verbose=0), "float32")
