"""Fine-tunes with the same data and hyperparameters in both libraries, and scores the result."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.workers.labelled_data import LabelledData, read_labelled

__all__ = ["clozework", "transformers"]

_WEIGHT_DECAY = 0.01
_CLIPPED_NORM = 1.0
_WARM_UP = 0.1


def clozework(settings: dict) -> Callable[[], np.ndarray]:
    """`fit`, on strings or words, with JAX; the output is the score."""
    import keras

    from clozework import models

    data = read_labelled(settings["data"], Path(settings["directory"]))
    keras.utils.set_random_seed(settings["seed"])
    task = models.TokenClassifier if data.has_words else models.TextClassifier
    model = task.from_preset(settings["model"], num_classes=len(data.names), label_names=data.names)
    model.preprocessor.sequence_length = settings["sequence_length"]
    num_steps = settings["epochs"] * -(-len(data.texts) // settings["batch_size"])
    rate = keras.optimizers.schedules.CosineDecay(
        0.0,
        num_steps - int(_WARM_UP * num_steps),
        warmup_target=settings["learning_rate"],
        warmup_steps=int(_WARM_UP * num_steps),
    )
    optimizer = keras.optimizers.AdamW(
        rate, weight_decay=_WEIGHT_DECAY, epsilon=1e-8, global_clipnorm=_CLIPPED_NORM
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    model.compile(optimizer=optimizer)
    model.get_layer("logits").kernel.assign(
        _first_weights(model.backbone.hidden_dim, settings, data)
    )

    def run() -> np.ndarray:
        for epoch in range(settings["epochs"]):
            order = _order(epoch, settings, data)
            model.fit(
                [data.texts[i] for i in order],
                [data.labels[i] for i in order],
                batch_size=settings["batch_size"],
                shuffle=False,
                verbose=0,
            )
        if data.has_words:
            return _score(data, model.tag_words(data.test_texts))
        logits = model.predict(data.test_texts, verbose=0)
        return _score(data, [data.names[i] for i in logits.argmax(axis=-1)])

    return run


def transformers(settings: dict) -> Callable[[], np.ndarray]:
    """A loop in PyTorch, batches padded to their longest text; the output is the score."""
    return _Loop(settings).run


class _Loop:
    """A model of `transformers`, and how it is trained and asked."""

    def __init__(self, settings: dict):
        import torch
        from transformers import (
            AutoModelForSequenceClassification,
            AutoModelForTokenClassification,
            AutoTokenizer,
            get_cosine_schedule_with_warmup,
        )

        self.settings = settings
        self.data = data = read_labelled(settings["data"], Path(settings["directory"]))
        torch.manual_seed(settings["seed"])
        kinds = (AutoModelForSequenceClassification, AutoModelForTokenClassification)
        self.model = kinds[data.has_words].from_pretrained(
            settings["model"], num_labels=len(data.names)
        )
        weights = _first_weights(self.model.config.hidden_size, settings, data)
        with torch.no_grad():
            self.model.classifier.weight.copy_(torch.from_numpy(weights.T))
        self.tokenizer = AutoTokenizer.from_pretrained(settings["model"])
        rate = settings["learning_rate"]
        self.optimizer = torch.optim.AdamW(_decay_groups(self.model), lr=rate)
        num_steps = settings["epochs"] * -(-len(data.texts) // settings["batch_size"])
        self.schedule = get_cosine_schedule_with_warmup(
            self.optimizer, int(_WARM_UP * num_steps), num_steps
        )
        self.numbers = {name: i for i, name in enumerate(data.names)}

    def run(self) -> np.ndarray:
        """Trains, and returns the score."""
        import torch

        size, texts = self.settings["batch_size"], self.data.test_texts
        self.model.train()
        for epoch in range(self.settings["epochs"]):
            order = _order(epoch, self.settings, self.data)
            for start in range(0, len(order), size):
                self.step(order[start : start + size])
        self.model.eval()
        answers = []
        with torch.inference_mode():
            for start in range(0, len(texts), 64):
                answers += self.predicted(texts[start : start + 64])
        return _score(self.data, answers)

    def step(self, chosen: np.ndarray) -> None:
        """Trains on some of the texts."""
        import torch

        inputs = self.encoded([self.data.texts[i] for i in chosen])
        labels = self.labels_of(inputs, [self.data.labels[i] for i in chosen])
        self.model(**inputs, labels=labels).loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), _CLIPPED_NORM)
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad()

    def encoded(self, texts: list):
        return self.tokenizer(
            texts,
            padding=True,
            truncation=True,
            max_length=self.settings["sequence_length"],
            is_split_into_words=self.data.has_words,
            return_tensors="pt",
        )

    def labels_of(self, inputs, labels: list):
        """Returns class numbers; of words those of their first tokens."""
        import torch

        if not self.data.has_words:
            return torch.tensor([self.numbers[label] for label in labels])
        rows = torch.full(inputs.input_ids.shape, -100)
        for i, tags in enumerate(labels):
            for token, word in _first_tokens(inputs.word_ids(i)):
                rows[i, token] = self.numbers[tags[word]]
        return rows

    def predicted(self, texts: list) -> list:
        """Returns the likeliest class of each text, or tag of each word."""
        inputs = self.encoded(texts)
        best = self.model(**inputs).logits.argmax(dim=-1).tolist()
        if not self.data.has_words:
            return [self.data.names[i] for i in best]
        rows = [["O"] * len(words) for words in texts]
        for i, row in enumerate(rows):
            for token, word in _first_tokens(inputs.word_ids(i)):
                row[word] = self.data.names[best[i][token]]
        return rows


def _first_weights(hidden_dim: int, settings: dict, data: LabelledData) -> np.ndarray:
    """Returns the weights that the new layer begins with."""
    random = np.random.default_rng(settings["seed"])
    return random.normal(0, 0.02, (hidden_dim, len(data.names))).astype("float32")


def _order(epoch: int, settings: dict, data: LabelledData) -> np.ndarray:
    """Returns the order of the texts in an epoch."""
    return np.random.default_rng((settings["seed"], epoch)).permutation(len(data.texts))


def _decay_groups(model) -> list[dict]:
    """Returns the parameters with and without weight decay."""
    plain = [p for name, p in model.named_parameters() if "bias" in name or "LayerNorm" in name]
    others = [p for p in model.parameters() if not any(p is other for other in plain)]
    return [
        {"params": others, "weight_decay": _WEIGHT_DECAY},
        {"params": plain, "weight_decay": 0.0},
    ]


def _first_tokens(words: list[int | None]) -> list[tuple[int, int]]:
    """Returns the place of the first token of each word, and the word's number."""
    return [
        (token, word)
        for token, word in enumerate(words)
        if word is not None and (token == 0 or words[token - 1] != word)
    ]


def _score(data: LabelledData, answers: list) -> np.ndarray:
    """Returns the share of right classes, or F1 of entities."""
    if data.has_words:
        from seqeval.metrics import f1_score

        return np.array(f1_score(data.test_labels, answers))
    pairs = zip(answers, data.test_labels, strict=True)
    return np.array(np.mean([answer == label for answer, label in pairs]))
