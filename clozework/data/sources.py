"""Where the batches of a `CollectionBatches` come from."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import keras
import numpy as np

from clozework.data.examples import Examples
from clozework.data.streams import read_batch
from clozework.errors import InputError

__all__ = ["BatchSource", "CollectionSource", "PyDatasetSource"]


class BatchSource(Protocol):
    """Batches by number, in an order that the caller keeps.

    num_batches: how many there are; None without end.
    num_examples: how many examples they hold; None if not known.
    order_size: how many things an order is about: examples or batches; None without end.
    has_labels: whether labels come with the examples.
    is_at_hand: whether batches can be made at any time, and in vain.
    """

    is_at_hand: bool

    @property
    def num_batches(self) -> int | None: ...

    @property
    def num_examples(self) -> int | None: ...

    @property
    def order_size(self) -> int | None: ...

    @property
    def has_labels(self) -> bool: ...

    def batch(self, index: int, order: np.ndarray | None) -> tuple:
        """Returns `(x, y, sample_weight)` of one batch."""
        ...

    def examples(self) -> Iterator[Examples]:
        """Goes through all examples once, batch by batch or at once."""
        ...

    def some_features(self, most: int) -> Sequence[Any]:
        """Returns x of up to `most` examples from beginning to end, as a batch holds it.

        None where examples would have to be read first.
        """
        ...

    def known_labels(self) -> Any:
        """Returns all labels if they are at hand, else None."""
        ...

    def on_epoch_begin(self) -> None: ...

    def on_epoch_end(self) -> None: ...


class CollectionSource:
    """Batches of a collection: the order is one of examples."""

    is_at_hand = True

    def __init__(self, examples: Examples, batch_size: int):
        self._examples = examples
        self._batch_size = batch_size
        self.num_examples = self.order_size = len(examples)
        self.num_batches = -(-len(examples) // batch_size)
        self.has_labels = examples.labels is not None

    def batch(self, index: int, order: np.ndarray | None) -> tuple:
        assert order is not None
        start = index * self._batch_size
        return self._examples.take(order[start : start + self._batch_size].tolist())

    def examples(self) -> Iterator[Examples]:
        yield self._examples

    def some_features(self, most: int) -> Sequence[Any]:
        count = min(most, len(self._examples))
        places = np.linspace(0, len(self._examples), count, endpoint=False).astype(int)
        return self._examples.features.take(places.tolist())

    def known_labels(self) -> Any:
        return None if self._examples.labels is None else self._examples.labels.all()

    def on_epoch_begin(self) -> None:
        pass

    def on_epoch_end(self) -> None:
        pass


class PyDatasetSource:
    """Batches of a user's `PyDataset`: the order is one of batches."""

    is_at_hand = False
    num_examples = None

    def __init__(self, dataset: keras.utils.PyDataset, *, is_text: bool):
        self._dataset = dataset
        self._is_text = is_text
        self.num_batches = self.order_size = dataset.num_batches
        self.has_labels = self._read(0).labels is not None

    def batch(self, index: int, order: np.ndarray | None) -> tuple:
        return self._read(index if order is None else int(order[index])).all()

    def examples(self) -> Iterator[Examples]:
        first = self._read(0)
        if first.labels is None or first.labels.strings() is None:
            yield first
            return
        if self.num_batches is None:
            raise InputError(
                "The labels are strings and the PyDataset has no end: their names cannot be "
                "collected beforehand. Give them, label_names=[...]."
            )
        yield from itertools.chain([first], map(self._read, range(1, self.num_batches)))

    def some_features(self, most: int) -> Sequence[Any]:
        return []

    def known_labels(self) -> None:
        return None

    def on_epoch_begin(self) -> None:
        self._dataset.on_epoch_begin()

    def on_epoch_end(self) -> None:
        self._dataset.on_epoch_end()

    def _read(self, index: int) -> Examples:
        batch = self._dataset[index]
        if isinstance(batch, list) and not all(isinstance(item, (str, bytes)) for item in batch):
            # Keras takes a list for a tuple here.
            batch = tuple(batch)
        try:
            return read_batch(batch, self._is_text)
        except InputError as error:
            raise InputError(f"In batch {index} of the PyDataset: {error}") from error
