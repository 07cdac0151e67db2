"""From anything that holds examples to batches for Keras."""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import replace

import keras

from clozework.data.batches import Batches, CollectionBatches, Finish, StreamBatches
from clozework.data.columns import describe
from clozework.data.examples import read_examples
from clozework.data.sources import CollectionSource, PyDatasetSource
from clozework.data.streams import Stream, is_example, open_stream, split_element
from clozework.errors import ConfigError, InputError, NoExamplesError

__all__ = ["make_dataset"]

_DEFAULT_BATCH_SIZE = 32


def make_dataset(
    x,
    y=None,
    sample_weight=None,
    *,
    preprocess: Callable | None,
    is_text: bool,
    batch_size: int | None = None,
    shuffle: bool = False,
    seed: int | None = None,
    class_weight: Mapping[int, float] | None = None,
    epochs: int = 1,
    examples_at_once: int | None = None,
) -> Batches:
    """Returns batches for `fit`, `evaluate` or `predict` of a `keras.Model`.

    To be handed to Keras with `shuffle=False` and without `class_weight`, `batch_size`, `y` and
    `sample_weight`: all of these have been seen to.

    Args:
        x: a collection or a stream of examples; see `clozework.data`.
        y: labels: integers, vectors or strings, one for each example.
        sample_weight: weights, one for each example.
        preprocess: called with `(x, y, sample_weight)` of each batch when it is due. For text
            x is a list of `str` or of tuples of `str`, else arrays in the structure of the x
            handed in; y is an array (of `object` for strings) or None; sample_weight an array
            or None. Returns x, `(x,)`, `(x, y)` or `(x, y, sample_weight)`, of arrays.
            None leaves batches as they are.
        is_text: whether x holds texts, rather than arrays.
        batch_size: examples in a batch; 32 for examples. Batches that come from a stream stay
            as they are: giving a size for them is refused.
        shuffle: whether each epoch has another order. Streams come in their own order; of a
            `PyDataset` the batches are shuffled, as Keras does.
        seed: the same seed gives the same orders; None draws one from Python's `random`, which
            `keras.utils.set_random_seed` governs.
        class_weight: weight of each class id (1 where absent), applied after `preprocess`.
        epochs: how often the data will be read; an iterator allows 1. (1 also where
            `steps_per_epoch` is given: Keras then goes on in one and the same pass.)
        examples_at_once: examples in a batch, where the caller makes batches of its own from these;
            `batch_size` is then refused where it would be, and else left to the caller.

    Raises `InputError` for what cannot be read, before anything is computed;
        `NoExamplesError` where there is nothing at all.

    >>> batches = make_dataset(["a", "bc"], [0, 1], preprocess=None, is_text=True)
    >>> batches[0]
    (['a', 'bc'], array([0, 1]))
    """
    if batch_size is not None and (not isinstance(batch_size, int) or batch_size < 1):
        raise ConfigError(f"batch_size={batch_size!r}, but a batch has at least one example.")
    finish = Finish(preprocess, class_weight)
    order = {"shuffle": shuffle, "seed": seed}
    if isinstance(x, keras.utils.PyDataset):
        _refuse_companions(x, y, sample_weight)
        _refuse_batch_size(x, batch_size)
        if x.num_batches == 0:
            raise NoExamplesError("x is a PyDataset without a single batch.")
        return CollectionBatches(PyDatasetSource(x, is_text=is_text), finish, **order)
    stream = open_stream(x)
    if stream is not None:
        _refuse_companions(x, y, sample_weight)
        if stream.is_one_shot and epochs > 1:
            raise InputError(
                f"x is an iterator ({type(x).__name__}), which can be read only once, but epochs="
                f"{epochs}. Hand in something that can be read again (a list, a dataset, an object "
                "whose __iter__ starts anew), or give steps_per_epoch."
            )
        stream, is_batched = _peek(stream, is_text)
        if is_batched:
            _refuse_batch_size(x, batch_size)
        size = None if is_batched else examples_at_once or batch_size or _DEFAULT_BATCH_SIZE
        return StreamBatches(stream, finish, is_text=is_text, batch_size=size)
    examples = read_examples(x, y, sample_weight, is_text=is_text)
    if not len(examples):
        raise NoExamplesError(f"x holds no examples: {describe(x)}.")
    size = examples_at_once or batch_size or _DEFAULT_BATCH_SIZE
    source = CollectionSource(examples, size)
    return CollectionBatches(source, finish, **order)


def _peek(stream: Stream, is_text: bool) -> tuple[Stream, bool]:
    """Returns the stream, nothing of it lost, and whether it yields batches."""
    elements = stream.start()
    try:
        first = next(elements)
    except StopIteration:
        raise NoExamplesError("x is a stream that ends before its first element.") from None
    if stream.is_one_shot:
        rest = itertools.chain([first], elements)
        stream = replace(stream, start=lambda: rest)
    if not is_text:
        return stream, True
    x, _, _ = split_element(first, is_text=is_text)
    return stream, not is_example(x)


def _refuse_companions(x, y, sample_weight) -> None:
    for name, values in (("y", y), ("sample_weight", sample_weight)):
        if values is not None:
            raise InputError(
                f"x is a stream ({type(x).__name__}), and {name} was given apart from it. A stream "
                "brings them along: (x, y) or (x, y, sample_weight) in each element."
            )


def _refuse_batch_size(x, batch_size: int | None) -> None:
    if batch_size is not None:
        raise InputError(
            f"batch_size={batch_size} was given, but x ({type(x).__name__}) already comes in "
            "batches. Leave batch_size out, or set it where x is made."
        )
