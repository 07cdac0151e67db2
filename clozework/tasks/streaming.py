"""Texts piece by piece: the tokens of one prompt, each as soon as it is chosen."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from keras import ops

from clozework.backend import compiled_program
from clozework.samplers import GenerationStep, Sampler

__all__ = ["TokenStreamer", "text_pieces"]


class TokenStreamer:
    """Two programs, one that reads a prompt and one that adds a token, of a model for texts.

    Args:
        model: A `CausalLM`.
        sampler: A sampler that chooses token by token.
    """

    def __init__(self, model, sampler: Sampler):
        self._model = model
        self._sampler = sampler
        self._read = self._program(self._read_prompt)
        self._add = self._program(self._add_token)

    def tokens(
        self, arrays: Mapping[str, np.ndarray], stop_token_ids: Sequence[int]
    ) -> Iterator[int]:
        """Yields the tokens that are generated for one prompt, each when it is chosen.

        Args:
            arrays: The model's inputs of one prompt, `(1, tokens)`, with room behind it.
            stop_token_ids: Ids that end a text.
        """
        model = self._model
        ids_name, mask_name = model.prompt_inputs
        max_length = arrays[ids_name].shape[1]
        index = int((arrays[mask_name] > 0).sum())
        arrays, options = model.compact_prompts(arrays)
        arrays = model.prepared_prompts(arrays)
        state: dict[str, Any] = {
            "token_ids": arrays[ids_name],
            "prompt_length": np.array([index], "int32"),
            "max_length": np.array(max_length, "int32"),
        }
        with model._in_use:
            state["cache"], state["context"] = self._read(arrays, **options)
        while index < max_length:
            place = np.array(index, "int32")
            with model._in_use:
                state["token_ids"], state["cache"] = self._add(
                    {**state, "index": place}, stop_token_ids=tuple(stop_token_ids)
                )
            token_id = int(ops.convert_to_numpy(state["token_ids"])[0, index])
            yield token_id
            if token_id in stop_token_ids:
                return
            index += 1

    def _read_prompt(self, inputs, prompt_tokens):
        _, cache, context = self._model.read_prompts(inputs, prompt_tokens)
        return cache, context

    def _add_token(self, inputs, stop_token_ids):
        token_ids = ops.cast(inputs["token_ids"], "int32")
        index = ops.convert_to_tensor(inputs["index"])
        last = ops.take(token_ids, ops.reshape(index - 1, (1,)), axis=1)
        vectors, cache = self._model.read_tokens(
            last, inputs["cache"], index - 1, inputs["context"]
        )
        step = GenerationStep(
            token_ids=token_ids,
            index=index,
            prompt_lengths=ops.convert_to_tensor(inputs["prompt_length"]),
            max_length=ops.convert_to_tensor(inputs["max_length"]),
            stop_token_ids=stop_token_ids,
        )
        logits = self._model.logits(vectors)
        chosen = ops.cast(self._sampler.choose(logits[:, 0], step), "int32")
        is_here = ops.equal(ops.arange(token_ids.shape[1], dtype="int32"), index)[None, :]
        return ops.where(is_here, chosen[:, None], token_ids), cache

    def _program(self, function):
        return compiled_program(
            function, read=lambda: self._model.variables, changed=lambda: self._sampler.variables
        )


def text_pieces(tokenizer, given: Iterable[int], tokens: Iterable[int]) -> Iterator[str]:
    """Yields what each token adds to a text, once it is whole characters.

    Args:
        tokenizer: What turns ids into text.
        given: The ids that the text begins with.
        tokens: The ids behind them, one after another.
    """
    specials = set(tokenizer.special_token_ids)
    ids = [token_id for token_id in given if token_id not in specials]
    told = tokenizer.detokenize(ids) if ids else ""
    for token_id in tokens:
        ids += [token_id] if token_id not in specials else []
        text = tokenizer.detokenize(ids) if ids else ""
        # Part of a character is held back until it is whole.
        if text.startswith(told) and not text.endswith("\ufffd"):
            if text != told:
                yield text[len(told) :]
            told = text
    rest = tokenizer.detokenize(ids) if ids else ""
    if rest != told:
        yield rest.removeprefix(told)
