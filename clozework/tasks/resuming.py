"""Training that goes on where it was interrupted."""

import json
import os
import random
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from clozework.backend import random_states, set_random_states
from clozework.data import Batches, CollectionBatches
from clozework.errors import ConfigError, PresetError
from clozework.presets import LocalFiles
from clozework.presets.tensor_files import read_safetensors, write_safetensors
from clozework.tasks.packed_texts import made_ahead

__all__ = ["Resumable", "fit_resumably"]

_FILE = "training.safetensors"
_DESCRIPTION = "description"
_FORMAT = 1


@dataclass
class _Progress:
    """How far training is.

    Attributes:
        num_batches: Batches of an epoch.
        seed: Of the order of examples.
        epoch, step: The next step to be done; never one behind the last of an epoch.
        is_stopping: Whether a callback wants training to end with the epoch that is done.
        finished_epochs: Epochs of a training that has ended, be it early.
        history: What Keras's `History` holds.
        callbacks: Name of the class of each other callback, and its state.
        python_random: State of Python's `random`.
        numpy_random: State of NumPy's, without its keys.
        format: Version of this record.
    """

    num_batches: int
    seed: int
    epoch: int = 0
    step: int = 0
    is_stopping: bool = False
    finished_epochs: int = 0
    history: dict[str, list[float]] = field(default_factory=dict)
    callbacks: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    python_random: Any = None
    numpy_random: Any = None
    format: int = _FORMAT


@keras.saving.register_keras_serializable("clozework")
class Resumable(keras.callbacks.Callback):
    """Lets `fit` go on after it was interrupted, even by `kill -9`, as if nothing had happened.

    Run the same program again: `fit` goes on with the step behind the last one that was kept. On a
    CPU weights and history are those of a run without interruption, bit for bit: the order of
    examples, random numbers, the optimizer and other callbacks, such as `EarlyStopping`, go on as
    well. Where training has ended already, `fit` returns its history at once; with more `epochs`
    it goes on.

    Args:
        directory: Where the state is kept; made where it is not there. One file, which is replaced
            when the next one is whole, as large as the weights and three times that with Adam.
        every_seconds: How much work may be lost, beside that of one step.
        every_steps: Keep the state after so many steps; None for the time alone. It is kept after
            each epoch in any case.

    Raises:
        ConfigError: In `fit`, if the state in the directory is of another training, or the
            examples cannot be read again from anywhere.

    Example:
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     Resumable(directory, every_seconds=60).directory == Path(directory)
    True
    """

    def __init__(self, directory, every_seconds: float = 300.0, every_steps: int | None = None):
        super().__init__()
        if every_steps is not None and every_steps < 1:
            raise ConfigError(f"`every_steps` must be at least 1, not {every_steps!r}.")
        self.directory = Path(directory)
        self.every_seconds = every_seconds
        self.every_steps = every_steps
        self._others: list[keras.callbacks.Callback] = []
        self._progress: _Progress | None = None
        self._tensors: Mapping[str, Any] | None = None
        self._random_states: list[np.ndarray] = []
        self._kept_at = 0.0
        self._kept_step = 0
        # Step of the epoch that Keras's first one is.
        self._first_step = 0

    @property
    def file(self) -> Path:
        """Where the state is."""
        return self.directory / _FILE

    @property
    def first_step(self) -> int:
        """Step of the epoch that Keras's first one is: more than 0 where it was interrupted."""
        return self._first_step

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            "directory": str(self.directory),
            "every_seconds": self.every_seconds,
            "every_steps": self.every_steps,
        }

    def begin(self, num_batches: int, seed: int | None) -> _Progress:
        """Returns how far training is; `fit` calls it before anything else.

        Args:
            num_batches: Batches of an epoch.
            seed: Of the order of examples; None to draw one.
        """
        self._tensors = None
        if not self.file.exists():
            seed = random.randrange(2**32) if seed is None else seed
            self._progress = _Progress(num_batches, seed)
            return self._progress
        self._tensors = read_safetensors(LocalFiles(self.directory), _FILE)
        progress = _described(self._tensors, self.file)
        if progress.num_batches != num_batches or seed not in (None, progress.seed):
            raise self._other_training(
                f"an epoch of {progress.num_batches} batches in the order of seed={progress.seed}"
            )
        self._progress = progress
        return progress

    def on_train_begin(self, logs=None):
        self._kept_at = time.monotonic()
        if self._tensors is None:
            return
        progress = self._known_progress
        self._restore_variables(self._tensors)
        names = [type(callback).__name__ for callback in self._others]
        if names != [name for name, _ in progress.callbacks]:
            raise self._other_training(f"the callbacks {[name for name, _ in progress.callbacks]}")
        for i, (callback, (_, state)) in enumerate(
            zip(self._others, progress.callbacks, strict=True)
        ):
            for name, value in state.items():
                is_list = isinstance(value, Mapping)
                value = _arrays(self._tensors, f"callbacks/{i}/{name}") if is_list else value
                setattr(callback, name, value)
        self.model.history.history = {n: list(values) for n, values in progress.history.items()}
        self.model.history.epoch = list(range(progress.epoch))

    def on_epoch_begin(self, epoch, logs=None):
        progress = self._known_progress
        is_same = progress.epoch == epoch
        self._first_step = self._kept_step = progress.step if is_same else 0
        progress.epoch, progress.step = epoch, self._first_step
        if self._tensors is None:
            if not self.file.exists():
                # The random numbers that training begins with.
                self._keep()
            return
        # Keras has reset the metrics, and may have read a batch.
        if progress.step:
            _assign(self.model.metrics_variables, _arrays(self._tensors, "metrics"))
        _set_random_state(progress, self._tensors)
        self._random_states = _arrays(self._tensors, "random_states")
        self._tensors = None
        if not progress.step:
            self._set_random_states()

    def on_train_batch_begin(self, batch, logs=None):
        # In the midst of an epoch not before: PyTorch's loader has drawn a number.
        self._set_random_states()

    def on_train_batch_end(self, batch, logs=None):
        progress = self._known_progress
        # Keras counts to the last step of several that it runs at once.
        progress.step = self._first_step + batch + 1
        if progress.step >= progress.num_batches:
            # Kept once the epoch has ended: there is nothing to train between.
            return
        num_steps = progress.step - self._kept_step
        is_due = self.every_steps is not None and num_steps >= self.every_steps
        if is_due or time.monotonic() - self._kept_at >= self.every_seconds:
            self._keep()

    def on_epoch_end(self, epoch, logs=None):
        progress = self._known_progress
        progress.epoch, progress.step = epoch + 1, 0
        progress.is_stopping = self.model.stop_training
        self._keep()

    def on_train_end(self, logs=None):
        progress = self._known_progress
        progress.is_stopping, progress.finished_epochs = False, self.params["epochs"]
        self._keep()

    @property
    def _known_progress(self) -> _Progress:
        if self._progress is None:
            raise ConfigError("`Resumable` is for `fit` of Clozework's tasks.")
        return self._progress

    def _set_random_states(self) -> None:
        set_random_states(self._random_states)
        self._random_states = []

    def _keep(self) -> None:
        """Writes the state, and then lets it take the place of the last one."""
        progress = self._known_progress
        if getattr(self.model.optimizer, "use_ema", False):
            raise ConfigError("`Resumable` does not keep the averages of `use_ema=True`.")
        tensors = _named("variables", _values(_variables(self.model)))
        tensors |= _named("metrics", _values(self.model.metrics_variables))
        progress.callbacks = []
        for i, callback in enumerate(self._others):
            state, arrays = _state_of(callback)
            progress.callbacks.append((type(callback).__name__, state))
            for name, values in arrays.items():
                tensors |= _named(f"callbacks/{i}/{name}", values)
        progress.history = _plain_numbers(self.model.history.history)
        progress.python_random = random.getstate()
        name, keys, *rest = np.random.get_state()
        progress.numpy_random = [name, *rest]
        tensors["numpy_random"] = np.asarray(keys)
        text = json.dumps(asdict(progress)).encode()
        tensors |= _named("random_states", random_states())
        tensors[_DESCRIPTION] = np.frombuffer(text, np.uint8)
        self.directory.mkdir(parents=True, exist_ok=True)
        partial = self.file.with_suffix(".partial")
        write_safetensors(partial, tensors)
        with partial.open("rb+") as stream:
            os.fsync(stream.fileno())
        partial.replace(self.file)
        self._kept_at, self._kept_step = time.monotonic(), progress.step

    def _restore_variables(self, tensors) -> None:
        variables, kept = _variables(self.model), _arrays(tensors, "variables")
        shapes, kept_shapes = ([tuple(x.shape) for x in values] for values in (variables, kept))
        if shapes != kept_shapes:
            raise self._other_training("another model, or another optimizer")
        _assign(variables, kept)

    def _other_training(self, what: str) -> ConfigError:
        return ConfigError(
            f"The state in {self.file} is of another training: of {what}. Train as before, choose "
            f"another directory, or delete the file to begin anew."
        )


class _JoinedCallbacks(keras.callbacks.CallbackList):
    """Callbacks of several calls of Keras's `fit` that are one training to them."""

    has_begun = False
    is_last = False

    def on_train_begin(self, logs=None):
        if not self.has_begun:
            self.has_begun = True
            super().on_train_begin(logs)

    def on_train_end(self, logs=None):
        if self.is_last:
            super().on_train_end(logs)

    def end(self) -> None:
        """Ends the training, where Keras does not."""
        self.is_last = True
        self.on_train_end()


def fit_resumably(
    model,
    fit: Callable,
    batches: Batches,
    *,
    seed: int | None,
    epochs: int,
    callbacks=None,
    initial_epoch: int = 0,
    verbose="auto",
    steps_per_epoch: int | None = None,
    **options,
):
    """Trains a model, with a `Resumable` from where its state says on; returns Keras's `History`.

    Keras begins with whole epochs only, so that the rest of one is a training of its own.

    Args:
        model: The task.
        fit: Keras's `fit` of the model.
        batches: Of the examples.
        seed: Of the order of the examples; None for the one that was kept, or any.
        epochs, callbacks, initial_epoch, verbose, steps_per_epoch: As in `fit`.
        **options: Of `fit`.

    Raises:
        ConfigError: If the state is of another training, or batches cannot be had again.
    """
    resumable = _resumable_among(callbacks)
    # The batches have their order already.
    options = {**options, "shuffle": False, "verbose": verbose}
    if resumable is None:
        return fit(
            made_ahead(batches),
            epochs=epochs,
            callbacks=callbacks,
            initial_epoch=initial_epoch,
            steps_per_epoch=steps_per_epoch,
            **options,
        )
    if not isinstance(batches, CollectionBatches) or batches.num_batches is None:
        raise ConfigError(
            "`Resumable` has to find the examples again where it stopped, and x is a stream. Pass "
            "a list, a column or a `PyDataset` of a known length."
        )
    if steps_per_epoch is not None:
        raise ConfigError("`Resumable` goes on with whole epochs: leave out `steps_per_epoch`.")
    progress = resumable.begin(batches.num_batches, seed)
    joined = _joined(callbacks, resumable, model, epochs, batches.num_batches, verbose)
    step = progress.step if progress.epoch >= initial_epoch else 0
    parts = _parts(max(progress.epoch, initial_epoch), step, epochs)
    is_finished = epochs <= progress.finished_epochs
    if is_finished or progress.is_stopping or not parts:
        model.optimizer.build(model.trainable_variables)
        joined.on_train_begin()
        if not is_finished:
            joined.end()
        return model.history
    for first_epoch, first_step, end in parts:
        batches.start_at(first_epoch, progress.seed)
        part = batches.rest_of_epoch(first_step) if first_step else batches
        joined.is_last = end == epochs
        fit(part, epochs=end, initial_epoch=first_epoch, callbacks=joined, **options)
        if model.stop_training:
            break
    if not joined.is_last:
        joined.end()
    return model.history


def _joined(
    callbacks, resumable: Resumable, model, epochs: int, num_batches: int, verbose
) -> _JoinedCallbacks:
    """Returns all callbacks, the `Resumable` behind the others, whose state it keeps."""
    resumable._others = [callback for callback in callbacks if callback is not resumable]
    joined = _JoinedCallbacks(
        [*resumable._others, resumable],
        add_history=True,
        add_progbar=verbose != 0,
        verbose=verbose,
        epochs=epochs,
        steps=num_batches,
        model=model,
    )
    joined.callbacks.remove(resumable)
    joined.callbacks.append(resumable)
    return joined


def _resumable_among(callbacks) -> Resumable | None:
    """Returns the `Resumable` among callbacks, if there is one.

    Raises:
        ConfigError: If there are several.
    """
    if not isinstance(callbacks, list | tuple):
        return None
    found = [callback for callback in callbacks if isinstance(callback, Resumable)]
    if len(found) > 1:
        raise ConfigError("There are several `Resumable` callbacks; training has one state.")
    return found[0] if found else None


def _parts(epoch: int, step: int, epochs: int) -> list[tuple[int, int, int]]:
    """Returns the first epoch, the first step in it and the end of what is to be trained.

    Example:
    >>> _parts(1, 30, 4), _parts(2, 0, 4), _parts(3, 30, 4), _parts(4, 0, 4)
    ([(1, 30, 2), (2, 0, 4)], [(2, 0, 4)], [(3, 30, 4)], [])
    """
    parts = [(epoch, step, epoch + 1)] if step else []
    first = epoch + bool(step)
    return [*parts, (first, 0, epochs)] if first < epochs else parts


def _variables(model) -> list:
    return [
        *model.trainable_variables,
        *model.non_trainable_variables,
        *model.optimizer.variables,
    ]


def _values(variables) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(variable.value) for variable in variables]


def _assign(variables, values) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _named(name: str, values: Iterable) -> dict[str, np.ndarray]:
    return {f"{name}/{i}": np.asarray(value) for i, value in enumerate(values)}


def _arrays(tensors: Mapping[str, Any], name: str) -> list[np.ndarray]:
    """Returns what `_named` named."""
    count = sum(key.startswith(f"{name}/") for key in tensors)
    return [tensors[f"{name}/{i}"].read() for i in range(count)]


def _state_of(callback) -> tuple[dict[str, Any], dict[str, list]]:
    """Returns the attributes of a callback that are numbers, texts or lists of arrays.

    In place of a list of arrays stands a dict, which says how many there are.
    """
    state: dict[str, Any] = {}
    arrays: dict[str, list] = {}
    for name, value in vars(callback).items():
        value = value.item() if isinstance(value, np.generic) else value
        if name.startswith("_") or name == "params":
            continue
        if value is None or isinstance(value, bool | int | float | str):
            state[name] = value
        elif isinstance(value, list) and value and all(isinstance(x, np.ndarray) for x in value):
            state[name], arrays[name] = {"arrays": len(value)}, value
    return state, arrays


def _described(tensors: Mapping[str, Any], file: Path) -> _Progress:
    try:
        content = json.loads(tensors[_DESCRIPTION].read().tobytes())
        known = content.pop("format") == _FORMAT
        progress = _Progress(**content)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PresetError(f"{file} is no state of training. Delete it to begin anew.") from error
    if not known:
        raise PresetError(
            f"{file} was written by another version of Clozework. Go on with that, or delete it."
        )
    return progress


def _set_random_state(progress: _Progress, tensors: Mapping[str, Any]) -> None:
    version, keys, gauss = progress.python_random
    random.setstate((version, tuple(keys), gauss))
    name, *rest = progress.numpy_random
    np.random.set_state((name, tensors["numpy_random"].read(), *rest))


def _plain_numbers(history: Mapping[str, list]) -> dict[str, list[float]]:
    return {name: [float(value) for value in values] for name, values in history.items()}
