"""The abstract text classifier, and the kinds of heads that the families have."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import keras
import numpy as np

from clozework.errors import InputError
from clozework.layers import TextPooling, activation_function, activation_name
from clozework.tasks.label_names import checked_names, names_in_config, numbers_of_names, shown
from clozework.tasks.numbers import known_range
from clozework.tasks.task import Task

__all__ = [
    "FirstTokenHead",
    "LastTokenHead",
    "PooledOutputClassifier",
    "PooledOutputHead",
    "TextClassifier",
]


@dataclass(frozen=True)
class PooledOutputHead:
    """Classifies the backbone's pooled output; as in BERT."""

    needs_pooled_output = True

    def __call__(self, task, outputs, *, hidden_dim: int | None, dropout: float):
        """Returns what the last layer classifies."""
        return _dropout(task, dropout, "classifier_dropout")(outputs["pooled_output"])


@dataclass(frozen=True)
class FirstTokenHead:
    """Classifies the first token's vector after one more dense layer; as in RoBERTa.

    Attributes:
        activation: Of the dense layer.
        has_input_dropout: Whether there is dropout before the dense layer too.
    """

    activation: str
    has_input_dropout: bool = True
    needs_pooled_output = False

    def __call__(self, task, outputs, *, hidden_dim: int | None, dropout: float):
        """Returns what the last layer classifies."""
        x = task.backbone.token_vectors(outputs)[:, 0, :]
        if self.has_input_dropout:
            x = _dropout(task, dropout, "pooled_dropout")(x)
        return _dense_layer(task, x, self.activation, hidden_dim, dropout)


@dataclass(frozen=True)
class LastTokenHead:
    """Classifies the decoder's vector of the last token after one more dense layer; as in BART.

    Attributes:
        activation: Of the dense layer.
    """

    activation: str
    needs_pooled_output = False

    def __call__(self, task, outputs, *, hidden_dim: int | None, dropout: float):
        """Returns what the last layer classifies."""
        pooling = TextPooling("lasttoken", dtype=task.backbone.dtype_policy, name="pooling")
        vectors = task.backbone.token_vectors(outputs)
        x = pooling(vectors, padding_mask=task.backbone.input["decoder_padding_mask"])
        x = _dropout(task, dropout, "pooled_dropout")(x)
        return _dense_layer(task, x, self.activation, hidden_dim, dropout)


class TextClassifier(Task):
    """Base class of models that give a text, or a pair of texts, one of several classes.

    Labels in `fit` and `evaluate` are class numbers, one-hot vectors, or names: strings, which are
    numbered in sorted order unless `label_names` are given, and are stored with the model.

    Args:
        backbone: The family's backbone.
        num_classes: Number of classes.
        preprocessor: What turns strings into inputs; None to hand in inputs.
        activation: Of the outputs; None for logits.
        hidden_dim: Width of the head's dense layer; None for the backbone's.
        dropout: Share of the activations dropped in training around the dense layer.
        label_names: Name of each class, in the order of their numbers.

    Outputs: `(batch, num_classes)`.
    """

    kind = "TextClassifier"
    hub_task = "text-classification"
    head: ClassVar[PooledOutputHead | FirstTokenHead | LastTokenHead]

    def __init__(
        self,
        backbone,
        num_classes,
        preprocessor=None,
        activation=None,
        hidden_dim=None,
        dropout=0.0,
        *,
        label_names=None,
        **kwargs,
    ):
        # As it is recorded: a plain integer.
        self.num_classes = num_classes = self.arguments["num_classes"]
        self.label_names = checked_names(label_names, num_classes)
        self.activation = activation_function(activation)
        self.is_logits = activation_name(activation) == "linear"
        self.backbone = backbone
        self.output_dense = keras.layers.Dense(
            num_classes,
            activation=self.activation,
            kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.02),
            dtype=backbone.dtype_policy,
            name="logits",
        )
        x = self.head(self, backbone(backbone.input), hidden_dim=hidden_dim, dropout=dropout)
        outputs = self.output_dense(x)
        super().__init__(backbone, preprocessor, inputs=backbone.input, outputs=outputs, **kwargs)

    def compile(self, optimizer="auto", loss="auto", *, metrics="auto", **kwargs):
        """Sets what `fit` minimises.

        Args:
            optimizer: `"auto"` is Adam(5e-5).
            loss: `"auto"` is cross-entropy of class numbers. Of Keras's other losses, those of
                one-hot vectors take class numbers and names, too.
            metrics: `"auto"` is accuracy, as far as the loss is one of classes.
        """
        if optimizer == "auto":
            optimizer = keras.optimizers.Adam(5e-5)
        if loss == "auto":
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=self.is_logits)
        if metrics == "auto":
            metrics = _accuracy(loss)
        super().compile(optimizer=optimizer, loss=loss, metrics=metrics, **kwargs)

    def learn_labels(self, training, validation=None) -> None:
        if self.label_names is None:
            self._learn_names(training, validation)
        # All of them now, rather than batch by batch when some have been trained on.
        for dataset in (training, validation):
            labels = None if dataset is None else dataset.known_labels()
            if labels is not None or (dataset is not None and not dataset.has_labels):
                self.prepare_labels(labels)

    def prepare_class_weight(self, class_weight):
        if not isinstance(class_weight, Mapping):
            raise InputError(
                f"`class_weight` must be a dict, {{class: weight}}. Received: {class_weight!r}."
            )
        numbers = {name: i for i, name in enumerate(self.label_names or ())}
        weights = {numbers.get(label, label): weight for label, weight in class_weight.items()}
        unknown = [label for label in weights if label not in range(self.num_classes)]
        if unknown:
            raise InputError(
                f"`class_weight` has weights for {shown(unknown)}, but the classes are "
                f"{shown(self.label_names or list(range(self.num_classes)))}."
            )
        return weights

    def prepare_labels(self, y):
        if y is None:
            raise InputError(
                "Training a classifier needs labels: pass `y`, one label for each text."
            )
        y = np.asarray(y)
        if y.dtype.kind in "UOS":
            y = np.array(numbers_of_names(y.flat, self.label_names)).reshape(y.shape)
        wants = _labels_of(getattr(self, "loss", None))
        if wants == "numbers":
            return self._as_numbers(y)
        return self._as_vectors(y) if wants == "vectors" else y

    def needs_pooled_output(self) -> bool:
        return self.head.needs_pooled_output

    def labels(self):
        return self.label_names

    def hugging_face_config(self) -> dict[str, Any]:
        return names_in_config(self.label_names, self.num_classes)

    def get_config(self):
        config = super().get_config()
        config["activation"] = activation_name(self.arguments["activation"])
        if self.label_names is not None:
            config["label_names"] = list(self.label_names)
        return config

    def _learn_names(self, training, validation) -> None:
        names = training.distinct_labels()
        if names is None:
            return
        of_validation = None if validation is None else validation.known_labels()
        if of_validation is not None:
            names = sorted({*names, *(y for y in of_validation.flat if isinstance(y, str))})
        if len(names) != self.num_classes:
            raise InputError(
                f"There are {len(names)} different labels ({shown(names)}), but the model has "
                f"num_classes={self.num_classes}. Make it with num_classes={len(names)}, or "
                f"pass the `label_names` of all classes."
            )
        self.label_names = names

    def _as_numbers(self, y: np.ndarray) -> np.ndarray:
        """Returns class numbers from class numbers or one-hot vectors."""
        if y.ndim == 2 and y.shape[1] == self.num_classes > 1:
            y = _class_numbers(y)
        self._check_class_numbers(y)
        return y

    def _as_vectors(self, y: np.ndarray) -> np.ndarray:
        """Returns vectors over the classes, which may be soft, from vectors or class numbers."""
        if y.ndim == 2 and y.shape[1] == self.num_classes > 1:
            return y
        self._check_class_numbers(y)
        return np.eye(self.num_classes, dtype="float32")[y.reshape(len(y)).astype("int64")]

    def _check_class_numbers(self, y: np.ndarray) -> None:
        if y.ndim != 1 and y.shape[1:] != (1,):
            raise InputError(
                f"Labels have the shape {y.shape}, but a model of {self.num_classes} classes takes "
                f"one class number for each text, or vectors of {self.num_classes}."
            )
        lowest, highest = known_range("Labels", y) or (0, 0)
        if lowest < 0 or highest >= self.num_classes:
            raise InputError(
                f"Labels go from {lowest} to {highest}, but num_classes={self.num_classes}: class "
                f"numbers are 0 to {self.num_classes - 1}."
            )


class PooledOutputClassifier(TextClassifier):
    """Base class of classifiers on a backbone's pooled output, which have no dense layer of theirs.

    Arguments as in `TextClassifier`, without `hidden_dim`.
    """

    head = PooledOutputHead()

    def __init__(
        self,
        backbone,
        num_classes,
        preprocessor=None,
        activation=None,
        dropout=0.1,
        *,
        label_names=None,
        **kwargs,
    ):
        super().__init__(
            backbone,
            num_classes,
            preprocessor,
            activation,
            None,
            dropout,
            label_names=label_names,
            **kwargs,
        )


def _labels_of(loss) -> str | None:
    """Returns what a loss compares with: class `"numbers"`, `"vectors"` over them, or unknown."""
    loss = keras.losses.get(loss) if isinstance(loss, str) else loss
    for kind, losses in _LOSSES.items():
        if loss in losses or type(loss) in losses:
            return kind
    return None


_LOSSES = {
    "numbers": (
        keras.losses.SparseCategoricalCrossentropy,
        keras.losses.sparse_categorical_crossentropy,
    ),
    "vectors": (
        keras.losses.CategoricalCrossentropy,
        keras.losses.CategoricalFocalCrossentropy,
        keras.losses.CategoricalHinge,
        keras.losses.categorical_crossentropy,
        keras.losses.categorical_focal_crossentropy,
        keras.losses.categorical_hinge,
    ),
}


def _accuracy(loss) -> list:
    """Returns the metric that compares with the same labels as the loss."""
    wants = _labels_of(loss)
    is_own = callable(loss) and not loss.__module__.startswith("keras.")
    if wants is None and not is_own:
        # Binary losses and regression: classes are not what the outputs are about.
        return []
    if wants == "vectors":
        return [keras.metrics.CategoricalAccuracy()]
    return [keras.metrics.SparseCategoricalAccuracy()]


def _dense_layer(task, x, activation: str, hidden_dim: int | None, dropout: float):
    task.pooled_dense = keras.layers.Dense(
        hidden_dim or task.backbone.hidden_dim,
        activation=activation_function(activation),
        kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.02),
        dtype=task.backbone.dtype_policy,
        name="pooled_dense",
    )
    return _dropout(task, dropout, "classifier_dropout")(task.pooled_dense(x))


def _dropout(task, rate: float, name: str):
    return keras.layers.Dropout(rate, dtype=task.backbone.dtype_policy, name=name)


def _class_numbers(y: np.ndarray) -> np.ndarray:
    is_one_hot = np.isin(y, (0, 1)).all() and (y.sum(axis=1) == 1).all()
    if not is_one_hot:
        raise InputError(
            "Labels of shape (batch, num_classes) must be one-hot for this loss: a single 1 in "
            "each row. For soft labels compile with keras.losses.CategoricalCrossentropy."
        )
    return y.argmax(axis=1)
