"""How tasks compute on texts that share rows; see `clozework.data.packed_rows`."""

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from clozework.backend import has_accelerator, num_open_axes, tokens_at_once
from clozework.data import FIRST_TOKENS, PackedRows, StreamBatches, plan_batch, plan_steps
from clozework.layers import query_tokens
from clozework.reading_ahead import read_ahead
from clozework.tasks.padding import without_needless_padding
from clozework.tasks.recorded_model import RecordedModel

__all__ = [
    "TEXTS_AT_ONCE",
    "batches_of",
    "first_tokens_of",
    "first_vectors",
    "made_ahead",
    "outputs_of_padded",
    "outputs_of_texts",
    "packed_batch",
    "packed_vectors",
    "pooled_texts",
    "predict_packed",
    "text_lengths",
    "vectors_at",
]

# So many texts are read and tokenised together: enough to find a text for each gap in a row, and
# few enough for memory, and for a device that waits for the first of them.
TEXTS_AT_ONCE = 1024
# Of how many texts the lengths are known before the first batch of training is planned.
_MOST_MEASURED = 1024
# Of the shapes of batches in training: while XLA compiles one for a GPU, thousands of steps could
# be computed. With 2 there would be as many shapes, most of the time, and more padding.
_GROWTH_ON_ACCELERATORS = 1.6


def packed_vectors(backbone, inputs: Mapping[str, Any]):
    """Returns the vectors of the tokens of packed rows, `(rows, tokens, hidden_dim)`."""
    own = {name: inputs[name] for name in backbone.input_names}
    return backbone.token_vectors(backbone(own))


def first_tokens_of(inputs: Mapping[str, Any]):
    """Returns where the text of each slot of packed rows begins, `(slots,)`, through all rows."""
    return ops.reshape(inputs[FIRST_TOKENS], (-1,))


def first_vectors(backbone, inputs: Mapping[str, Any]):
    """Returns the vectors of the first tokens of packed texts, `(slots, hidden_dim)`.

    The backbone's last block computes no others, where it has far fewer than tokens to compute.
    """
    first_tokens, (rows, tokens) = inputs[FIRST_TOKENS], inputs["padding_mask"].shape
    # Texts in their order, which may lie in any of the rows, attend to all of these.
    is_joined = len(first_tokens.shape) == 1
    positions = ops.expand_dims(first_tokens, 0) if is_joined else first_tokens
    block, slots = backbone.last_block, positions.shape[1]
    # Numbers that a program leaves open are not known, and rows of such a number make one of any
    # length, which not each block can tell the places in.
    has_unknown_places = is_joined and rows is None and not backbone.has_open_row_length
    are_most_read = None not in (slots, tokens) and slots > tokens // 2
    if block is None or has_unknown_places or are_most_read:
        return vectors_at(packed_vectors(backbone, inputs), first_tokens_of(inputs))
    with query_tokens(block, positions):
        vectors = packed_vectors(backbone, inputs)
    return ops.reshape(vectors, (-1, vectors.shape[-1]))


def pooled_texts(task, inputs: Mapping[str, Any]):
    """Returns what a task's `pooling` makes of packed texts, `(slots, hidden_dim)`."""
    if task.pooling.mode == "cls":
        return first_vectors(task.backbone, inputs)
    vectors = packed_vectors(task.backbone, inputs)
    return task.pooling.pool_packed(vectors, inputs["padding_mask"], first_tokens_of(inputs))


def vectors_at(vectors, positions):
    """Returns some of the vectors of packed rows, counted through all rows.

    Args:
        vectors: `(rows, tokens, hidden_dim)`.
        positions: `(texts,)`.

    Returns:
        `(texts, hidden_dim)`.
    """
    return ops.take(ops.reshape(vectors, (-1, vectors.shape[-1])), positions, axis=0)


def text_lengths(arrays: Mapping[str, np.ndarray]) -> list[int]:
    """Returns the number of tokens of each text of arrays that are not packed."""
    return np.asarray(arrays["padding_mask"]).astype(bool).sum(axis=1).tolist()


def packed_batch(
    task, arrays: Mapping[str, np.ndarray], *, has_one_length: bool = False
) -> PackedRows:
    """Returns where to pack the texts of one batch, all of them at once; see `plan_batch`."""
    return plan_batch(
        text_lengths(arrays),
        longest_text=np.shape(arrays["padding_mask"])[1],
        longest_row=task.backbone.longest_row,
        has_one_length=has_one_length or num_open_axes() == 1,
        growth=_GROWTH_ON_ACCELERATORS if has_accelerator() else 1.0,
        usual_lengths=task.usual_lengths,
        has_open_shapes=num_open_axes() > 0,
    )


@contextlib.contextmanager
def batches_of(task, dataset):
    """Within it, the batches of a task have shapes that fit the texts of a dataset.

    Texts of which nothing is known before they are read get the usual shapes; so do those for an
    accelerator, whose programs take long to compile, and are there already if other texts had the
    same shapes. Where any shape will do, nothing has to be known.
    """
    lengths, others = (), task.usual_lengths
    is_measured = not (has_accelerator() or num_open_axes())
    if is_measured and task.preprocessor is not None and task.packs_texts:
        texts = dataset.some_features(_MOST_MEASURED)
        if len(texts):
            lengths = tuple(task.token_counts(texts).tolist())
    task.usual_lengths = lengths
    try:
        yield
    finally:
        task.usual_lengths = others


def made_ahead(dataset):
    """Returns the batches of a dataset for Keras's trainer, which asks for one after another.

    While an accelerator computes, a thread makes the next one, and the trainer's own starts what is
    to be computed. A CPU would have the same to do. A thread does not know the distribution over
    devices, which tells how texts are packed.
    """
    is_idle = has_accelerator() and keras.distribution.distribution() is None
    return dataset.made_ahead() if is_idle else dataset


def outputs_of_texts(
    task, arrays: Mapping[str, np.ndarray], batch_size: int | None
) -> list[np.ndarray]:
    """Returns the outputs for each text of arrays that are not packed, in their order.

    Args:
        task: A task that `packs_texts`.
        arrays: Inputs `(texts, tokens)`.
        batch_size: As many rows of the arrays are the most that is computed at once; None for as
            many as keep the machine busy.
    """
    return _outputs(task, [arrays], batch_size, on_step=lambda num_texts: None)


def _outputs(
    task,
    several: Iterable[Mapping[str, np.ndarray]],
    batch_size: int | None,
    on_step: Callable[[int], None],
) -> list[np.ndarray]:
    """Returns the outputs for the texts of several arrays, one after another.

    An accelerator has the next two steps before the outputs of one are waited for: with one,
    it would have nothing to compute whenever planning takes longer than a step.
    """
    num_ahead = 2 if has_accelerator() else 0
    outputs: dict[int, np.ndarray] = {}
    started: deque[tuple[np.ndarray, PackedRows, Any]] = deque()

    def finish() -> None:
        numbers, step, values = started.popleft()
        values = ops.convert_to_numpy(values)
        for i, text in enumerate(step.texts):
            outputs[int(numbers[text])] = task.output_of_text(values, step, i)
        on_step(len(step.texts))

    for arrays, numbers, step in _steps(task, several, batch_size):
        started.append((numbers, step, task.start_packed(step.pack(arrays))))
        if len(started) > num_ahead:
            finish()
    while started:
        finish()
    return [outputs[number] for number in range(len(outputs))]


def _steps(
    task, several: Iterable[Mapping[str, np.ndarray]], batch_size: int | None
) -> Iterator[tuple[Mapping[str, np.ndarray], np.ndarray, PackedRows]]:
    """Yields each step with the arrays that it is packed from and the numbers of their texts.

    The texts of a step that is not full wait for the next arrays, of which some may join them. What
    is left at the end has the shape of full steps, if there were any and an accelerator computes:
    to compile another shape would take as long as a thousand steps.
    """
    numbers, waiting = np.arange(0), []
    last: Mapping[str, np.ndarray] = {}
    num_read = budget = 0
    lengths_of_full_steps: set[int] = set()
    for arrays in several:
        count = _num_rows(arrays)
        new = np.arange(num_read, num_read + count)
        num_read += count
        rest = [text for step in waiting for text in step.texts]
        if rest:
            arrays = _concatenated([{name: v[rest] for name, v in last.items()}, arrays])
        numbers, last = np.concatenate([numbers[rest], new]), arrays
        budget, waiting = _budget(arrays, batch_size), []
        for step in _planned(task, arrays, budget):
            if step.is_full(budget):
                lengths_of_full_steps.add(step.row_length)
                yield arrays, numbers, step
            else:
                waiting.append(step)
    compiles_for_long = has_accelerator() and num_open_axes() == 0
    for step in waiting:
        is_compiled = step.row_length in lengths_of_full_steps
        yield last, numbers, step.filled(budget) if compiles_for_long and is_compiled else step


def _budget(arrays: Mapping[str, np.ndarray], batch_size: int | None) -> int:
    """Returns how many tokens a step has, unless a text is longer."""
    if batch_size is None:
        return tokens_at_once()
    most = batch_size * next(iter(arrays.values())).shape[1]
    return min(tokens_at_once(), 1 << (max(most, 1).bit_length() - 1))


def _planned(task, arrays: Mapping[str, np.ndarray], budget: int) -> list[PackedRows]:
    return plan_steps(
        text_lengths(arrays),
        tokens_per_step=budget,
        longest_row=task.backbone.longest_row,
        longest_usual_row=task.backbone.longest_usual_row,
        shortest_text=task.shortest_text,
        has_open_shapes=num_open_axes() > 0,
    )


def outputs_of_padded(task, arrays: Mapping[str, np.ndarray], batch_size: int) -> list[np.ndarray]:
    """Returns the float32 outputs of a task that does not pack texts, for each of them.

    Rows of like lengths are computed together, without needless padding and in batches of few
    sizes: a compiled program serves one shape.
    """
    count = len(next(iter(arrays.values())))
    masks = [values for name, values in arrays.items() if name.endswith("padding_mask")]
    lengths = masks[0].sum(axis=1) if masks else np.zeros(count)
    order = np.argsort(-lengths, kind="stable")
    outputs: list[np.ndarray] = [np.zeros(0)] * count
    for start in range(0, count, batch_size):
        rows = order[start : start + batch_size]
        # Rows are repeated up to a power of two.
        filled = np.resize(rows, 1 << (len(rows) - 1).bit_length())
        batch = without_needless_padding({name: v[filled] for name, v in arrays.items()})
        values = np.asarray(RecordedModel.predict_on_batch(task, batch)).astype("float32")
        for row, value in zip(rows, values[: len(rows)], strict=True):
            outputs[row] = value
    return outputs


def predict_packed(task, dataset, batch_size: int | None, verbose) -> np.ndarray:
    """Returns the outputs for all examples of a dataset of inputs, as one array.

    Args:
        task: A task that `packs_texts`.
        dataset: Yields `(x,)`.
        batch_size, verbose: As in `keras.Model.predict`.
    """
    progress = keras.utils.Progbar(dataset.num_examples, verbose=int(verbose == "auto" or verbose))
    several = read_ahead(_joined(arrays for (arrays,) in _in_order(dataset)))
    return task.predicted(_outputs(task, several, batch_size, on_step=progress.add))


def _in_order(dataset) -> Iterator[tuple]:
    if isinstance(dataset, StreamBatches):
        return iter(dataset)
    return (dataset[i] for i in range(len(dataset)))


def _joined(batches: Iterable[Mapping[str, np.ndarray]]) -> Iterator[dict[str, np.ndarray]]:
    """Joins batches until they have texts for each gap, and tokens for a step."""
    waiting: list[Mapping[str, np.ndarray]] = []
    num_texts = num_tokens = 0
    for batch in batches:
        waiting.append(batch)
        num_texts += _num_rows(batch)
        num_tokens += np.count_nonzero(batch["padding_mask"])
        if num_texts >= TEXTS_AT_ONCE and num_tokens >= tokens_at_once():
            yield _concatenated(waiting)
            waiting, num_texts, num_tokens = [], 0, 0
    if waiting:
        yield _concatenated(waiting)


def _num_rows(arrays: Mapping[str, np.ndarray]) -> int:
    return len(next(iter(arrays.values())))


def _concatenated(batches: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    joined = {}
    for name in batches[0]:
        several = [batch[name] for batch in batches]
        shape = sum(map(len, several)), max(values.shape[1] for values in several)
        joined[name] = np.zeros(shape, np.result_type(*several))
        start = 0
        for values in several:
            joined[name][start : start + len(values), : values.shape[1]] = values
            start += len(values)
    return joined
