"""Any number of prompts, in batches of a size that fits."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from keras import ops

from clozework.tasks.generation import groups_of_like_lengths, rounded_rows, rows_of_like_lengths
from clozework.tasks.refilled_rows import RefilledRows

__all__ = ["TEXTS_AT_ONCE", "generated_in_batches"]

# Enough to fill the machine, few enough for caches of long texts to fit in memory.
TEXTS_AT_ONCE = 32


def generated_in_batches(
    model,
    arrays: Mapping[str, np.ndarray],
    stop_token_ids: Sequence[int],
    generate_function: Callable,
    refilled_rows: RefilledRows | None,
) -> dict[str, np.ndarray]:
    """Returns the ids and the mask of all texts.

    Args:
        model: A `CausalLM`.
        arrays: Its inputs `(texts, tokens)`, prompts with room behind them.
        stop_token_ids: Ids that end a text.
        generate_function: Fills in one batch, as that of `make_generate_function`.
        refilled_rows: What goes on with more prompts than a batch; None for batch by batch.
    """
    ids_name, mask_name = model.prompt_inputs
    outputs = {ids_name: arrays[ids_name].copy(), mask_name: arrays[mask_name] > 0}
    divided = rows_of_like_lengths if refilled_rows is None else groups_of_like_lengths
    for rows in divided(arrays, TEXTS_AT_ONCE):
        batch = {name: values[rows] for name, values in arrays.items()}
        if refilled_rows is not None and len(rows) > TEXTS_AT_ONCE:
            generated = refilled_rows.generate(batch, stop_token_ids)
        else:
            generated = _generated_batch(model, batch, stop_token_ids, generate_function)
        for name, values in generated.items():
            outputs[name][rows] = values
    return outputs


def _generated_batch(model, arrays, stop_token_ids, generate_function) -> dict[str, np.ndarray]:
    rows, max_length = arrays[model.prompt_inputs[0]].shape
    arrays, options = model.compact_prompts(arrays)
    arrays = model.prepared_prompts(arrays)
    arrays = {name: rounded_rows(values) for name, values in arrays.items()}
    with model._in_use:
        outputs = generate_function(arrays, stop_token_ids=stop_token_ids or None, **options)
    filled = {name: ops.convert_to_numpy(values) for name, values in outputs.items()}
    return {name: values[:rows, :max_length] for name, values in filled.items()}
