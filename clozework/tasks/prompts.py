"""Prompts as arrays: what they must be, and room behind them."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import keras
import numpy as np

from clozework.data import CollectionBatches, make_dataset, open_stream
from clozework.errors import InputError

__all__ = [
    "check_prompts",
    "joined_outputs",
    "lengthened_prompts",
    "prompt_arrays",
    "prompt_batches",
]


def prompt_batches(x, *, is_text: bool) -> Iterator | None:
    """Returns the batches of a stream of prompts, one after another; None if x is no stream.

    Args:
        x: What `generate` was called with; see `clozework.data`.
        is_text: Whether it holds texts, rather than arrays.

    Raises:
        InputError: If it has no end.

    Example:
    >>> list(prompt_batches(iter(["a", "b"]), is_text=True))
    [['a', 'b']]
    """
    if not isinstance(x, keras.utils.PyDataset) and open_stream(x) is None:
        return None
    dataset = make_dataset(x, preprocess=None, is_text=is_text)
    if not isinstance(dataset, CollectionBatches):
        return (batch[0] for batch in dataset)
    if dataset.num_batches is None:
        raise InputError(
            f"{type(x).__name__} has no end, so that `generate` would have none. Set its "
            f"`num_batches`."
        )
    return (dataset[i][0] for i in range(dataset.num_batches))


def prompt_arrays(inputs, names: tuple[str, str]) -> dict[str, np.ndarray]:
    """Returns the arrays of a dict that a model without a preprocessor is called with.

    Args:
        inputs: What `generate` was called with.
        names: Of the ids and the mask, without which there is no prompt.

    Raises:
        InputError: If they are not there.
    """
    if not isinstance(inputs, Mapping) or not set(names) <= inputs.keys():
        raise InputError(
            f"Without a preprocessor `generate` takes a dict with {names[0]!r} and {names[1]!r}. "
            f"Received: {inputs!r:.80}."
        )
    return {name: keras.ops.convert_to_numpy(values) for name, values in inputs.items()}


def joined_outputs(outputs: Iterable) -> Any:
    """Returns the texts of all batches as one list, or their arrays as one dict of arrays.

    Raises:
        InputError: If arrays have rows of different lengths.
    """
    parts = list(outputs)
    if not isinstance(parts[0], Mapping):
        return [text for part in parts for text in part]
    lengths = sorted({values.shape[1] for part in parts for values in part.values()})
    if len(lengths) > 1:
        raise InputError(
            f"Batches of rows of {' and '.join(map(str, lengths))} tokens do not make one array. "
            f"Set `max_length`, or pad them all alike."
        )
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def check_prompts(padding_mask: np.ndarray, name: str, backbone) -> None:
    """Raises `InputError` for prompts that a model cannot go on with.

    Args:
        padding_mask: `(batch, tokens)`, 1 for tokens of the prompts.
        name: What messages call it.
        backbone: Of the model.
    """
    mask = padding_mask > 0
    longest, length = backbone.longest_row, mask.shape[1]
    if longest is not None and length > longest:
        raise InputError(
            f"Texts of up to {length} tokens were asked for, but {backbone.name!r} has "
            f"positions for {longest}. Set `max_length={longest}`, or less."
        )
    if (padding_mask > 1).any():
        raise InputError(
            f"{name!r} has values above 1, texts packed into one row, but each row is one "
            f"prompt. Give every prompt its own row."
        )
    if (mask[:, 1:] & ~mask[:, :-1]).any():
        raise InputError(f"Prompts are padded on the right, but {name!r} has a gap.")
    if not mask.any(axis=1).all():
        empty = int(np.flatnonzero(~mask.any(axis=1))[0])
        raise InputError(
            f"Prompt {empty} has no token to go on from. Write something, or set the "
            f"preprocessor's `add_start_token`."
        )


def lengthened_prompts(arrays, names: tuple[str, str], max_length: int) -> dict[str, np.ndarray]:
    """Returns arrays whose prompts have room up to `max_length`."""
    longest = int((arrays[names[1]] > 0).sum(axis=1).max(initial=0))
    if longest > max_length:
        raise InputError(
            f"A prompt has {longest} tokens, but a text is to have at most {max_length}, prompt "
            f"included. Raise `max_length`, or shorten the prompt."
        )
    more = max(0, max_length - arrays[names[0]].shape[1])
    padded = {name: np.pad(arrays[name], ((0, 0), (0, more)))[:, :max_length] for name in names}
    return {**arrays, **padded}
