"""Labels of texts in the form that a loss takes, whatever form they are handed in."""

import keras
import numpy as np

from clozework.errors import InputError
from clozework.tasks.label_names import numbers_of_names, shown
from clozework.tasks.numbers import known_range

__all__ = [
    "PROBLEM_TYPES",
    "accuracy_for",
    "as_multi_hot",
    "as_numbers",
    "as_values",
    "as_vectors",
    "labels_of",
]

# What a classifier's outputs stand for, as configs of Hugging Face say it.
PROBLEM_TYPES = ("single_label_classification", "multi_label_classification", "regression")


def as_numbers(y: np.ndarray, num_classes: int) -> np.ndarray:
    """Returns class numbers from class numbers or one-hot vectors."""
    if y.ndim == 2 and y.shape[1] == num_classes > 1:
        y = _class_numbers(y)
    _check_class_numbers(y, num_classes)
    return y


def as_vectors(y: np.ndarray, num_classes: int) -> np.ndarray:
    """Returns vectors over the classes, which may be soft, from vectors or class numbers."""
    if y.ndim == 2 and y.shape[1] == num_classes > 1:
        if not np.isfinite(y).all():
            raise InputError(
                f"Labels of shape {y.shape} hold NaN or infinity. Leave such rows out, or give a "
                f"finite number for each of the {num_classes} classes."
            )
        return y
    _check_class_numbers(y, num_classes)
    return np.eye(num_classes, dtype="float32")[y.reshape(len(y)).astype("int64")]


def as_multi_hot(y: np.ndarray, names: list[str] | None, num_classes: int) -> np.ndarray:
    """Returns a 1 for each class that a text has, `(texts, num_classes)`.

    Args:
        y: Lists of names, one name a text, or multi-hot vectors, which may be soft.
        names: Names of the classes.
        num_classes: Number of classes.

    Raises:
        InputError: If they are none of these.

    Example:
    >>> as_multi_hot(np.array([["a", "c"], ["b", "c"]]), ["a", "b", "c"], 3).tolist()
    [[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]]
    """
    if y.dtype.kind in "OUS":
        rows = [[row] if isinstance(row, str) else list(row) for row in y]
        wrong = [label for row in rows for label in row if not isinstance(label, str)]
        if wrong:
            raise InputError(
                f"Labels are lists that hold {wrong[0]!r}. Give lists of names, or vectors with 0 "
                f"or 1 for each of the {num_classes} classes."
            )
        hot = np.zeros((len(rows), num_classes), "float32")
        for i, row in enumerate(rows):
            hot[i, numbers_of_names(row, names) if row else []] = 1.0
        return hot
    y = y[:, None] if num_classes == 1 and y.ndim == 1 else y
    if y.shape[1:] != (num_classes,) or not ((y >= 0) & (y <= 1)).all():
        raise InputError(
            f"Labels of shape {y.shape} from {y.min(initial=0)} to {y.max(initial=0)} are no "
            f"vectors with 0 or 1 for each of the {num_classes} classes. Give these, or lists of "
            f"names."
        )
    return y.astype("float32")


def as_values(y: np.ndarray, num_classes: int) -> np.ndarray:
    """Returns the numbers that a regression predicts, `(texts, num_classes)`.

    Raises:
        InputError: If they are not numbers, or not as many as the model predicts.
    """
    if y.dtype.kind in "OUS":
        raise InputError(
            f"Labels are {shown(y.ravel().tolist())}, but with problem_type='regression' the model "
            f"predicts numbers. Give floats, or make the model without `problem_type` for classes."
        )
    y = y[:, None] if num_classes == 1 and y.ndim == 1 else y
    if y.shape[1:] != (num_classes,) or not np.isfinite(y).all():
        raise InputError(
            f"Labels of shape {y.shape} must be {num_classes} finite numbers for each text."
        )
    return y.astype("float32")


def labels_of(loss) -> str | None:
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


def accuracy_for(loss) -> list:
    """Returns the metric that compares with the same labels as the loss."""
    wants = labels_of(loss)
    is_own = callable(loss) and not loss.__module__.startswith("keras.")
    if wants is None and not is_own:
        # Binary losses and regression: classes are not what the outputs are about.
        return []
    if wants == "vectors":
        return [keras.metrics.CategoricalAccuracy()]
    return [keras.metrics.SparseCategoricalAccuracy()]


def _check_class_numbers(y: np.ndarray, num_classes: int) -> None:
    if y.ndim != 1 and y.shape[1:] != (1,):
        raise InputError(
            f"Labels have the shape {y.shape}, but a model of {num_classes} classes takes "
            f"one class number for each text, or vectors of {num_classes}."
        )
    lowest, highest = known_range("Labels", y) or (0, 0)
    if lowest < 0 or highest >= num_classes:
        raise InputError(
            f"Labels go from {lowest} to {highest}, but num_classes={num_classes}: class "
            f"numbers are 0 to {num_classes - 1}."
        )


def _class_numbers(y: np.ndarray) -> np.ndarray:
    is_one_hot = np.isin(y, (0, 1)).all() and (y.sum(axis=1) == 1).all()
    if not is_one_hot:
        raise InputError(
            "Labels of shape (batch, num_classes) must be one-hot for this loss: a single 1 in "
            "each row. For soft labels compile with keras.losses.CategoricalCrossentropy."
        )
    return y.argmax(axis=1)
