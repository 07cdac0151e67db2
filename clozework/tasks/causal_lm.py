"""The abstract causal language model: each token from those before it, and texts from prompts."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from clozework import samplers
from clozework.backend import compiled_program
from clozework.errors import ConfigError, InputError
from clozework.layers import turned_kernels
from clozework.presets.hugging_face import write_json
from clozework.samplers import Sampler, SpeculativeSampler
from clozework.tasks.generation import (
    checked_length,
    checked_sampler,
    checked_stop_token_ids,
    filled_mask,
    given_lengths,
    rounded_prompts,
    without_prompts,
)
from clozework.tasks.generation_batches import TEXTS_AT_ONCE, generated_in_batches
from clozework.tasks.generation_settings import (
    GENERATION_FILE,
    DefaultSampler,
    GenerationSettings,
)
from clozework.tasks.numbers import known_range
from clozework.tasks.prompts import (
    check_prompts,
    joined_outputs,
    lengthened_prompts,
    prompt_arrays,
    prompt_batches,
)
from clozework.tasks.quantization import next_tokens
from clozework.tasks.refilled_rows import RefilledRows, can_refill
from clozework.tasks.speculation import Speculation
from clozework.tasks.streaming import TokenStreamer, text_pieces
from clozework.tasks.task import Task
from clozework.tasks.token_reading import begin_reading, num_branches_of

__all__ = ["CausalLM"]

_DEFAULT_SAMPLER = DefaultSampler("top_k")


class CausalLM(Task):
    """Base class of models that go on with a text.

    A family defines two methods: `empty_cache(batch, length)`, a structure of zeros whose first
    axis is the batch, and `vectors_with_cache(token_ids, cache, index, places)`, which returns the
    vectors of tokens from `index` on, and the cache with what later tokens need of them. A
    subclass with other inputs defines `read_prompts`, `read_tokens` and `compact_prompts` itself;
    `prompt_inputs` names the ids and the mask that generation fills in.

    Args:
        backbone: The family's backbone.
        preprocessor: What turns strings into inputs; None to hand in inputs.
        generation_settings: How the model is meant to generate: options of `transformers`, as its
            `generation_config.json` says them. `generate` follows them where no sampler is given
            to `compile`; the ids that end a text count in any case.

    Outputs: Logits `(batch, tokens, vocabulary)` of the token behind each token.
    """

    kind = "CausalLM"
    hub_task = "text-generation"
    prompt_inputs: ClassVar[tuple[str, str]] = ("token_ids", "padding_mask")
    stored_apart = {"generation_settings": GENERATION_FILE}
    sampler: Any = None
    _follows_settings = False

    def __init__(self, backbone, preprocessor=None, *, generation_settings=None, **kwargs):
        self.generation_settings = GenerationSettings.read(
            generation_settings or {}, type(self).__name__
        )
        self.backbone = backbone
        outputs = self.logits(backbone.token_vectors(backbone(backbone.input)))
        super().__init__(backbone, preprocessor, inputs=backbone.input, outputs=outputs, **kwargs)

    def compile(
        self,
        optimizer="auto",
        loss="auto",
        *,
        weighted_metrics="auto",
        sampler: Any = _DEFAULT_SAMPLER,
        **kwargs,
    ):
        """Sets what `fit` minimises, and how `generate` chooses tokens.

        Args:
            optimizer, loss, weighted_metrics: `"auto"` is Adam(2e-5), cross-entropy and accuracy,
                both the mean over all tokens: padding, of which rows have as little as can be,
                does not make a loss look smaller.
            sampler: A name or an object of `clozework.samplers`. Where none is given, the model's
                `generation_settings` count before the default.
        """
        is_default = isinstance(sampler, DefaultSampler)
        self._follows_settings = is_default and bool(self.generation_settings.stated())
        if self._follows_settings:
            sampler = self.generation_settings.sampler()
        sampler = checked_sampler(sampler)
        if optimizer == "auto":
            optimizer = keras.optimizers.Adam(2e-5)
        if loss == "auto":
            loss = keras.losses.SparseCategoricalCrossentropy(
                from_logits=True, reduction="mean_with_sample_weight"
            )
        if weighted_metrics == "auto":
            weighted_metrics = [keras.metrics.SparseCategoricalAccuracy()]
        super().compile(optimizer=optimizer, loss=loss, weighted_metrics=weighted_metrics, **kwargs)
        self.sampler = sampler
        self.generate_function = None
        self._streamer = None
        self._speculation = None
        self._refilled_rows = None

    def empty_cache(self, batch, length):
        """Returns the cache of `batch` rows of `length` tokens before anything is read."""
        raise NotImplementedError(f"{type(self).__name__} has to define `empty_cache`.")

    def vectors_with_cache(self, token_ids, cache, cache_update_index, places=None):
        """Returns vectors `(batch, tokens, hidden_dim)` of the tokens from an index on, and cache.

        Args:
            token_ids: `(batch, tokens)`.
            cache: Of the tokens before them.
            cache_update_index: Place of the first of them, an int32 scalar.
            places: The `TokenPlaces` of tokens that are no text when read in a row; None else.
        """
        raise NotImplementedError(f"{type(self).__name__} has to define `vectors_with_cache`.")

    def call_with_cache(self, token_ids, cache, cache_update_index):
        """Returns logits, vectors and cache; arguments as in `vectors_with_cache`."""
        vectors, cache = self.vectors_with_cache(token_ids, cache, cache_update_index)
        return self.logits(vectors), vectors, cache

    def logits(self, vectors):
        """Returns scores of all tokens, `(..., vocabulary)`, from vectors `(..., hidden_dim)`."""
        return self.backbone.token_embedding(vectors, reverse=True)

    def generate(
        self,
        inputs,
        max_length=None,
        stop_token_ids="auto",
        strip_prompt=False,
        *,
        assistant_model=None,
    ):
        """Goes on with texts.

        Args:
            inputs: A string, or strings as `predict` takes them: a list, a column, a stream, which
                is read batch by batch. Without a preprocessor a dict of arrays, prompts padded on
                the right up to the maximum length, or a stream of such dicts.
            max_length: Most tokens of a text, prompt included; what the `generation_settings` say
                by default, else the preprocessor's `sequence_length`.
            stop_token_ids: Ids that end a text; `"auto"` is the tokenizer's end, where there is a
                preprocessor; None never ends a text.
            strip_prompt: Whether to return only what was generated.
            assistant_model: A smaller model with the same vocabulary that drafts the tokens, so
                that this one reads several at once. Texts are those of the compiled sampler, which
                chooses token by token; a `SpeculativeSampler` says how many tokens are drafted.

        Returns:
            A string for a string, else a list; without a preprocessor the dict of arrays.

        Raises:
            InputError: If a prompt is empty, or longer than `max_length`.
        """
        batches = prompt_batches(self._readable(inputs), is_text=self.preprocessor is not None)
        if batches is not None:
            options = {"strip_prompt": strip_prompt, "assistant_model": assistant_model}
            return joined_outputs(
                self.generate(batch, max_length, stop_token_ids, **options) for batch in batches
            )
        stop_token_ids = self._stop_token_ids(stop_token_ids)
        generate_function = self._generate_function(assistant_model)
        arrays, is_batched = self._prompts(inputs, max_length)
        ids_name, mask_name = self.prompt_inputs
        refilled_rows = self._rows_to_refill() if assistant_model is None else None
        outputs = generated_in_batches(
            self, arrays, stop_token_ids, generate_function, refilled_rows
        )
        if max_length is None and self._counts_new_tokens():
            # Of a batch, shorter prompts have room for more.
            ends = (arrays[mask_name] > 0).sum(axis=1) + self.generation_settings.max_new_tokens
            outputs[mask_name] &= np.arange(outputs[mask_name].shape[1]) < ends[:, None]
        if strip_prompt:
            pad = 0 if self.preprocessor is None else self.preprocessor.tokenizer.pad_token_id
            outputs[ids_name], outputs[mask_name] = without_prompts(
                outputs[ids_name], outputs[mask_name], arrays[mask_name] > 0, pad
            )
        if not is_batched:
            outputs = {name: values[0] for name, values in outputs.items()}
        if self.preprocessor is None:
            return outputs
        return self.preprocessor.generate_postprocess(outputs)

    def stream(self, inputs, *, max_length=None, stop_token_ids="auto") -> Iterator[str]:
        """Yields what is generated for one input, piece by piece, as soon as it is known.

        What the text begins with and all pieces together are what `generate` returns.

        Args:
            inputs: One string, or another single input of `generate`.
            max_length, stop_token_ids: As in `generate`.

        Raises:
            InputError: If there is no preprocessor, or there are several inputs.
            ConfigError: If the sampler looks at whole texts, as beam search does.
        """
        if self.preprocessor is None:
            raise InputError("`stream` needs a preprocessor; this model was made with None.")
        stop_token_ids = self._stop_token_ids(stop_token_ids)
        if not isinstance(self.sampler, Sampler) or not self.sampler.is_token_by_token:
            raise ConfigError(
                f"`stream` needs a sampler that chooses one token after another, which "
                f"{type(self.sampler).__name__} does not. Use `generate`, or compile with another "
                f"sampler, such as 'greedy'."
            )
        arrays, is_batched = self._prompts(inputs, max_length)
        if is_batched:
            raise InputError(
                f"`stream` goes on with one text, not with several. Received: {inputs!r:.80}. Call "
                f"it for each of them, or use `generate`."
            )
        if self._streamer is None:
            self._streamer = TokenStreamer(self, self.sampler)
        ids_name, mask_name = self.prompt_inputs
        given = arrays[ids_name][0][arrays[mask_name][0] > 0].tolist()
        tokens = self._streamer.tokens(arrays, stop_token_ids)
        return text_pieces(self.preprocessor.tokenizer, given, tokens)

    def answers_to(self, x):
        return next_tokens(self, x)

    def make_generate_function(self):
        """Returns `function(inputs, stop_token_ids=None)`: `generate_step`, compiled on JAX."""
        if self.generate_function is None:
            program = self._program(self.generate_step)

            def generate_function(inputs, stop_token_ids=None, **options):
                stop_token_ids = tuple(stop_token_ids) if stop_token_ids else None
                return program(inputs, stop_token_ids=stop_token_ids, **options)

            self.generate_function = generate_function
        return self.generate_function

    def generate_step(self, inputs, stop_token_ids=None, *, prompt_tokens=None):
        """Fills in arrays; what `make_generate_function` compiles.

        Args:
            inputs: The backbone's inputs, `(batch, tokens)`: of `prompt_inputs` the prompts, with
                room behind them. What is masked behind the room is not filled.
            stop_token_ids: Ids that end a text.
            prompt_tokens: A number of tokens that holds all prompts; what is behind it is not read
                before it is generated.

        Returns:
            The arrays of `prompt_inputs`, filled, as a dict.
        """
        ids_name, mask_name = self.prompt_inputs
        token_ids = ops.cast(inputs[ids_name], "int32")
        length = token_ids.shape[1]
        prompt_tokens = length if prompt_tokens is None else prompt_tokens
        vectors, next_token, cache = begin_reading(self, inputs, prompt_tokens)
        return self.sampled(
            next_token,
            token_ids,
            ops.cast(inputs[mask_name], "bool"),
            cache=cache,
            hidden_states=ops.pad(vectors, ((0, 0), (0, length - prompt_tokens), (0, 0))),
            stop_token_ids=stop_token_ids,
        )

    def read_prompts(self, inputs, prompt_tokens, num_places=None) -> tuple[Any, Any, Any]:
        """Returns vectors of the prompts' first tokens, the cache, and what later tokens need too.

        Args:
            inputs: As in `generate_step`.
            prompt_tokens: How many tokens of each row to read.
            num_places: Room in the cache; as many places as there are in a row by default.

        Returns:
            Vectors `(batch, prompt_tokens, hidden_dim)`; a cache of rows, with room for all tokens;
            and any structure that stays the same while tokens are generated.
        """
        token_ids = ops.cast(inputs[self.prompt_inputs[0]], "int32")
        batch, length = token_ids.shape
        cache = self.empty_cache(batch, num_places or length)
        return (*self.vectors_with_cache(token_ids[:, :prompt_tokens], cache, 0), ())

    def read_tokens(self, token_ids, cache, cache_update_index, context, places=None):
        """Returns vectors `(rows, tokens, hidden_dim)` of tokens from an index on, and the cache.

        Args:
            token_ids: `(rows, tokens)`; the rows of `read_prompts`, or each several times in a row.
            cache, cache_update_index, places: As in `vectors_with_cache`.
            context: What `read_prompts` gave last.
        """
        return self.vectors_with_cache(token_ids, cache, cache_update_index, places)

    def sampled(
        self, next_token, token_ids, padding_mask, *, cache, hidden_states, stop_token_ids
    ) -> dict[str, Any]:
        """Runs the sampler, and returns the arrays of `prompt_inputs`, filled.

        Args:
            next_token: `next(prompt, cache, index)` of the sampler.
            token_ids, padding_mask: Prompts with room behind them.
            cache: Of the prompts up to the shortest one.
            hidden_states: Of the prompts, `(batch, tokens, hidden_dim)`.
            stop_token_ids: Ids that end a text.
        """
        num_rows = token_ids.shape[0] * num_branches_of(self.sampler)
        with turned_kernels(self.backbone, num_rows):
            token_ids = self.sampler(
                next_token,
                token_ids,
                cache=cache,
                index=ops.min(given_lengths(padding_mask)),
                mask=padding_mask,
                stop_token_ids=stop_token_ids,
                hidden_states=hidden_states,
                model=self,
            )
        ids_name, mask_name = self.prompt_inputs
        mask = filled_mask(token_ids, padding_mask, stop_token_ids)
        return {ids_name: token_ids, mask_name: mask}

    def compact_prompts(self, arrays: Mapping[str, np.ndarray]) -> tuple[dict, dict[str, Any]]:
        """Returns arrays in one of a few shapes, and options of `generate_step` that follow."""
        ids_name, mask_name = self.prompt_inputs
        token_ids, mask, prompt_tokens = rounded_prompts(
            arrays[ids_name], arrays[mask_name], longest=self.backbone.longest_row
        )
        compact = {**arrays, ids_name: token_ids, mask_name: mask}
        return compact, {"prompt_tokens": prompt_tokens}

    def prepared_prompts(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns what `compact_prompts` gave, with what is computed of it before generation."""
        return dict(arrays)

    def prepare_labels(self, y):
        if y is None:
            raise InputError(
                "Training a causal LM on arrays needs labels: pass as `y` the id behind each token,"
                " `(batch, tokens)`."
            )
        lowest, highest = known_range("Labels", y) or (0, 0)
        if lowest < 0 or highest >= self.backbone.vocabulary_size:
            raise InputError(
                f"Labels go from {lowest} to {highest}, but the vocabulary has the ids 0 to "
                f"{self.backbone.vocabulary_size - 1}."
            )
        return y

    def usage(self):
        return 'print(model.generate("A text", max_length=30))'

    def usage_in_transformers(self):
        return [
            'token_ids = model.generate(**tokenizer("A text", return_tensors="pt"), max_length=30)',
            "print(tokenizer.batch_decode(token_ids, skip_special_tokens=True))",
        ]

    def get_compile_config(self):
        """Called by Keras when it writes a `.keras` file."""
        config = super().get_compile_config()
        # That of the settings follows from them again.
        is_own = isinstance(self.sampler, Sampler) and not self._follows_settings
        if config is not None and is_own:
            config = {**config, "sampler": samplers.serialize(self.sampler)}
        return config

    def compile_from_config(self, config):
        """Called by Keras when it reads a `.keras` file."""
        # Ours, not Keras's, to read: a sampler may be one of KerasHub's.
        config = dict(config)
        sampler = config.pop("sampler", None)
        super().compile_from_config(config)
        if sampler is not None:
            self.sampler = samplers.get(sampler)
            self._follows_settings = False

    def get_config(self):
        config = super().get_config()
        config.pop("generation_settings", None)
        stated = self.generation_settings.stated()
        return {**config, "generation_settings": stated} if stated else config

    def write_extras(self, directory: Path) -> None:
        content = self.generation_settings.stated()
        if content and self.preprocessor is not None:
            tokenizer = self.preprocessor.tokenizer
            roles = {"bos": "start", "eos": "end", "pad": "pad"}
            ids = {f"{r}_token_id": vars(tokenizer)[f"{o}_token_id"] for r, o in roles.items()}
            content = {**ids, **content}
        if content:
            write_json(directory / GENERATION_FILE, content)

    def _training_batch(self, x, y, sample_weight):
        if self.preprocessor is None:
            return super()._training_batch(x, y, sample_weight)
        x, y, sample_weight = self.preprocessor(x)
        x = self.compact(x)
        length = x[self.prompt_inputs[0]].shape[1]
        self.check_inputs(x)
        return x, y[:, :length], sample_weight[:, :length]

    def _prediction_batch(self, x, y, sample_weight):
        if self.preprocessor is not None:
            # Not cut: the outputs of all batches are one array.
            x, _, _ = self.preprocessor(x)
        self.check_inputs(x)
        return (x,)

    def _stop_token_ids(self, stop_token_ids) -> tuple[int, ...]:
        if self.sampler is None:
            raise ConfigError(
                f"{self.name!r} was not compiled, so that it has no sampler. Call "
                f"`compile(sampler='greedy')` first."
            )
        if isinstance(stop_token_ids, str) and stop_token_ids == "auto":
            stop_token_ids = self.generation_settings.stop_token_ids
            if stop_token_ids is None and self.preprocessor is not None:
                stop_token_ids = (self.preprocessor.tokenizer.end_token_id,)
        return checked_stop_token_ids(stop_token_ids, self.backbone.vocabulary_size)

    def _prompts(self, inputs, max_length) -> tuple[dict[str, np.ndarray], bool]:
        """Returns prompts as arrays `(batch, max_length)`, and whether they came as a batch."""
        max_length = checked_length(max_length)
        if max_length is None:
            max_length = self._stated_length(inputs)
        ids_name, mask_name = self.prompt_inputs
        if self.preprocessor is not None:
            arrays = self.preprocessor.generate_preprocess(inputs, sequence_length=max_length)
        else:
            arrays = prompt_arrays(inputs, self.prompt_inputs)
        is_batched = np.ndim(arrays[ids_name]) == 2
        arrays = {name: v if is_batched else np.asarray(v)[None] for name, v in arrays.items()}
        if self.preprocessor is None and max_length is not None:
            arrays = lengthened_prompts(arrays, self.prompt_inputs, max_length)
        self.check_inputs(arrays)
        check_prompts(arrays[mask_name], mask_name, self.backbone)
        return arrays, is_batched

    def _stated_length(self, inputs) -> int | None:
        """Returns the length of rows that the settings state, where they are followed."""
        if self.preprocessor is None or not self._follows_settings:
            return None
        given = self._prompt_length(inputs) if self._counts_new_tokens() else 0
        longest = self.generation_settings.longest(given)
        return None if longest is None else min(longest, self.backbone.longest_row or longest)

    def _counts_new_tokens(self) -> bool:
        is_stated = self.generation_settings.max_new_tokens is not None
        return is_stated and self._follows_settings and self.preprocessor is not None

    def _prompt_length(self, inputs) -> int:
        return self.preprocessor.prompt_length(inputs)

    def _readable(self, inputs):
        """Returns inputs in a form of `clozework.data`, if they are a stream."""
        return inputs

    def _generate_function(self, assistant_model) -> Any:
        if assistant_model is None:
            if isinstance(self.sampler, SpeculativeSampler):
                raise ConfigError(
                    "The sampler is a SpeculativeSampler, which needs a draft: call `generate` "
                    "with `assistant_model=`, a smaller model, or compile with 'greedy', say."
                )
            return self.make_generate_function()
        if self._speculation is None or self._speculation.assistant is not assistant_model:
            self._speculation = Speculation(self, assistant_model)
        return self._speculation.generate

    def _rows_to_refill(self) -> RefilledRows | None:
        if self._refilled_rows is None and can_refill(self.sampler):
            self._refilled_rows = RefilledRows(self, self.sampler, TEXTS_AT_ONCE)
        return self._refilled_rows

    def _program(self, function):
        def changed():
            return self.sampler.variables if isinstance(self.sampler, Sampler) else []

        return compiled_program(function, read=lambda: self.variables, changed=changed)
