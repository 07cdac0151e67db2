"""What is measured of KerasHub: the defaults of its tasks."""

from collections.abc import Callable

import keras_hub
import numpy as np

from benchmarks.workers.padded_batches import read_texts

__all__ = ["classifier", "generation", "preprocessor", "training"]


def classifier(settings: dict) -> Callable[[], np.ndarray]:
    """`predict` on strings: rows of 512 tokens, whatever they hold."""
    model = keras_hub.models.TextClassifier.from_preset(f"{settings['graph']}/preset")
    texts = read_texts(settings)
    return lambda: np.asarray(model.predict(texts, verbose=0), "float32")


def training(settings: dict) -> Callable[[], Callable[[], np.ndarray]]:
    """`fit` on strings, one epoch a run; the outputs are those from before all training."""
    model = keras_hub.models.TextClassifier.from_preset(f"{settings['model']}/preset")
    texts = read_texts(settings)
    labels = np.arange(len(texts)) % model.output_shape[-1]
    before = np.asarray(model.predict(texts[:8], verbose=0), "float32")

    def run() -> Callable[[], np.ndarray]:
        model.fit(texts, labels, batch_size=settings["batch_size"], verbose=0)
        return lambda: before

    return run


def generation(settings: dict) -> Callable[[], np.ndarray]:
    """`generate` on strings, to a fixed number of tokens; the encoder's rows have 1,024."""
    model = keras_hub.models.Seq2SeqLM.from_preset(f"{settings['graph']}/preset")
    num_beams = settings["num_beams"]
    beams = keras_hub.samplers.BeamSampler(num_beams=num_beams)
    model.compile(sampler="greedy" if num_beams == 1 else beams)
    texts = read_texts(settings)
    length = settings["num_tokens"] + 2
    return lambda: np.array(model.generate(texts, max_length=length, stop_token_ids=None))


def preprocessor(settings: dict) -> Callable[[], np.ndarray]:
    """The preprocessor, called with all texts."""
    preprocess = keras_hub.models.TextClassifierPreprocessor.from_preset(settings["model"])
    texts = read_texts(settings)
    return lambda: np.asarray(preprocess(texts)["token_ids"])
