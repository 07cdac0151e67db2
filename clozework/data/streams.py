"""Streams: data that comes one after another, as examples or as batches."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass

import keras
import numpy as np

from clozework.data import tensorflow
from clozework.data.columns import ITERATED_KINDS, as_list, describe, is_text, kind_of
from clozework.data.examples import Examples, read_examples, read_row
from clozework.errors import InputError

__all__ = ["Stream", "is_example", "iterate_batches", "open_stream", "split_element"]


@dataclass(frozen=True)
class Stream:
    """Something that yields elements: examples or batches.

    start: begins a pass and returns its iterator.
    num_elements: how many elements a pass has; None if that is not known beforehand.
    is_one_shot: whether there is one pass only.
    """

    start: Callable[[], Iterator]
    num_elements: int | None = None
    is_one_shot: bool = False


def open_stream(x) -> Stream | None:
    """Returns `x` as a stream, or None if it is a collection (or nothing that can be read).

    Raises `InputError` for a set, whose order changes from run to run.
    """
    if tensorflow.is_dataset(x):
        return Stream(lambda: tensorflow.elements(x), tensorflow.num_elements(x))
    kind = kind_of(x)
    if kind == "torch.DataLoader":
        return _torch_loader(x)
    if kind == "torch.Dataset":
        return Stream(lambda: (x[i] for i in range(len(x))), len(x))
    if kind in ITERATED_KINDS:
        # A length, where there is one, counts elements that a filter will leave out.
        return Stream(lambda: iter(x))
    if isinstance(x, Iterator):
        return Stream(lambda: x, is_one_shot=True)
    if isinstance(x, (set, frozenset)):
        raise InputError("x is a set, which has no order. Hand in a list: sorted(x), for instance.")
    if _is_collection(x) or not isinstance(x, Iterable):
        return None
    return Stream(lambda: iter(x), len(x) if isinstance(x, Sized) else None)


def _is_collection(x) -> bool:
    """Tells whether x gives any of its examples at any time, or is no data at all."""
    if isinstance(x, (str, bytes, Mapping, Sequence)) or tensorflow.is_tensor(x):
        return True
    return kind_of(x) is not None or keras.ops.is_tensor(x)


def split_element(element, *, is_text: bool) -> tuple:
    """Returns `(x, y, sample_weight)` of what a stream yields, by Keras's convention."""
    if is_text and isinstance(element, Mapping):
        return read_row(dict(element))
    if not isinstance(element, tuple):
        return element, None, None
    if not 1 <= len(element) <= 3:
        raise InputError(
            f"A tuple of {len(element)} was yielded, {describe(element)}. Expected x, (x,), (x, y) "
            "or (x, y, sample_weight), where x may itself be a tuple of texts."
        )
    return (*element, None, None)[:3]


def is_example(x) -> bool:
    """Tells whether x of one element is one example, rather than a batch."""
    return is_text(x) or (isinstance(x, tuple) and bool(x) and all(map(is_text, x)))


def iterate_batches(
    elements: Iterable, *, is_text: bool, batch_size: int | None
) -> Iterator[Examples]:
    """Reads elements into batches.

    Args:
        elements: examples or batches, not both.
        is_text: whether they are texts.
        batch_size: how many examples to put together; None if the elements are batches.

    Raises `InputError` for an element that cannot be read, with its number.
    """
    if batch_size is None:
        for number, element in enumerate(elements):
            yield _in_place(f"batch {number}", lambda element=element: read_batch(element, is_text))
        return
    iterator = iter(elements)
    for number in itertools.count():
        rows = list(itertools.islice(iterator, batch_size))
        if not rows:
            return
        first = number * batch_size
        place = f"the examples from number {first} (here x[0])"
        yield _in_place(place, lambda rows=rows: _together(rows))


def read_batch(element, is_text: bool) -> Examples:
    """Reads one element that is a batch."""
    x, y, sample_weight = split_element(element, is_text=is_text)
    if is_text and is_example(x):
        raise InputError(f"{describe(x)} is one example, where a batch (a list) was expected.")
    examples = read_examples(x, y, sample_weight, is_text=is_text)
    if not len(examples):
        raise InputError("The batch is empty, where one example at least was expected.")
    return examples


def _together(elements: list) -> Examples:
    """Reads elements that are one example each."""
    rows = [split_element(element, is_text=True) for element in elements]
    for i, (x, _, _) in enumerate(rows):
        if as_list(x) is not None and not is_example(x):
            raise InputError(
                f"x[{i}] is a batch, {describe(x)}, while the stream began with single examples."
            )
    texts, labels, weights = (list(column) for column in zip(*rows, strict=True))
    return read_examples(texts, _or_none(labels), _or_none(weights), is_text=True)


def _or_none(column: list) -> list | None:
    return None if all(item is None for item in column) else column


def _in_place(place: str, read: Callable[[], Examples]) -> Examples:
    try:
        return read()
    except InputError as error:
        raise InputError(f"In {place} of the stream: {error}") from error


def _torch_loader(loader) -> Stream:
    collated = loader.collate_fn.__module__.startswith("torch.")

    def start() -> Iterator:
        return map(_uncollated, loader) if collated else iter(loader)

    # The length of a loader over an iterable dataset is a guess, says its documentation.
    is_iterated = kind_of(loader.dataset) in ITERATED_KINDS
    return Stream(start, None if is_iterated else len(loader))


def _uncollated(element):
    """Undoes what torch's default collation does to tuples.

    It makes lists of tuples, so that (texts, labels) comes as a list and pairs of texts as a list
    of two columns: https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.default_collate
    """
    if isinstance(element, dict):
        return {key: _uncollated_part(value) for key, value in element.items()}
    if not isinstance(element, list) or all(map(is_text, element)):
        return element
    x, *rest = map(_uncollated_part, element)
    if rest and isinstance(x, list) and not isinstance(rest[0], (list, tuple)):
        # One label, so that this is a pair of texts: a loader without batches makes lists, too.
        x = tuple(x) if np.ndim(rest[0]) == 0 else x
    return (x, *rest)


def _uncollated_part(part):
    if isinstance(part, tuple) and all(map(is_text, part)):
        return list(part)
    if isinstance(part, list) and not all(map(is_text, part)):
        return tuple(map(_uncollated_part, part))
    return part
