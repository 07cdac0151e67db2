"""Names of classes: checked, numbered, in messages, and as configs of Hugging Face have them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from clozework.errors import ConfigError, InputError

__all__ = [
    "checked_names",
    "class_names",
    "names_in_config",
    "numbered_weights",
    "numbers_of_names",
    "shown",
]


def checked_names(names, num_classes: int) -> list[str] | None:
    """Returns names of classes as strings, or None where there are none.

    Raises:
        ConfigError: If they are not as many as there are classes, or not all different.
    """
    if names is None:
        return None
    names = [str(name) for name in names]
    if len(names) != num_classes or len(set(names)) != num_classes:
        raise ConfigError(
            f"`label_names` must be {num_classes} different names, one for each class. "
            f"Received: {shown(names)}."
        )
    return names


def class_names(names: Sequence[str] | None, num_classes: int) -> list[str]:
    """Returns the names of classes, made up as `transformers` does where they have none.

    >>> class_names(None, 2)
    ['LABEL_0', 'LABEL_1']
    """
    return list(names) if names else [f"LABEL_{i}" for i in range(num_classes)]


def names_in_config(names: Sequence[str] | None, num_classes: int) -> dict[str, Any]:
    """Returns what a config of `transformers` says of the classes."""
    names = class_names(names, num_classes)
    return {
        "id2label": {str(i): name for i, name in enumerate(names)},
        "label2id": {name: i for i, name in enumerate(names)},
        "num_labels": num_classes,
    }


def numbered_weights(
    class_weight: Mapping[Any, float], names: Sequence[str] | None, num_classes: int
) -> dict[int, float]:
    """Returns the `class_weight` of `fit`, by name or number, by class number.

    Raises:
        InputError: If it is no dict, or has a weight for what is no class.
    """
    if not isinstance(class_weight, Mapping):
        raise InputError(
            f"`class_weight` must be a dict, {{class: weight}}. Received: {class_weight!r}."
        )
    numbers: dict[Any, int] = {name: i for i, name in enumerate(names or ())}
    weights: dict[Any, float] = {
        numbers.get(label, label): weight for label, weight in class_weight.items()
    }
    unknown = [label for label in weights if label not in range(num_classes)]
    if unknown:
        raise InputError(
            f"`class_weight` has weights for {shown(unknown)}, but the classes are "
            f"{shown(names or list(range(num_classes)))}."
        )
    return weights


def numbers_of_names(labels: Iterable[str], names: Sequence[str] | None) -> list[int]:
    """Returns the class number of each label.

    Raises:
        InputError: If a label is not among the names, or there are none.
    """
    labels = [str(label) for label in labels]
    if names is None:
        raise InputError(
            f"Labels are names ({shown(sorted(set(labels)))}), but the model does not know which "
            f"class each is. Pass `label_names`, in the order of the classes, when you make it, or "
            f"train it with `fit` on names."
        )
    numbers = {name: i for i, name in enumerate(names)}
    unknown = sorted(set(labels) - set(numbers))
    if unknown:
        raise InputError(f"Labels {shown(unknown)} are not among the model's: {shown(names)}.")
    return [numbers[label] for label in labels]


def shown(names: Sequence[Any]) -> str:
    """Returns names for a message, the first ten of them."""
    text = ", ".join(map(repr, names[:10]))
    return f"{text}, ... ({len(names)} in all)" if len(names) > 10 else text
