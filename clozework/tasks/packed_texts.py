"""How tasks compute on texts that share rows; see `clozework.data.packed_rows`."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from clozework.backend import tokens_at_once
from clozework.data import PackedRows, StreamBatches, plan_batch, plan_steps
from clozework.reading_ahead import read_ahead
from clozework.tasks.padding import without_needless_padding
from clozework.tasks.recorded_model import RecordedModel

__all__ = [
    "TEXTS_AT_ONCE",
    "outputs_of_padded",
    "outputs_of_texts",
    "packed_batch",
    "packed_vectors",
    "predict_packed",
    "text_lengths",
    "vectors_at",
]

# Read, tokenised and packed together: enough to find a text for each gap, few enough for memory.
TEXTS_AT_ONCE = 1024


def packed_vectors(backbone, inputs: Mapping[str, Any]):
    """Returns the vectors of the tokens of packed rows, `(rows, tokens, hidden_dim)`."""
    own = {name: inputs[name] for name in backbone.input_names}
    return backbone.token_vectors(backbone(own))


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
        has_one_length=has_one_length,
    )


def outputs_of_texts(
    task,
    arrays: Mapping[str, np.ndarray],
    batch_size: int,
    on_step: Callable[[int], None] = lambda num_texts: None,
) -> list[np.ndarray]:
    """Returns the outputs for each text of arrays that are not packed, in their order.

    Args:
        task: A task that `packs_texts`.
        arrays: Inputs `(texts, tokens)`.
        batch_size: As many rows of the arrays are the most that is computed at once.
        on_step: Called after each step with the number of its texts.
    """
    lengths = text_lengths(arrays)
    most = batch_size * next(iter(arrays.values())).shape[1]
    budget = min(tokens_at_once(), 1 << (max(most, 1).bit_length() - 1))
    outputs: list[np.ndarray] = [np.zeros(0)] * len(lengths)
    steps = plan_steps(
        lengths,
        tokens_per_step=budget,
        longest_row=task.backbone.longest_row,
        shortest_text=task.shortest_text,
    )
    for step in steps:
        values = task.compute_packed(step.pack(arrays))
        for slot, text in enumerate(step.texts):
            outputs[text] = task.output_of_text(values, step, slot)
        on_step(len(step.texts))
    return outputs


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


def predict_packed(task, dataset, batch_size: int, verbose) -> np.ndarray:
    """Returns the outputs for all examples of a dataset of inputs, as one array.

    Args:
        task: A task that `packs_texts`.
        dataset: Yields `(x,)`.
        batch_size, verbose: As in `keras.Model.predict`.
    """
    progress = keras.utils.Progbar(dataset.num_examples, verbose=int(verbose == "auto" or verbose))
    outputs: list[np.ndarray] = []
    for arrays in read_ahead(_joined(arrays for (arrays,) in _in_order(dataset))):
        outputs += outputs_of_texts(task, arrays, batch_size, on_step=progress.add)
    return task.predicted(outputs)


def _in_order(dataset) -> Iterator[tuple]:
    if isinstance(dataset, StreamBatches):
        return iter(dataset)
    return (dataset[i] for i in range(len(dataset)))


def _joined(batches: Iterable[Mapping[str, np.ndarray]]) -> Iterator[dict[str, np.ndarray]]:
    """Joins small batches, which leave more gaps."""
    waiting: list[Mapping[str, np.ndarray]] = []
    for batch in batches:
        waiting.append(batch)
        if sum(map(_num_rows, waiting)) >= TEXTS_AT_ONCE:
            yield _concatenated(waiting)
            waiting = []
    if waiting:
        yield _concatenated(waiting)


def _num_rows(arrays: Mapping[str, np.ndarray]) -> int:
    return len(next(iter(arrays.values())))


def _concatenated(batches: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    joined = {}
    for name in batches[0]:
        width = max(batch[name].shape[1] for batch in batches)
        rows = [
            np.pad(batch[name], ((0, 0), (0, width - batch[name].shape[1]))) for batch in batches
        ]
        joined[name] = np.concatenate(rows)
    return joined
