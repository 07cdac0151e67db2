"""What is measured of Clozework: the defaults of its tasks."""

from collections.abc import Callable

import numpy as np

from benchmarks.workers.padded_batches import read_texts, tokenizer_of
from clozework import models, samplers

__all__ = [
    "classifier",
    "full_rows",
    "generation",
    "preprocessor",
    "rust_tokenizer",
    "training",
]


def classifier(settings: dict) -> Callable[[], np.ndarray]:
    """`predict` on strings; `dtype` is that of the weights, `quantization` what rounds them.

    All texts are read as many `times` in a row, once by default.
    """
    model = models.TextClassifier.from_preset(settings["model"], dtype=settings["dtype"])
    if settings.get("quantization"):
        model.quantize(settings["quantization"])
    texts = read_texts(settings)

    def run() -> np.ndarray:
        outputs = [model.predict(texts, verbose=0) for _ in range(settings.get("times", 1))]
        return np.asarray(outputs[-1], "float32")

    return run


def full_rows(settings: dict) -> Callable[[], np.ndarray]:
    """`predict` on rows that are full of tokens, which shows the limit: nothing is wasted."""
    dtype = settings["dtype"]
    model = models.TextClassifier.from_preset(settings["model"], preprocessor=None, dtype=dtype)
    shape = (settings["num_rows"], settings["row_length"])
    ids = np.random.default_rng(0).integers(4, 50000, shape).astype("int32")
    inputs = {"token_ids": ids, "padding_mask": np.ones_like(ids)}
    batch_size = settings["batch_size"]
    return lambda: np.asarray(model.predict(inputs, batch_size=batch_size, verbose=0), "float32")


def training(settings: dict) -> Callable[[], Callable[[], np.ndarray]]:
    """`fit` on strings, one epoch a run; the outputs are those from before all training."""
    dtype = settings.get("dtype", "float32")
    model = models.TextClassifier.from_preset(settings["model"], dtype=dtype)
    texts = read_texts(settings)
    labels = np.arange(len(texts)) % model.num_classes
    before = np.asarray(model.predict(texts[:8], verbose=0), "float32")

    def run() -> Callable[[], np.ndarray]:
        model.fit(texts, labels, batch_size=settings["batch_size"], verbose=0)
        return lambda: before

    return run


def generation(settings: dict) -> Callable[[], np.ndarray]:
    """`generate` on strings, to a fixed number of tokens."""
    model = models.Seq2SeqLM.from_preset(settings["model"])
    num_beams = settings["num_beams"]
    model.compile(sampler="greedy" if num_beams == 1 else samplers.BeamSampler(num_beams))
    texts = read_texts(settings)
    # The decoder begins with two tokens.
    length = settings["num_tokens"] + 2
    return lambda: np.array(model.generate(texts, max_length=length, stop_token_ids=None))


def preprocessor(settings: dict) -> Callable[[], np.ndarray]:
    """The preprocessor, called with all texts."""
    preprocess = models.TextClassifierPreprocessor.from_preset(settings["model"])
    texts = read_texts(settings)
    return lambda: np.asarray(preprocess(texts)["token_ids"])


def rust_tokenizer(settings: dict) -> Callable[[], Callable[[], np.ndarray]]:
    """What is below all of them: the `tokenizers` library, and its ids as lists of integers."""
    tokenizer = tokenizer_of(settings["model"])
    texts = read_texts(settings)

    def run() -> Callable[[], np.ndarray]:
        rows = [row.ids for row in tokenizer.encode_batch_fast(texts)]
        return lambda: np.array([row + [1] * (512 - len(row)) for row in rows])

    return run
