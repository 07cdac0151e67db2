"""Training from a file to a model in a directory."""

import hashlib
import json
import shlex
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import keras

from clozework import models
from clozework.errors import ClozeworkWarning, ConfigError, MissingPackageError
from clozework.tasks import Resumable
from clozework.training.data import (
    Split,
    balanced_class_weights,
    check_classes,
    checked_columns,
    repeated_ids,
    split_of_files,
    split_rows,
)
from clozework.training.evaluations.evaluation import Evaluation
from clozework.training.kinds import Kind, guessed_columns, guessed_kind, kind_named
from clozework.training.report import report_page
from clozework.training.tables import read_table

__all__ = [
    "Training",
    "TrainingOptions",
    "TrainingProgress",
    "TrainingResult",
    "plan_training",
]

_STATE = "training"


@dataclass(frozen=True)
class TrainingOptions:
    """How to train; the defaults suit a few hundred to some ten thousand short texts.

    Attributes:
        preset: The model to begin with.
        epochs: At most so many; fewer where validation gets no better.
        batch_size: Examples of a step.
        learning_rate: The highest one; it rises from 0 in the first tenth of the steps, and falls
            to 0 as a cosine.
        weight_decay: Of AdamW.
        validation_share: Of the examples, kept to validate; 0 for none.
        patience: Epochs without a better validation after which training ends.
        class_weights: `"auto"` lets all classes count alike where one is five times as frequent as
            another; `"none"` never.
        lora_rank: Train adapters of this rank and the head, in place of all weights.
        sequence_length: Tokens of a text; those of the preset by default.
        dtype: Precision: `"mixed_bfloat16"` is fast on newer chips.
        gradient_accumulation_steps: Batches of which one step is made.
        seed: Of everything that is random.
    """

    preset: str = "deberta_v3_tiny_en_demo"
    epochs: int = 5
    batch_size: int = 32
    learning_rate: float = 2e-4
    weight_decay: float = 0.01
    validation_share: float = 0.1
    patience: int = 2
    class_weights: str = "auto"
    lora_rank: int | None = None
    sequence_length: int | None = None
    dtype: str | None = None
    gradient_accumulation_steps: int | None = None
    seed: int = 0


@dataclass(frozen=True)
class TrainingProgress:
    """How far a training is.

    Attributes:
        epoch, num_epochs: The current one, from 1, and how many there are at most.
        share: Of all steps that are done, from 0 to 1.
        seconds_left: How long the rest takes at most, validation aside; infinite at first.
        scores: Loss and metrics of the current epoch so far; at its end those of validation, too.
        is_end_of_epoch: Whether the epoch has ended.
    """

    epoch: int
    num_epochs: int
    share: float
    seconds_left: float
    scores: Mapping[str, float]
    is_end_of_epoch: bool


@dataclass(frozen=True)
class TrainingResult:
    """What training has made.

    Attributes:
        directory: The model: `from_preset` loads it.
        history: Loss and metrics of each epoch.
        best: Those of the epoch whose weights were kept.
        seconds: How long the last run took.
    """

    directory: Path
    history: dict[str, list[float]]
    best: dict[str, float]
    seconds: float


@dataclass(frozen=True)
class Training:
    """What is to be trained on what, before anything is computed; see `plan_training`.

    Attributes:
        source: The file.
        kind: What the model is for.
        roles: Name of the column of each role.
        columns: The examples, by role.
        split: Which of them are kept for validation.
        options: How to train.
        validation_source: The file of the rows to validate on, where they have one of their own.
    """

    source: Path
    kind: Kind
    roles: Mapping[str, str]
    columns: Mapping[str, list[Any]]
    split: Split
    options: TrainingOptions
    validation_source: Path | None = None

    def lines(self) -> list[str]:
        """Returns what was found and chosen, in sentences."""
        told = ", ".join(f"{role} is {name!r}" for role, name in self.roles.items())
        lines = [
            f"{self.kind.name}: {told}.",
            f"{len(self.split.training)} rows to train on, {len(self.split.validation)} to "
            f"validate.",
        ]
        classes = self.classes()
        if classes:
            shown = ", ".join(classes[:10]) + (", ..." if len(classes) > 10 else "")
            lines.append(f"{len(classes)} classes: {shown}.")
        if self.class_weight() is not None:
            lines.append("Rare classes weigh more, so that all of them count alike.")
        return [*lines, *self.split.remarks]

    def classes(self) -> list[str]:
        """Returns the names of classes, or of tags, sorted; empty where there are none."""
        if self.kind.has_labels:
            return sorted({str(label) for label in self.columns["label"]})
        if "tags" in self.columns:
            return sorted({tag for tags in self.columns["tags"] for tag in tags})
        return []

    def class_weight(self) -> dict[str, float] | None:
        """Returns the weight of each class, or None where all examples count alike."""
        if self.options.class_weights == "none" or not self.kind.has_labels:
            return None
        labels = [str(self.columns["label"][row]) for row in self.split.training]
        weights = balanced_class_weights(labels)
        is_uneven = max(weights.values()) > _UNEVEN * min(weights.values())
        return weights if is_uneven else None

    def run(
        self,
        directory,
        *,
        verbose: int | str = "auto",
        every_seconds: float = 300.0,
        on_message: Callable[[str], None] = lambda message: None,
        on_progress: Callable[[TrainingProgress], None] = lambda progress: None,
    ) -> TrainingResult:
        """Trains, and saves the model with its card and `report.html`.

        The same call after an interrupt goes on where it was; see `clozework.callbacks.Resumable`.

        Args:
            directory: Where the model goes; the state of training is beside it until all is done.
            verbose: As in `fit`.
            every_seconds: How much work may be lost.
            on_message: Is told what happens.
            on_progress: Is called after each step, and at the end of each epoch.

        Raises:
            ConfigError: If the directory is there, or an earlier run was another training.
        """
        begun = time.monotonic()
        directory = Path(directory)
        state = directory.with_name(f"{directory.name}.{_STATE}")
        self._check_place(directory, state, on_message)
        keras.utils.set_random_seed(self.options.seed)
        task = self._task()
        monitored = self.kind.monitored if self.split.validation else "loss"
        stopping = keras.callbacks.EarlyStopping(
            monitored, patience=self.options.patience, restore_best_weights=True
        )
        resumable = Resumable(state, every_seconds=every_seconds)
        num_steps = (self._num_batches(), self.options.epochs)
        watch = _Watch(resumable, *num_steps, on_message, on_progress)
        history = task.fit(
            *self._examples(self.split.training),
            batch_size=self.options.batch_size,
            epochs=self.options.epochs,
            seed=self.options.seed,
            validation_data=(
                self._examples(self.split.validation) if self.split.validation else None
            ),
            class_weight=self.class_weight(),
            callbacks=[stopping, watch, resumable],
            verbose=verbose,
        ).history
        best = min(range(len(history[monitored])), key=history[monitored].__getitem__)
        result = TrainingResult(
            directory,
            history,
            {name: values[best] for name, values in history.items()},
            time.monotonic() - begun,
        )
        evaluation = self._evaluation(task, on_message)
        task.save_to_preset(directory)
        self._write_record(directory, result, evaluation)
        resumable.file.unlink()
        (state / _DESCRIPTION).unlink()
        state.rmdir()
        return result

    def _task(self):
        options = self.options
        arguments: dict[str, Any] = {}
        if self.classes():
            arguments = {"num_classes": len(self.classes()), "label_names": self.classes()}
        if options.sequence_length is not None:
            arguments["sequence_length"] = options.sequence_length
        if options.dtype is not None:
            arguments["dtype"] = options.dtype
        with warnings.catch_warnings():
            # It is about to be trained.
            warnings.filterwarnings("ignore", ".* has no head for ", ClozeworkWarning)
            task = getattr(models, self.kind.task).from_preset(options.preset, **arguments)
        if options.lora_rank is not None:
            task.backbone.enable_lora(options.lora_rank)
        task.compile(optimizer=self._optimizer(), loss=self.kind.loss())
        return task

    def _optimizer(self):
        options = self.options
        num_steps = (
            self._num_batches() * options.epochs // (options.gradient_accumulation_steps or 1)
        )
        warmup = max(num_steps // 10, 1)
        schedule = keras.optimizers.schedules.CosineDecay(
            0.0,
            max(num_steps - warmup, 1),
            warmup_target=options.learning_rate,
            warmup_steps=warmup,
        )
        optimizer = keras.optimizers.AdamW(
            schedule,
            weight_decay=options.weight_decay,
            clipnorm=1.0,
            gradient_accumulation_steps=options.gradient_accumulation_steps,
        )
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta", "scale"])
        return optimizer

    def _num_batches(self) -> int:
        return -(-len(self.split.training) // self.options.batch_size)

    def _examples(self, rows: Sequence[int]) -> tuple:
        x, y = self.kind.examples(self._columns(rows))
        return (x,) if y is None else (x, y)

    def _columns(self, rows: Sequence[int]) -> dict[str, list[Any]]:
        return {role: [values[row] for row in rows] for role, values in self.columns.items()}

    def _check_place(self, directory: Path, state: Path, on_message) -> None:
        content = json.loads(json.dumps(self._description()))
        file = state / _DESCRIPTION
        if file.exists():
            if json.loads(file.read_text("utf-8")) != content:
                raise ConfigError(
                    f"{str(state)!r} holds the state of another training: the data or the options "
                    f"were others. Repeat it as it was, or delete that directory to begin anew."
                )
            on_message("Going on with the training that was interrupted.")
            return
        if directory.exists():
            raise ConfigError(f"{str(directory)!r} is there already. Name another directory.")
        state.mkdir(parents=True, exist_ok=True)
        new = file.with_suffix(".new")
        new.write_text(json.dumps(content), encoding="utf-8")
        new.replace(file)

    def _description(self) -> dict[str, Any]:
        return {
            "source": str(self.source.resolve()),
            **self._validation_description(),
            "examples": hashlib.sha256(repr(self.columns).encode()).hexdigest(),
            "rows": [len(self.split.training), len(self.split.validation)],
            "task": self.kind.name,
            "columns": dict(self.roles),
            "options": asdict(self.options),
        }

    def _validation_description(self) -> dict[str, str]:
        source = self.validation_source
        return {} if source is None else {"validation": str(source.resolve())}

    def command(self, directory) -> str:
        """Returns the command line that makes the same model."""
        words = ["clozework", "train", str(self.source), "-o", str(directory)]
        if self.validation_source is not None:
            words += ["--validation", str(self.validation_source)]
        words += ["--task", self.kind.name]
        words += [f"--column={role}={name}" for role, name in self.roles.items()]
        usual = asdict(TrainingOptions())
        words += [
            f"--{name.replace('_', '-')}={value}"
            for name, value in asdict(self.options).items()
            if value != usual[name]
        ]
        return shlex.join(words)

    def evaluate(self, task, rows: Sequence[int] | None = None) -> Evaluation:
        """Returns what a model gets right of the examples.

        Args:
            task: A model of this kind.
            rows: Numbers of the examples; None for all.

        Raises:
            ConfigError: If there are no scores for this kind.
            MissingPackageError: If what computes them is not there.
        """
        if self.kind.evaluate is None:
            raise ConfigError(
                f"There are no scores for {self.kind.name!r} but the loss: compare `val_loss` in "
                f"the `training.json` of models, or name another task."
            )
        rows = range(len(next(iter(self.columns.values())))) if rows is None else rows
        x, y = self.kind.examples(self._columns(rows))
        return self.kind.evaluate(task, x, y)

    def _evaluation(self, task, on_message) -> Evaluation | None:
        if self.kind.evaluate is None or not self.split.validation:
            return None
        try:
            return self.evaluate(task, self.split.validation)
        except MissingPackageError as error:
            on_message(f"The report has no scores: {error}")
            return None

    def _write_record(
        self, directory: Path, result: TrainingResult, evaluation: Evaluation | None
    ) -> None:
        content = {
            **self._description(),
            "history": result.history,
            "best": result.best,
            "evaluation": None if evaluation is None else asdict(evaluation),
        }
        (directory / _RECORD).write_text(json.dumps(content, indent=2), encoding="utf-8")
        page = report_page(
            title=directory.name,
            facts=[*self.lines(), f"Begun with {self.options.preset}."],
            command=self.command(directory),
            history=result.history,
            evaluation=evaluation,
        )
        (directory / _REPORT).write_text(page, encoding="utf-8")


class _Watch(keras.callbacks.Callback):
    """Tells how far training is, and how long it will take, once some steps are done."""

    def __init__(
        self,
        resumable: Resumable,
        num_batches: int,
        num_epochs: int,
        on_message: Callable[[str], None],
        on_progress: Callable[[TrainingProgress], None],
    ):
        super().__init__()
        self._resumable = resumable
        self._num_batches, self._num_epochs = num_batches, num_epochs
        self._on_message, self._on_progress = on_message, on_progress
        self._epoch = self._num_timed = 0
        self._begun = 0.0

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        self._num_timed += 1
        if self._num_timed == _FIRST_TIMED_STEP:
            # Those before were compiled.
            self._begun = time.monotonic()
        step = self._resumable.first_step + batch + 1
        progress = self._progress(self._epoch * self._num_batches + step, logs)
        if self._num_timed == _TOLD_AFTER:
            minutes = progress.seconds_left / 60
            self._on_message(f"At most {minutes:.1f} minutes are left, validation aside.")
        self._on_progress(progress)

    def on_epoch_end(self, epoch, logs=None):
        num_done = (epoch + 1) * self._num_batches
        self._on_progress(self._progress(num_done, logs, is_end_of_epoch=True))

    def _progress(self, num_done: int, logs, *, is_end_of_epoch: bool = False) -> TrainingProgress:
        num_steps = self._num_epochs * self._num_batches
        num_timed = self._num_timed - _FIRST_TIMED_STEP
        left = float("inf")
        if num_timed > 0:
            left = (time.monotonic() - self._begun) / num_timed * (num_steps - num_done)
        return TrainingProgress(
            self._epoch + 1,
            self._num_epochs,
            num_done / num_steps,
            left,
            {name: float(value) for name, value in (logs or {}).items()},
            is_end_of_epoch,
        )


def plan_training(
    source,
    options: TrainingOptions | None = None,
    *,
    task: str | None = None,
    columns: Mapping[str, str] | None = None,
    validation=None,
) -> Training:
    """Reads a file, finds out what it is for, and returns what is to be trained.

    Args:
        source: CSV, TSV, JSON Lines, Parquet, Arrow, or a directory that `datasets` saved.
        options: How to train.
        task: `"classify"`, `"tag"`, `"answer"`, `"embed"`, `"summarize"` or `"fill"`; guessed by
            default.
        columns: Name of the column of a role, such as `{"label": "stars"}`; guessed by default.
        validation: A file of the rows to validate on, with the same columns; by default a share of
            the others is kept.

    Raises:
        InputError: If the file cannot be used: it says which rows, and why.
        ConfigError: If there is no such task or role.

    Example:
    >>> import tempfile
    >>> rows = ["review,stars", "a fine film,good", "what a film,good", "dull,bad", "a bore,bad"]
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     path = Path(directory, "reviews.csv")
    ...     _ = path.write_text("\\n".join(rows))
    ...     print("\\n".join(plan_training(path).lines()))
    classify: text is 'review', label is 'stars'.
    2 rows to train on, 2 to validate.
    2 classes: bad, good.
    """
    options = options or TrainingOptions()
    table = read_table(source)
    kind = guessed_kind(table, columns or {}) if task is None else kind_named(task)
    roles = guessed_columns(table, kind, columns or {})
    found = checked_columns(table, roles, kind)
    if kind.has_labels:
        check_classes(found["label"], roles["label"])
    if validation is None:
        split = split_rows(found, kind, share=options.validation_share, seed=options.seed)
    else:
        kept = checked_columns(read_table(validation), roles, kind)
        split = split_of_files(found, kept)
        found = {role: [*values, *kept[role]] for role, values in found.items()}
    split = replace(split, remarks=[*split.remarks, *repeated_ids(table)])
    own_file = None if validation is None else Path(validation)
    return Training(Path(source), kind, roles, found, split, options, own_file)


# How many times as frequent as another a class may be before weights even them out.
_UNEVEN = 5
_FIRST_TIMED_STEP, _TOLD_AFTER = 3, 8
_RECORD = "training.json"
_REPORT = "report.html"
_DESCRIPTION = "description.json"
