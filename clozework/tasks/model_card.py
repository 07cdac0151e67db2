"""The `README.md` of a saved model: what it is, how it was trained and how to load it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from clozework import __version__
from clozework.presets import CARD, family_of
from clozework.tasks.arguments import argument_defaults, stored_arguments

__all__ = ["TrainingSummary", "export_card", "preset_card", "write_card"]

_MARK = "<!-- Clozework writes this card anew at each save, as long as this line is in it. -->"


_OF_A_BACKBONE = ('outputs = model(**tokenizer("A text.", return_tensors="pt"))',)


@dataclass(frozen=True)
class TrainingSummary:
    """What a card says of the last `fit`.

    Attributes:
        epochs: How many were run.
        steps: Steps of each, where their number is known.
        optimizer: Class of the optimizer.
        learning_rate: At the end.
        values: Loss and metrics of the last epoch, those of the validation among them.
    """

    epochs: int
    steps: int | None
    optimizer: str
    learning_rate: float
    values: Mapping[str, float]

    @classmethod
    def of(cls, history, optimizer) -> "TrainingSummary | None":
        """Returns the summary of what `fit` returned; None if no epoch was finished."""
        if not history.epoch:
            return None
        return cls(
            epochs=len(history.epoch),
            steps=history.params["steps"],
            optimizer=type(optimizer).__name__,
            learning_rate=float(keras.ops.convert_to_numpy(optimizer.learning_rate)),
            values={name: float(values[-1]) for name, values in history.history.items()},
        )


def preset_card(model, name: str, *, task=None) -> str:
    """Returns the card of a preset in KerasHub's format.

    Args:
        model: The backbone.
        name: Of the directory.
        task: The task that is saved with it; None for a backbone alone.
    """
    cls = type(task or model)
    lines = ["from clozework import models", "", _loading(cls, name)]
    lines += [task.usage()] if task else []
    parts = [_code(lines), _of_keras_hub(model, task)]
    return _card(model, name, task, "keras-hub", "\n".join(parts))


def export_card(model, name: str, architecture: str, *, task=None) -> str:
    """Returns the card of a directory in Hugging Face's format.

    Args:
        model, name, task: As in `preset_card`.
        architecture: The class of `transformers` that reads it.

    The code is that of `Task.hub_library`.
    """
    library = task.hub_library if task else "transformers"
    if library == "sentence-transformers":
        theirs = [
            "from sentence_transformers import SentenceTransformer",
            "",
            f'model = SentenceTransformer("{name}")',
            'vectors = model.encode(["A text.", "Another one."])',
        ]
    else:
        theirs = [
            f"from transformers import AutoTokenizer, {architecture}",
            "",
            f'tokenizer = AutoTokenizer.from_pretrained("{name}")',
            f'model = {architecture}.from_pretrained("{name}")',
            *(task.usage_in_transformers() if task else _OF_A_BACKBONE),
        ]
    ours = ["from clozework import models", "", _loading(type(task or model), name)]
    ours += [task.usage()] if task else []
    use = f"{_code(theirs)}\nor, in Clozework:\n\n{_code(ours)}"
    return _card(model, name, task, library, use)


def write_card(staged: Path, destination, card: str) -> None:
    """Writes a card, unless the destination has one that somebody wrote."""
    existing = Path(destination).expanduser() / CARD
    if existing.is_file() and _MARK not in existing.read_text(encoding="utf-8", errors="replace"):
        return
    (staged / CARD).write_text(card, encoding="utf-8")


def _card(model, name: str, task, library: str, use: str) -> str:
    family = family_of(type(model))
    cls = type(task or model).__name__
    head = ["---", f"library_name: {library}", "tags:", f"- {family.name}"]
    head += [f"pipeline_tag: {task.hub_task if task else 'feature-extraction'}", "---"]
    parameters = (task or model).count_params()
    sections = [
        "\n".join(head),
        f"# {name}",
        f"A {family.title} model (`{cls}`) with {parameters:,} parameters, saved by Clozework "
        f"{__version__}.",
        f"## Use\n\n{use}",
        *_of_labels(task.labels() if task else None),
        *_of_training(task.last_training if task else None),
        f"## Architecture\n\n{_architecture(model)}",
        _MARK,
    ]
    return "\n\n".join(section.strip("\n") for section in sections) + "\n"


def _loading(cls: type, name: str) -> str:
    return f'model = models.{cls.__name__}.from_preset("./{name}")'


def _code(lines: Sequence[str]) -> str:
    return "\n".join(["```python", *lines, "```", ""])


def _of_keras_hub(model, task) -> str:
    """Says whether KerasHub computes the same: it ignores arguments that it does not know."""
    if task is not None and not task.is_in_keras_hub:
        return f"KerasHub reads the backbone in this directory; it has no {task.kind}."
    unknown = [
        f"`{argument}={value!r}`"
        for part in (model, task)
        if part is not None
        for argument, value in _own_arguments(part).items()
    ]
    unknown += task.own_weights() if task is not None else []
    if not unknown:
        return "KerasHub reads this directory, too."
    return (
        f"KerasHub reads this directory, too, but ignores what it does not have, and may "
        f"compute other numbers: {', '.join(unknown)}."
    )


def _own_arguments(part) -> dict[str, Any]:
    """Returns the stored arguments that KerasHub's class does not have."""
    parameters = argument_defaults(type(part))
    stored = stored_arguments(type(part), part.arguments)
    return {k: v for k, v in stored.items() if parameters[k].kind is parameters[k].KEYWORD_ONLY}


def _of_labels(labels: Sequence[str] | None) -> list[str]:
    if labels is None:
        return []
    rows = [(str(i), _cell(label)) for i, label in enumerate(labels)]
    return [f"## Labels\n\n{_table(('class', 'label'), rows)}"]


def _of_training(training: TrainingSummary | None) -> list[str]:
    if training is None:
        return []
    steps = f" of {_counted(training.steps, 'step')}" if training.steps else ""
    text = (
        f"Trained last for {_counted(training.epochs, 'epoch')}{steps} with {training.optimizer}, "
        f"learning rate {training.learning_rate:.3g} at the end. In the last epoch:"
    )
    rows = [(f"`{name}`", f"{value:.4f}") for name, value in training.values.items()]
    return [f"## Training\n\n{text}\n\n{_table(('value', 'mean'), rows)}"]


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _architecture(model) -> str:
    arguments = {k: v for k, v in model.arguments.items() if k != "dtype"}
    return _table(("argument", "value"), [(f"`{k}`", _cell(v)) for k, v in arguments.items()])


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")
