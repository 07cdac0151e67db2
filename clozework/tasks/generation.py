"""What generation needs around the model: prompts of a few shapes, stop tokens, and the end."""

from collections.abc import Mapping, Sequence

import numpy as np
from keras import ops

from clozework import samplers
from clozework.errors import ConfigError, InputError
from clozework.samplers.logits_processing import is_any_of

__all__ = [
    "checked_length",
    "checked_sampler",
    "checked_stop_token_ids",
    "filled_mask",
    "given_lengths",
    "groups_of_like_lengths",
    "rounded_length",
    "rounded_prompts",
    "rounded_rows",
    "rows_of_like_lengths",
    "without_prompts",
]

# Texts are padded to one of these lengths, twelve up to 1,024: a compiled program serves one shape.
_LENGTHS = (16, 32, 48, *(of for i in range(6, 13) for of in (1 << i, 3 << (i - 1))), 8192)


def rounded_length(length: int, longest: int | None = None) -> int:
    """Returns the shortest of a few lengths that is enough, and not more than the longest.

    Example:
    >>> rounded_length(17), rounded_length(17, longest=20)
    (32, 20)
    """
    rounded = next((known for known in _LENGTHS if known >= length), length)
    return rounded if longest is None else max(length, min(rounded, longest))


def rounded_prompts(token_ids, padding_mask, *, longest: int | None = None):
    """Returns prompts in one of a few shapes.

    Args:
        token_ids: `(batch, tokens)`, the prompts, and padding up to the maximum length.
        padding_mask: `(batch, tokens)`, true for the prompts.
        longest: Most tokens that the model can read.

    Returns:
        Both, padded to a longer row where that is one of a few, and a number of tokens that holds
        all prompts, again one of a few. What is past the maximum length counts as given, so that
        generation ends before it.
    """
    max_length = token_ids.shape[1]
    width = _rounded_room(max_length, longest)
    past = ((0, 0), (0, width - max_length))
    prompt_tokens = int(padding_mask.sum(axis=1).max(initial=1))
    return (
        np.pad(token_ids, past),
        np.pad(padding_mask, past, constant_values=True),
        rounded_length(prompt_tokens, width),
    )


def _rounded_room(length: int, longest: int | None) -> int:
    """Returns a length for whole rows, up to a quarter more than is asked for.

    Each step reads all of a row's cache, and one `max_length` serves all texts of a caller.
    """
    step = max(16, (1 << (length - 1).bit_length()) // 8)
    rounded = -(-length // step) * step
    return rounded if longest is None else max(length, min(rounded, longest))


def rounded_rows(array: np.ndarray, *, repeats_last: bool = True) -> np.ndarray:
    """Returns an array with more rows, up to a power of two: the last one again, or zeros."""
    rows = array.shape[0]
    more = (1 << (rows - 1).bit_length()) - rows
    mode = "edge" if repeats_last else "constant"
    return np.pad(array, ((0, more), *((0, 0),) * (array.ndim - 1)), mode)


def rows_of_like_lengths(arrays: Mapping[str, np.ndarray], rows_at_once: int) -> list[np.ndarray]:
    """Returns numbers of rows in batches, so that short texts don't wait for long ones.

    Args:
        arrays: Those of `generate`; the masks among them say how long texts are.
        rows_at_once: Most rows of a batch.

    Example:
    >>> mask = np.array([[1, 1, 1], [1, 0, 0], [1, 1, 1], [1, 1, 0]])
    >>> [rows.tolist() for rows in rows_of_like_lengths({"padding_mask": mask}, 2)]
    [[1, 3], [0, 2]]
    """
    lengths = _prompt_lengths(arrays)
    num_rows = len(lengths)
    # One batch stays as it is: random numbers are drawn row by row.
    order = np.argsort(lengths, kind="stable") if num_rows > rows_at_once else np.arange(num_rows)
    return [order[i : i + rows_at_once] for i in range(0, num_rows, rows_at_once)]


def groups_of_like_lengths(arrays: Mapping[str, np.ndarray], fewest: int) -> list[np.ndarray]:
    """Returns numbers of rows in groups, none of which has texts much longer than the others.

    Args:
        arrays: As in `rows_of_like_lengths`.
        fewest: Rows of a group; fewer of like lengths go with the next longer ones, or the last.

    Example:
    >>> mask = np.array([[1, 1, 1, 1], [1, 0, 0, 0], [1, 0, 0, 0], [1, 1, 1, 0]])
    >>> [rows.tolist() for rows in groups_of_like_lengths({"padding_mask": mask}, 2)]
    [[1, 2], [0, 3]]
    """
    sizes = [(int(length) - 1).bit_length() for length in _prompt_lengths(arrays)]
    groups: list[list[int]] = [[]]
    for size in sorted(set(sizes)):
        groups[-1] += [row for row, own in enumerate(sizes) if own == size]
        if len(groups[-1]) >= fewest:
            groups.append([])
    *whole, rest = groups
    if whole and len(rest) < fewest:
        whole[-1] += rest
        rest = []
    return [np.array(sorted(rows)) for rows in (*whole, rest) if rows]


def _prompt_lengths(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    masks = [mask > 0 for name, mask in arrays.items() if name.endswith("padding_mask")]
    return np.sum([mask.sum(axis=1) for mask in masks], axis=0)


def given_lengths(padding_mask):
    """Returns the number of given tokens at the start of each row, int32 `(batch,)`."""
    return ops.sum(ops.cumprod(ops.cast(padding_mask, "int32"), axis=1), axis=1)


def filled_mask(token_ids, padding_mask, stop_token_ids: Sequence[int] | None):
    """Returns which tokens belong to the texts, once they are generated.

    Args:
        token_ids: `(batch, tokens)`.
        padding_mask: `(batch, tokens)`, true for what was given.
        stop_token_ids: Ids that end a text, and belong to it.

    Returns:
        Booleans `(batch, tokens)`.

    Example:
    >>> ids, mask = np.array([[1, 5, 2, 0]]), np.array([[True, False, False, False]])
    >>> ops.convert_to_numpy(filled_mask(ids, mask, [2])).tolist()
    [[True, True, True, False]]
    """
    is_stop = ops.logical_and(
        is_any_of(token_ids, stop_token_ids or ()), ops.logical_not(ops.cast(padding_mask, "bool"))
    )
    is_stop = ops.cast(is_stop, "int32")
    return ops.equal(ops.cumsum(is_stop, axis=-1) - is_stop, 0)


def without_prompts(token_ids, mask, prompt_mask, pad_token_id: int):
    """Returns ids and mask with what was generated moved to the start of each row."""
    stripped, stripped_mask = np.full_like(token_ids, pad_token_id), np.zeros_like(mask)
    for i, is_kept in enumerate(mask & ~prompt_mask):
        kept = token_ids[i, is_kept]
        stripped[i, : len(kept)] = kept
        stripped_mask[i, : len(kept)] = True
    return stripped, stripped_mask


def checked_length(max_length) -> int | None:
    """Returns `max_length` if it is None or a positive integer; raises `InputError` otherwise."""
    is_count = isinstance(max_length, int | np.integer) and not isinstance(max_length, bool)
    if max_length is not None and not (is_count and max_length > 0):
        raise InputError(f"`max_length` must be a positive integer. Received: {max_length!r}.")
    return None if max_length is None else int(max_length)


def checked_sampler(sampler):
    """Returns a sampler by its name, or itself, if it can write one text for each prompt.

    Raises:
        ConfigError: If it cannot.
    """
    sampler = samplers.get(sampler)
    if sampler is None:
        raise ConfigError("`sampler` is None; name one, such as 'greedy' or 'top_k'.")
    if isinstance(sampler, samplers.BeamSampler) and sampler.return_all_beams:
        raise ConfigError(
            "`generate` returns one text for a prompt, but the sampler has "
            "`return_all_beams=True`. Leave it out, or call the sampler yourself."
        )
    return sampler


def checked_stop_token_ids(stop_token_ids, vocabulary_size: int) -> tuple[int, ...]:
    """Returns ids as a tuple, empty for None.

    Raises:
        InputError: If they are no list of ids of the vocabulary.
    """
    if stop_token_ids is None:
        return ()
    if not isinstance(stop_token_ids, list | tuple | np.ndarray) or not len(stop_token_ids):
        raise InputError(
            f"`stop_token_ids` is 'auto', None, or a list of at least one id. Received: "
            f"{stop_token_ids!r}."
        )
    for token_id in stop_token_ids:
        is_id = isinstance(token_id, int | np.integer) and not isinstance(token_id, bool)
        if not is_id or not 0 <= token_id < vocabulary_size:
            raise InputError(
                f"`stop_token_ids` holds {token_id!r}, but the vocabulary has the ids 0 to "
                f"{vocabulary_size - 1}."
            )
    return tuple(map(int, stop_token_ids))
