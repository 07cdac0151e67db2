"""Generation for many prompts in few rows: where a text ends, the next prompt takes its row.

Paper: Yu et al., 2022 (continuous batching), https://www.usenix.org/conference/osdi22/presentation/yu
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from clozework.backend import compiled_program
from clozework.layers import turned_kernels
from clozework.samplers import GenerationStep, LogitsProcessing, Sampler
from clozework.samplers.logits_processing import is_any_of
from clozework.tasks.generation import rounded_length
from clozework.tasks.token_reading import TokenPlaces

__all__ = ["RefilledRows", "can_refill"]

# So many parts of the rows are refilled one at a time: to read few prompts is slow, and each change
# copies the cache.
_PARTS = 4
_FREE = -1


def can_refill(sampler) -> bool:
    """Returns whether a sampler can choose for rows that are at different places of their texts.

    Functions of a user's own that change logits may take the place for that of all rows.
    """
    return (
        isinstance(sampler, Sampler)
        and sampler.is_token_by_token
        and all(isinstance(change, LogitsProcessing) for change in sampler.logits_processing)
    )


class RefilledRows:
    """Goes on with any number of prompts in a fixed number of rows.

    Each row is at its own place of its text. What all rows have in common is where in the cache
    they put the keys and values of the token they read: behind the prompts, in a ring that is long
    enough for the longest text. A mask says which places of the ring belong to a row's text.

    Args:
        model: A `CausalLM`.
        sampler: One that `can_refill`.
        num_rows: Rows at a time, a multiple of four.
    """

    def __init__(self, model, sampler, num_rows: int):
        self.sampler = sampler
        self._model = model
        self._num_rows = num_rows
        self._rows_at_once = num_rows // _PARTS

        def program(function):
            return compiled_program(
                function, read=lambda: model.variables, changed=lambda: sampler.variables
            )

        self._read = program(self._read_prompts)
        self._choose = program(_chosen_rows)
        self._go_on = program(self._go_on_with_texts)

    def generate(
        self, arrays: Mapping[str, np.ndarray], stop_token_ids: Sequence[int]
    ) -> dict[str, np.ndarray]:
        """Returns the ids and the mask of all texts.

        Args:
            arrays: The model's inputs `(texts, tokens)`, prompts with room behind them.
            stop_token_ids: Ids that end a text.
        """
        ids_name, mask_name = self._model.prompt_inputs
        max_length = arrays[ids_name].shape[1]
        # The number of tokens that are known of each text.
        lengths = (arrays[mask_name] > 0).sum(axis=1).astype("int32")
        prompts, options = self._model.compact_prompts(arrays)
        room = rounded_length(max_length - int(lengths.min(initial=0)) + 1)
        places = {**options, "num_places": options["prompt_tokens"] + room}
        token_ids, prompt_lengths = np.array(prompts[ids_name], "int32"), lengths.copy()
        waiting = np.flatnonzero(lengths < max_length)
        texts, time = np.full(self._num_rows, _FREE), np.array(0, "int32")
        kept: dict[str, Any] = {}
        while len(waiting) or (texts != _FREE).any():
            new, waiting = np.split(waiting, [self._num_refilled(texts)])
            texts, kept = self._refilled(texts, kept, prompts, new, places)
            state = {
                "token_ids": token_ids[texts],
                "index": lengths[texts],
                "prompt_lengths": prompt_lengths[texts],
                "is_open": texts != _FREE,
                "fewest": np.array(self._fewest(texts, len(waiting)), "int32"),
                "max_length": np.array(max_length, "int32"),
                "time": time,
                **kept,
            }
            with self._model._in_use:
                state = self._go_on(state, stop_token_ids=tuple(stop_token_ids), **places)
            kept, time = {**kept, "cache": state["cache"]}, state["time"]
            is_used = texts != _FREE
            token_ids[texts[is_used]] = ops.convert_to_numpy(state["token_ids"])[is_used]
            lengths[texts[is_used]] = ops.convert_to_numpy(state["index"])[is_used]
            texts = np.where(ops.convert_to_numpy(state["is_open"]), texts, _FREE)
        mask = np.arange(max_length) < lengths[:, None]
        return {ids_name: token_ids[:, :max_length], mask_name: mask}

    def _num_refilled(self, texts: np.ndarray) -> int:
        return int((texts == _FREE).sum()) // self._rows_at_once * self._rows_at_once

    def _fewest(self, texts: np.ndarray, num_waiting: int) -> int:
        """Returns how many texts are to be open still when rows change."""
        if num_waiting:
            return len(texts) - self._rows_at_once
        return self._rows_at_once if len(texts) > self._rows_at_once else 0

    def _refilled(self, texts, kept, prompts, new, places):
        """Returns which text is in each row, and what the model keeps, with `new` texts in."""
        texts = texts.copy()
        for start in range(0, len(new), self._rows_at_once):
            part = new[start : start + self._rows_at_once]
            read = self._kept_of(prompts, part, places)
            if not kept:
                kept = keras.tree.map_structure(
                    lambda x: ops.zeros((len(texts), *x.shape[1:]), x.dtype), read
                )
            free = np.flatnonzero(texts == _FREE)[: len(part)]
            source = np.arange(len(texts), dtype="int32")
            source[free] = len(texts) + np.arange(len(part))
            texts[free] = part
            kept = self._choose({"rows": [kept, read], "source": source})
        used = np.flatnonzero(texts != _FREE)
        if not len(new) and len(used) <= self._rows_at_once < len(texts):
            # The last texts need fewer rows.
            free = np.flatnonzero(texts == _FREE)
            source = np.concatenate([used, free])[: self._rows_at_once].astype("int32")
            texts, kept = texts[source], self._choose({"rows": [kept], "source": source})
        return texts, kept

    def _kept_of(self, prompts, texts, places):
        """Returns cache and context of a few texts."""
        rows = np.resize(texts, self._rows_at_once)
        inputs = self._model.prepared_prompts({name: x[rows] for name, x in prompts.items()})
        with self._model._in_use:
            return self._read(inputs, **places)

    def _read_prompts(self, inputs, *, prompt_tokens, num_places):
        _, cache, context = self._model.read_prompts(inputs, prompt_tokens, num_places)
        return {"cache": cache, "context": context}

    def _go_on_with_texts(self, state, *, stop_token_ids, prompt_tokens, num_places):
        """Chooses tokens until no more than `fewest` texts are open."""
        state = keras.tree.map_structure(ops.convert_to_tensor, state)
        max_length, prompt_lengths = state["max_length"], state["prompt_lengths"]

        def is_to_go_on(token_ids, index, is_open, time, cache):
            return ops.sum(ops.cast(is_open, "int32")) > state["fewest"]

        def put_tokens(token_ids, index, is_open, time, cache):
            last = ops.take_along_axis(token_ids, index[:, None] - 1, axis=1)
            places = _token_places(index, prompt_lengths, time, prompt_tokens, num_places)
            place = prompt_tokens + time % (num_places - prompt_tokens)
            vectors, cache = self._model.read_tokens(last, cache, place, state["context"], places)
            step = GenerationStep(
                token_ids=token_ids,
                index=index[:, None],
                prompt_lengths=prompt_lengths,
                max_length=max_length,
                stop_token_ids=stop_token_ids,
            )
            chosen = self.sampler.choose(self._model.logits(vectors)[:, 0], step)
            chosen = ops.cast(chosen, "int32")[:, None]
            is_here = ops.equal(ops.arange(token_ids.shape[1], dtype="int32"), index[:, None])
            is_here = ops.logical_and(is_here, is_open[:, None])
            token_ids = ops.where(is_here, chosen, token_ids)
            index = index + ops.cast(is_open, "int32")
            is_at_end = ops.logical_or(
                is_any_of(chosen[:, 0], stop_token_ids), ops.greater_equal(index, max_length)
            )
            is_open = ops.logical_and(is_open, ops.logical_not(is_at_end))
            return token_ids, index, is_open, time + 1, cache

        names = ("token_ids", "index", "is_open", "time", "cache")
        with turned_kernels(self._model.backbone, state["token_ids"].shape[0]):
            values = self.sampler.run_loop(
                is_to_go_on,
                put_tokens,
                model=self._model,
                loop_vars=tuple(state[name] for name in names),
            )
        return dict(zip(names, values, strict=True))


def _token_places(index, prompt_lengths, time, prompt_tokens: int, num_places: int) -> TokenPlaces:
    """Returns where the last known token of each row stands, and what is of its text."""
    positions = index[:, None] - 1
    of_prompt = ops.arange(prompt_tokens, dtype="int32")[None]
    # How long ago something was put in each place of the ring.
    ring = num_places - prompt_tokens
    age = (time - ops.arange(ring, dtype="int32")[None]) % ring
    # The last token of the prompt is read again, as the first in the ring.
    is_of_text = ops.concatenate(
        [of_prompt < prompt_lengths[:, None] - 1, age <= index[:, None] - prompt_lengths[:, None]],
        axis=1,
    )
    rows = index.shape[0]
    of_prompt = ops.broadcast_to(of_prompt, (rows, prompt_tokens))
    return TokenPlaces(
        positions=positions,
        key_positions=ops.concatenate([of_prompt, positions - age], axis=1),
        attention_mask=is_of_text[:, None],
    )


def _chosen_rows(inputs):
    """Returns the structure of the rows that are asked for, of those of one or two structures."""
    source = inputs["source"]
    return keras.tree.map_structure(
        lambda *rows: ops.take(ops.concatenate(rows, axis=0), source, axis=0), *inputs["rows"]
    )
