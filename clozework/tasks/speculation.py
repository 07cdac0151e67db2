"""Speculative generation: a model with an assistant that drafts its tokens."""

from typing import Any

from keras import ops

from clozework.backend import compiled_program
from clozework.errors import ConfigError, InputError
from clozework.samplers import Sampler, SpeculativeSampler
from clozework.tasks.generation import filled_mask, given_lengths
from clozework.tasks.task import Task

__all__ = ["Speculation"]


class Speculation:
    """Generation by a model whose tokens an assistant drafts; see `SpeculativeSampler`.

    Args:
        model: A `CausalLM`, whose sampler is a `SpeculativeSampler` or may be the base of one.
        assistant: A smaller one with the same vocabulary.

    Raises:
        ConfigError: If the sampler does not choose token by token.
        InputError: If the assistant has another vocabulary, or is for something else.
    """

    def __init__(self, model, assistant):
        _check_assistant(model, assistant)
        self.assistant = assistant
        self._model = model
        self._sampler = _speculative(model.sampler)
        self._program = compiled_program(
            self._step, read=lambda: self.variables, changed=lambda: self._sampler.variables
        )

    @property
    def variables(self) -> list:
        """The weights of both models."""
        return [*self._model.variables, *self.assistant.variables]

    def generate(self, inputs, stop_token_ids=None, **options) -> dict[str, Any]:
        """Fills in arrays, as the function of `make_generate_function`."""
        longest, length = (
            self.assistant.backbone.longest_row,
            inputs[self._model.prompt_inputs[0]].shape[1],
        )
        if longest is not None and length > longest:
            raise InputError(
                f"Rows of {length} tokens are generated, but `assistant_model` has positions for "
                f"{longest}. Set `max_length={longest}`, or less, or take another assistant."
            )
        with self.assistant._in_use:
            return self._program(inputs, stop_token_ids=stop_token_ids, **options)

    def _step(self, inputs, stop_token_ids=None, *, prompt_tokens):
        model, assistant = self._model, self.assistant
        ids_name, mask_name = model.prompt_inputs
        token_ids = ops.cast(inputs[ids_name], "int32")
        mask = ops.cast(inputs[mask_name], "bool")
        rows = token_ids.shape[0]
        _, cache, context = model.read_prompts(inputs, prompt_tokens)
        # What the model has computed of its inputs is its own.
        own_inputs = {name: inputs[name] for name in assistant.backbone.input_names}
        _, draft_cache, draft_context = assistant.read_prompts(own_inputs, prompt_tokens)

        def verify_next(prompt, cache, index, count):
            # Each logit is that of the token behind.
            tokens = ops.slice(prompt, (0, index - 1), (rows, count + 1))
            vectors, cache = model.read_tokens(tokens, cache, index - 1, context)
            return model.logits(vectors), cache

        def draft_next(prompt, cache, index):
            # Two tokens, as of the one before the last the cache holds nothing where the model
            # took over all drafts and added one.
            start = ops.maximum(index - 2, 0)
            tokens = ops.slice(prompt, (0, start), (rows, 2))
            vectors, cache = assistant.read_tokens(tokens, cache, start, draft_context)
            last = ops.take(vectors, ops.reshape(index - 1 - start, (1,)), axis=1)
            return assistant.logits(last)[:, 0], last[:, 0], cache

        token_ids = self._sampler(
            None,
            token_ids,
            cache=cache,
            index=ops.min(given_lengths(mask)),
            mask=mask,
            stop_token_ids=stop_token_ids,
            model=self,
            draft_next=draft_next,
            draft_cache=draft_cache,
            verify_next=verify_next,
        )
        return {ids_name: token_ids, mask_name: filled_mask(token_ids, mask, stop_token_ids)}


def _speculative(sampler) -> SpeculativeSampler:
    if isinstance(sampler, SpeculativeSampler):
        return sampler
    if not isinstance(sampler, Sampler) or not sampler.is_token_by_token:
        raise ConfigError(
            f"`assistant_model` helps samplers that choose one token after another, which "
            f"{type(sampler).__name__} does not. Leave it out, or compile with another sampler, "
            f"such as 'greedy'."
        )
    return SpeculativeSampler(base_sampler=sampler, seed=sampler.get_config().get("seed"))


def _check_assistant(model, assistant) -> None:
    if not isinstance(assistant, Task) or assistant.kind != model.kind:
        raise InputError(
            f"`assistant_model` has to be a {model.kind}, as {model.name!r} is. Received: a "
            f"{type(assistant).__name__}."
        )
    sizes = [task.backbone.vocabulary_size for task in (model, assistant)]
    tokenizers = [task.preprocessor.tokenizer for task in (model, assistant) if task.preprocessor]
    vocabularies = [tokenizer.get_vocabulary() for tokenizer in tokenizers]
    if sizes[0] != sizes[1] or (len(vocabularies) == 2 and vocabularies[0] != vocabularies[1]):
        raise InputError(
            f"`assistant_model` has another vocabulary, of {sizes[1]} tokens, than {model.name!r}, "
            f"of {sizes[0]}. Its drafts would mean something else; take a smaller model of the "
            f"same kind."
        )
