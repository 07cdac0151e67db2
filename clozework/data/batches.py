"""Batches that Keras iterates over."""

import contextlib
import random
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import keras
import numpy as np

# Not public, but the one way to give Keras a stream that has an end and can be read again:
# `get_data_adapter` takes instances as they are. A `PyDataset` without a length never ends, and of
# a generator Keras reads the first epoch only.
# https://github.com/keras-team/keras/blob/v3.15.0/keras/src/trainers/data_adapters/__init__.py
from keras.src.trainers.data_adapters import data_adapter_utils
from keras.src.trainers.data_adapters.data_adapter import DataAdapter

from clozework.data.examples import Examples
from clozework.data.sources import BatchSource
from clozework.data.streams import Stream, iterate_batches
from clozework.errors import InputError

__all__ = ["Batches", "CollectionBatches", "Finish", "StreamBatches", "quiet_end_of_stream"]

# More than Keras reads ahead to build a model before it begins the first epoch anew.
_MAX_REPLAYED_BATCHES = 8


@dataclass(frozen=True)
class Finish:
    """The last step to a batch: preprocessing and class weights."""

    preprocess: Callable | None
    class_weight: Mapping[int, float] | None

    def __call__(self, x, y, sample_weight) -> tuple:
        batch = (x, y, sample_weight)
        if self.preprocess is not None:
            batch = self.preprocess(*batch)
            batch = (*batch, None, None)[:3] if isinstance(batch, tuple) else (batch, None, None)
        x, y, sample_weight = batch
        if self.class_weight is not None:
            is_of_tokens = _is_of_tokens(y, sample_weight)
            if sample_weight is not None and not is_of_tokens:
                raise InputError(
                    "Both sample_weight and class_weight were given, or class_weight for a task "
                    "that weights its labels itself. Multiply them into one sample_weight."
                )
            weights = _class_weights(y, self.class_weight, is_of_tokens=is_of_tokens)
            sample_weight = weights * sample_weight if is_of_tokens else weights
        if sample_weight is not None:
            return x, y, sample_weight
        return (x,) if y is None else (x, y)


class CollectionBatches(keras.utils.PyDataset):
    """Batches of a collection, or of a `PyDataset`: any batch at any time.

    num_batches: how many batches make an epoch; None if a `PyDataset` has no end.
    num_examples: how many examples; None if not known.
    has_labels: whether labels come with the examples.
    """

    def __init__(self, source: BatchSource, finish: Finish, *, shuffle: bool, seed: int | None):
        super().__init__()
        self._source = source
        self._finish = finish
        self._seed = _seed(seed) if shuffle else None
        self.start_at(0, self._seed)
        self.num_examples = source.num_examples
        self.has_labels = source.has_labels

    @property
    def num_batches(self) -> int | None:
        return self._source.num_batches

    def __len__(self) -> int:
        if self.num_batches is None:
            raise TypeError("This PyDataset has no end: give steps_per_epoch.")
        return self.num_batches

    def __getitem__(self, index: int) -> tuple:
        if self.num_batches is not None and not 0 <= index < self.num_batches:
            raise IndexError(f"There is no batch {index} among {self.num_batches}.")
        # An epoch begins with its first batch, not with `on_epoch_begin`: given `steps_per_epoch`,
        # Keras goes on with the order of one epoch in what it calls the next.
        if index == 0:
            self._epoch += 1
            self._order = self._epoch_order(self._epoch)
        return self.batch(index)

    def batch(self, index: int) -> tuple:
        """Returns a batch in the order of this epoch."""
        return self._finish(*self._source.batch(index, self._order))

    def start_at(self, epoch: int, seed: int | None) -> None:
        """Makes an epoch the next one, in its order by a seed, where there is another each time."""
        self._seed = None if self._seed is None else seed
        self._first_epoch = epoch
        self._epoch = epoch - 1
        self._order = self._epoch_order(epoch)
        self._has_begun = False

    def rest_of_epoch(self, start: int) -> "_RestOfEpoch":
        """Returns the batches of the next epoch from one on."""
        return _RestOfEpoch(self, start)

    def made_ahead(self) -> "_BatchesAhead | CollectionBatches":
        """Returns the same batches, each of which is made while the one before it is used.

        Those of a `PyDataset` stay as they are: making one in vain might change it.
        """
        return _BatchesAhead(self) if self._source.is_at_hand else self

    def on_epoch_begin(self) -> None:
        self._source.on_epoch_begin()

    def on_epoch_end(self) -> None:
        # Keras calls this first before any epoch, when it may have read a batch to build the model.
        if not self._has_begun:
            self._has_begun = True
            self._epoch = self._first_epoch - 1
        self._source.on_epoch_end()

    def distinct_labels(self) -> list[str] | None:
        """Returns the sorted distinct labels if they are strings, else None."""
        return _distinct(self._source.examples())

    def some_features(self, most: int) -> Sequence:
        """Returns x of up to `most` examples as a batch holds it; none that are not at hand."""
        return self._source.some_features(most)

    def known_labels(self):
        """Returns all labels if they are at hand, else None."""
        return self._source.known_labels()

    def weigh_classes(self, class_weight: Mapping[int, float]) -> None:
        """Sets the weight of each class number; see `make_dataset`."""
        self._finish = replace(self._finish, class_weight=class_weight)

    def _epoch_order(self, epoch: int) -> np.ndarray | None:
        if self._source.order_size is None:
            return None
        if self._seed is None:
            return np.arange(self._source.order_size)
        return np.random.default_rng((self._seed, epoch)).permutation(self._source.order_size)


class _RestOfEpoch(keras.utils.PyDataset):
    """The last batches of an epoch."""

    def __init__(self, batches: CollectionBatches, start: int):
        super().__init__()
        self._batches = batches
        self._start = start

    def __len__(self) -> int:
        return len(self._batches) - self._start

    def __getitem__(self, index: int) -> tuple:
        return self._batches.batch(self._start + index)


class _BatchesAhead(keras.utils.PyDataset):
    """The batches of a collection, of which a thread makes the next one meanwhile."""

    def __init__(self, batches: CollectionBatches):
        super().__init__()
        self._batches = batches
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="clozework-batches-ahead")
        self._coming: dict[int, Future] = {}

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, index: int) -> tuple:
        coming = self._coming.pop(index, None)
        self._wait()
        batch = self._batches[index] if coming is None else coming.result()
        if index + 1 < len(self):
            self._coming[index + 1] = self._thread.submit(self._batches.__getitem__, index + 1)
        return batch

    def on_epoch_begin(self) -> None:
        self._batches.on_epoch_begin()

    def on_epoch_end(self) -> None:
        # What comes next may have another order.
        self._wait()
        self._batches.on_epoch_end()

    def some_features(self, most: int) -> Sequence:
        """See `CollectionBatches.some_features`."""
        return self._batches.some_features(most)

    def _wait(self) -> None:
        """Forgets a batch that was made in vain; its error, if any, would come when it is due."""
        for coming in self._coming.values():
            coming.exception()
        self._coming.clear()


class StreamBatches(DataAdapter):
    """Batches of a stream, one pass an epoch. Attributes as in `CollectionBatches`."""

    def __init__(self, stream: Stream, finish: Finish, *, is_text: bool, batch_size: int | None):
        """Args:
        stream: what to read.
        finish: the last step to a batch.
        is_text: whether the stream holds texts.
        batch_size: how many examples make a batch; None for a stream of batches.
        """
        self._stream = stream
        self._finish = finish
        self._is_text = is_text
        self._batch_size = batch_size
        self._once = _ReadOnce(self._pass()) if stream.is_one_shot else None
        self.num_examples = None if batch_size is None else stream.num_elements
        first = self._first_batch()
        self.has_labels = first.labels is not None
        self._has_string_labels = first.labels is not None and first.labels.strings() is not None

    @property
    def is_one_shot(self) -> bool:
        """Whether the stream can be read only once."""
        return self._stream.is_one_shot

    @property
    def num_batches(self) -> int | None:
        count = self._stream.num_elements
        if count is None or self._batch_size is None:
            return count
        return -(-count // self._batch_size)

    @property
    def batch_size(self) -> int | None:
        return self._batch_size

    def __iter__(self) -> Iterator[tuple]:
        batches = self._pass() if self._once is None else self._once.batches()
        for examples in batches:
            yield self._finish(*examples.all())

    def get_numpy_iterator(self) -> Iterator:
        return data_adapter_utils.get_numpy_iterator(self)

    def get_jax_iterator(self) -> Iterator:
        return data_adapter_utils.get_jax_iterator(self)

    def get_torch_dataloader(self):
        return data_adapter_utils.get_torch_dataloader(self)

    def on_epoch_end(self) -> None:
        if self._once is not None:
            self._once.stop_replaying()

    def distinct_labels(self) -> list[str] | None:
        """Returns the sorted distinct labels if they are strings, else None.

        Reads the stream once, unless the first labels are no strings. Raises `InputError` for
        strings from an iterator, which could not be read again.
        """
        if not self._has_string_labels:
            return None
        if self.is_one_shot:
            raise InputError(
                "The labels are strings and x is an iterator, which can be read only once: their "
                "names cannot be collected beforehand. Give them, label_names=[...], or hand in "
                "something that can be read again: a list, a dataset."
            )
        return _distinct(self._pass())

    def some_features(self, most: int) -> Sequence:
        """Returns none: examples come one after another."""
        return []

    def known_labels(self) -> None:
        """Returns None: labels come one after another."""

    def made_ahead(self) -> "StreamBatches":
        """Returns the same: what was read in vain would be lost to whoever reads on."""
        return self

    def weigh_classes(self, class_weight: Mapping[int, float]) -> None:
        """Sets the weight of each class number; see `make_dataset`."""
        self._finish = replace(self._finish, class_weight=class_weight)

    def _pass(self) -> Iterator[Examples]:
        return iterate_batches(
            self._stream.start(), is_text=self._is_text, batch_size=self._batch_size
        )

    def _first_batch(self) -> Examples:
        return next(self._pass()) if self._once is None else self._once.first()


Batches = CollectionBatches | StreamBatches


class _ReadOnce:
    """Reads an iterator once, except that the first batches are there again after a false start.

    Keras reads a batch or two to build a model, and begins anew for the first epoch.
    """

    def __init__(self, batches: Iterator[Examples]):
        self._rest = batches
        self._replayed: list[Examples] = []
        self._is_replaying = True
        self._has_ended = False

    def first(self) -> Examples:
        batch = next(self._rest)
        self._replayed.append(batch)
        return batch

    def stop_replaying(self) -> None:
        """What is read from now on will not be there again."""
        self._is_replaying = False

    def batches(self) -> Iterator[Examples]:
        if self._has_ended and not self._replayed:
            raise InputError(
                "x is an iterator that has been read to its end: there is nothing left for another "
                "epoch. Hand in a list or a dataset, which can be read again."
            )
        replayed = self._replayed
        if not self._is_replaying:
            self._replayed = []
        yield from list(replayed)
        for batch in self._rest:
            if self._is_replaying:
                self._replayed.append(batch)
                if len(self._replayed) > _MAX_REPLAYED_BATCHES:
                    self._is_replaying, self._replayed = False, []
            yield batch
        self._has_ended = True


@contextlib.contextmanager
def quiet_end_of_stream(*datasets: Batches | None):
    """Within it Keras does not warn that a stream of unknown length has an end.

    For `fit` without `steps_per_epoch`, `evaluate` and `predict` without `steps`. Nothing
    changes where the length of all datasets is known.
    """
    with warnings.catch_warnings():
        if any(data is not None and data.num_batches is None for data in datasets):
            warnings.filterwarnings("ignore", message="Your input ran out of data")
        yield


def _distinct(batches: Iterator[Examples]) -> list[str] | None:
    """Returns the sorted distinct labels, or None where some are no strings."""
    found: set[str] = set()
    for examples in batches:
        labels = None if examples.labels is None else examples.labels.strings()
        if labels is None:
            return None
        found.update(labels)
    return sorted(found) or None


def _seed(seed: int | None) -> int:
    return random.randrange(2**32) if seed is None else seed


def _is_of_tokens(y, sample_weight) -> bool:
    """Tells whether each label of a row has a weight of its own, as those of tokens have."""
    arrays = isinstance(y, np.ndarray) and isinstance(sample_weight, np.ndarray)
    return arrays and y.ndim == 2 and y.shape == sample_weight.shape


def _class_weights(y, class_weight: Mapping[int, float], *, is_of_tokens: bool) -> np.ndarray:
    """Returns the weight of the class of each example, or of each token.

    Of an example's vector, the greatest entry is the class.
    """
    if not isinstance(y, np.ndarray):
        raise InputError("class_weight was given, but there are no labels: give y.")
    is_vector = y.ndim > 1 and y.shape[-1] > 1 and not is_of_tokens
    classes = y.argmax(axis=-1) if is_vector else y.reshape(-1)
    weights = [class_weight.get(round(label), 1.0) for label in classes.tolist()]
    weights = np.asarray(weights, dtype=keras.config.floatx())
    return weights.reshape(y.shape) if is_of_tokens else weights
