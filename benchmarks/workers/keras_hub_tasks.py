"""What is measured of KerasHub: the defaults of its tasks."""

from collections.abc import Callable

import keras_hub
import numpy as np

from benchmarks.workers.padded_batches import read_texts, tokenizer_of

__all__ = [
    "classifier",
    "classifier_of_ids",
    "generation",
    "preprocessor",
    "training",
    "training_of_ids",
]


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


def classifier_of_ids(settings: dict) -> Callable[[], np.ndarray]:
    """`predict` where its tokenizers, which need TensorFlow, cannot be had: from ids."""
    model = _model_of_ids(settings, f"{settings['graph']}/preset")
    inputs = _rows_of_ids(settings)
    return lambda: np.asarray(model.predict(inputs, verbose=0), "float32")


def training_of_ids(settings: dict) -> Callable[[], Callable[[], np.ndarray]]:
    """`fit` from ids, one epoch a run; the outputs are those from before all training."""
    model = _model_of_ids(settings, f"{settings['model']}/preset")
    inputs = _rows_of_ids(settings)
    labels = np.arange(len(inputs["token_ids"])) % model.output_shape[-1]
    some = {name: rows[:8] for name, rows in inputs.items()}
    before = np.asarray(model.predict(some, verbose=0), "float32")

    def run() -> Callable[[], np.ndarray]:
        model.fit(inputs, labels, batch_size=settings["batch_size"], verbose=0)
        return lambda: before

    return run


def _model_of_ids(settings: dict, preset: str):
    return keras_hub.models.TextClassifier.from_preset(
        preset, preprocessor=None, dtype=settings["dtype"]
    )


def _rows_of_ids(settings: dict) -> dict[str, np.ndarray]:
    """Returns rows of 512 tokens, as KerasHub's preprocessors make them."""
    tokenizer = tokenizer_of(settings["tokenizer"])
    texts = read_texts(settings)
    ids = np.full((len(texts), 512), settings["padding_id"], "int32")
    for row, encoded in zip(ids, tokenizer.encode_batch_fast(texts), strict=True):
        row[: len(encoded.ids)] = encoded.ids
    return {"token_ids": ids, "padding_mask": (ids != settings["padding_id"]).astype("int32")}
