"""The abstract sequence-to-sequence model: a text for a text."""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from clozework.backend import compiled_program, computed_once, shared_traces
from clozework.data import named_texts, open_stream
from clozework.errors import InputError
from clozework.layers import KeyValueCache, LogitsBias
from clozework.presets.hugging_face import write_json
from clozework.samplers.beams import repeated
from clozework.tasks.causal_lm import CausalLM
from clozework.tasks.generation import rounded_length, rounded_rows
from clozework.tasks.generation_settings import GENERATION_FILE
from clozework.tasks.packed_texts import packed_batch
from clozework.tasks.padding import without_needless_padding
from clozework.tasks.saving import special_token_ids
from clozework.tasks.text_inputs import text_examples
from clozework.tasks.text_windows import text_windows

__all__ = ["Seq2SeqLM"]

# The encoder's vectors, where they are computed before generation.
_ENCODED = "encoder_hidden_states"
# Tokens that most texts of decoders begin with.
_USUAL_START = 2


class Seq2SeqLM(CausalLM):
    """Base class of models that read one text and write another.

    `fit`, `evaluate` and `predict` take `{"encoder_text": [...], "decoder_text": [...]}`; see
    `Seq2SeqLMPreprocessor`.

    Args:
        backbone, preprocessor, generation_settings: As in `CausalLM`.

    Outputs: Logits `(batch, decoder tokens, vocabulary)`, of the token that follows each.
    """

    kind = "Seq2SeqLM"
    hub_task = "text2text-generation"
    prompt_inputs = ("decoder_token_ids", "decoder_padding_mask")

    def __init__(self, backbone, preprocessor=None, *, generation_settings=None, **kwargs):
        self.logits_bias = LogitsBias(dtype=backbone.dtype_policy, name="logits_bias")
        super().__init__(backbone, preprocessor, generation_settings=generation_settings, **kwargs)
        self._encoder_program = compiled_program(
            self._call_packed_encoder,
            read=lambda: self.variables,
            changed=lambda: (),
        )

    def logits(self, vectors):
        return self.logits_bias(super().logits(vectors))

    def generate(
        self,
        inputs,
        max_length=None,
        stop_token_ids="auto",
        strip_prompt=False,
        *,
        assistant_model=None,
    ):
        """Writes texts for texts.

        Args:
            inputs: A text, texts as `predict` takes them, or `{"encoder_text": ...,
                "decoder_text": ...}` with what the outputs begin with. Without a preprocessor a
                dict of arrays, those of the decoder padded on the right up to the maximum length.
            max_length: Most tokens of the decoder; that of the `generation_settings` by default,
                else the preprocessor's `decoder_sequence_length`.
            stop_token_ids, strip_prompt, assistant_model: As in `CausalLM.generate`; an assistant
                reads the same text with its own encoder.

        Returns:
            A string for a string, else a list; without a preprocessor the decoder's arrays.

        Raises:
            InputError: If an input is no text, or what an output begins with is longer than
                `max_length`.
        """
        return super().generate(
            inputs, max_length, stop_token_ids, strip_prompt, assistant_model=assistant_model
        )

    def usage(self):
        return 'print(model.generate("A text."))'

    def summarize(self, texts, *, max_length: int | None = None):
        """Returns summaries, as strings, for a model that was trained to write them.

        A text that is longer than the encoder's rows is read in windows that fit, which end with a
        sentence where they can; its summary is that of the windows, joined.

        Args:
            texts: A string, or a list of strings.
            max_length: Most tokens of the summary of a window; see `generate`.

        Returns:
            A string for a string, a list of strings for a list; an empty one for an empty text.

        Raises:
            InputError: If there is no preprocessor, or anything is no text.
        """
        if self.preprocessor is None:
            raise InputError("`summarize` needs a preprocessor; this model was made with None.")
        examples, is_batched = text_examples(texts)
        pairs = [i for i, example in enumerate(examples) if not isinstance(example, str)]
        if pairs:
            raise InputError(
                f"`summarize` takes strings, but text {pairs[0]} is a pair. Join its parts."
            )
        # Room for the start and the end token.
        num_tokens = self.preprocessor.encoder_sequence_length - 2
        windows = [text_windows(self.preprocessor.tokenizer, text, num_tokens) for text in examples]
        written = iter(self.generate(list(itertools.chain(*windows)), max_length=max_length))
        joined = [
            " ".join(summary.strip() for summary in itertools.islice(written, len(of_text)))
            for of_text in windows
        ]
        return joined if is_batched else joined[0]

    def own_weights(self):
        bias = keras.ops.convert_to_numpy(self.logits_bias.bias)
        is_zero = not np.any(bias)
        return [] if is_zero else [f"`logits_bias` (up to {np.abs(bias).max():.3g})"]

    def call_encoder(self, token_ids, padding_mask):
        """Returns the encoder's vectors `(batch, tokens, hidden_dim)`."""
        return self.backbone.encode(token_ids, padding_mask)

    def _call_packed_encoder(self, packed):
        with shared_traces():
            return self.call_encoder(packed["token_ids"], packed["padding_mask"])

    def call_decoder_with_cache(
        self,
        encoder_hidden_states,
        encoder_padding_mask,
        decoder_token_ids,
        self_attention_cache=None,
        self_attention_cache_update_index=None,
        cross_attention_cache=None,
        cross_attention_cache_update_index=None,
    ):
        """Returns logits and vectors of the decoder's tokens, and both caches, updated.

        Args:
            encoder_hidden_states: `(batch, encoder tokens, hidden_dim)`.
            encoder_padding_mask: `(batch, encoder tokens)`.
            decoder_token_ids: `(batch, tokens)`.
            self_attention_cache, cross_attention_cache: `(batch, layers, 2, tokens, heads,
                head_dim)`, of the decoder's tokens and of the encoder's.
            self_attention_cache_update_index: Place of the first token.
            cross_attention_cache_update_index: 0 where the cross-attention's cache is to be filled,
                None where it is full.
        """
        if (self_attention_cache is None) != (cross_attention_cache is None):
            raise InputError(
                "The decoder keeps two caches: pass both `self_attention_cache` and "
                "`cross_attention_cache`, or neither."
            )
        if self_attention_cache is None or cross_attention_cache is None:
            vectors = self.backbone.decode(
                decoder_token_ids, encoder_hidden_states, encoder_padding_mask=encoder_padding_mask
            )
            return self.logits(vectors), vectors, None, None
        own, cross = (
            [cache[:, i] for i in range(cache.shape[1])]
            for cache in (self_attention_cache, cross_attention_cache)
        )
        vectors, caches = self.backbone.decode(
            decoder_token_ids,
            encoder_hidden_states,
            start_index=self_attention_cache_update_index,
            caches=list(zip(own, cross, strict=True)),
            encoder_padding_mask=encoder_padding_mask,
            cross_attention_cache_update_index=cross_attention_cache_update_index,
        )
        own, cross = (ops.stack(of_layers, axis=1) for of_layers in zip(*caches, strict=True))
        return self.logits(vectors), vectors, own, cross

    def read_prompts(self, inputs, prompt_tokens, num_places=None):
        encoder_mask = ops.cast(inputs["encoder_padding_mask"], "int32")
        if _ENCODED in inputs:
            encoded = ops.convert_to_tensor(inputs[_ENCODED])
        else:
            token_ids = ops.cast(inputs["encoder_token_ids"], "int32")
            encoded = self.call_encoder(token_ids, encoder_mask)
        token_ids = ops.cast(inputs["decoder_token_ids"], "int32")
        batch, length = token_ids.shape
        rooms = (num_places or length, encoded.shape[1])
        own, cross = (self._empty_caches(batch, room) for room in rooms)
        vectors, caches = self.backbone.decode(
            token_ids[:, :prompt_tokens],
            encoded,
            caches=list(zip(own, cross, strict=True)),
            encoder_padding_mask=encoder_mask,
            cross_attention_cache_update_index=0,
        )
        own, cross = zip(*caches, strict=True)
        return vectors, tuple(own), computed_once((encoded, encoder_mask, tuple(cross)))

    def read_tokens(self, token_ids, cache, cache_update_index, context, places=None):
        encoded, encoder_mask, cross = context
        # Candidates for a row stand side by side, and read the same text.
        times = token_ids.shape[0] // encoder_mask.shape[0]
        if times > 1:
            cross, encoder_mask = repeated((cross, encoder_mask), times)
        own_places = {}
        if places is not None:
            own_places = {
                "positions": places.positions,
                "decoder_attention_mask": places.attention_mask,
                "use_causal_mask": False,
            }
        vectors, caches = self.backbone.decode(
            token_ids,
            encoded,
            start_index=cache_update_index,
            caches=list(zip(cache, cross, strict=True)),
            encoder_padding_mask=encoder_mask,
            **own_places,
        )
        return vectors, tuple(own for own, _ in caches)

    def compact_prompts(self, arrays: Mapping[str, np.ndarray]) -> tuple[dict, dict[str, Any]]:
        compact, options = super().compact_prompts(arrays)
        if (arrays[self.prompt_inputs[1]] > 0).sum(axis=1).max(initial=0) <= _USUAL_START:
            options["prompt_tokens"] = min(_USUAL_START, options["prompt_tokens"])
        mask = arrays["encoder_padding_mask"]
        used = int((mask > 0).sum(axis=1).max(initial=1))
        length = min(mask.shape[1], rounded_length(used))
        compact.update({name: arrays[name][:, :length] for name in _of_encoder(arrays)})
        return compact, options

    def prepared_prompts(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns the arrays with the encoder's vectors, where texts can share its rows."""
        is_token = arrays["encoder_padding_mask"] > 0
        is_at_start = np.arange(is_token.shape[1]) < is_token.sum(axis=1, keepdims=True)
        if not np.array_equal(is_token, is_at_start):
            return dict(arrays)
        return {**arrays, _ENCODED: self._encoded(arrays)}

    def has_task_weights(self) -> bool:
        """Returns whether a bias of the logits is not zero: KerasHub's models have none."""
        bias = self.logits_bias.bias
        return bias._value is not None and bool(np.any(keras.ops.convert_to_numpy(bias)))

    def hugging_face_config(self) -> dict[str, Any]:
        if self.preprocessor is None:
            return {}
        return {"decoder_start_token_id": self.preprocessor.decoder_start_token_id}

    def write_extras(self, directory: Path) -> None:
        content = {**special_token_ids(self), **self.hugging_face_config()}
        content.update(self.generation_settings.stated())
        write_json(directory / GENERATION_FILE, content)

    def _encoded(self, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """Returns the encoder's vectors `(batch, tokens, hidden_dim)` of texts that share rows."""
        texts = {
            name: rounded_rows(arrays[f"encoder_{name}"], repeats_last=False)
            for name in ("token_ids", "padding_mask")
        }
        step = packed_batch(self, texts)
        with self._in_use:
            vectors = ops.convert_to_numpy(self._encoder_program(step.pack(texts)))
        shape = arrays["encoder_token_ids"].shape
        encoded = np.zeros((*shape, vectors.shape[-1]), vectors.dtype)
        for text in range(len(encoded)):
            encoded[text, : step.lengths[text]] = step.take(vectors, text, axis=1)
        return encoded

    def _prediction_batch(self, x, y, sample_weight):
        (inputs,) = super()._prediction_batch(x, y, sample_weight)
        if self.preprocessor is None:
            return (inputs,)
        # The logits of all batches have one length, which is the decoder's.
        cut = without_needless_padding(inputs)
        return ({**inputs, **{name: cut[name] for name in _of_encoder(inputs)}},)

    def _prompts(self, inputs, max_length) -> tuple[dict[str, np.ndarray], bool]:
        arrays, is_batched = super()._prompts(inputs, max_length)
        if self.preprocessor is None or not self._follows_settings:
            return arrays, is_batched
        # As in `transformers`: where nothing is given, a text begins with its first token alone.
        ids_name, mask_name = self.prompt_inputs
        mask = arrays[mask_name] > 0
        is_surplus = mask & (mask.sum(axis=1, keepdims=True) == 2) & (np.cumsum(mask, axis=1) == 2)
        pad = self.preprocessor.tokenizer.pad_token_id
        token_ids = np.where(is_surplus, pad, arrays[ids_name])
        return {**arrays, ids_name: token_ids, mask_name: mask & ~is_surplus}, is_batched

    def _readable(self, inputs):
        if self.preprocessor is None or (
            open_stream(inputs) is None and not isinstance(inputs, keras.utils.PyDataset)
        ):
            return inputs
        return named_texts(inputs, self.preprocessor.text_names, optional=("decoder_text",))

    def _prompt_length(self, inputs) -> int:
        # The first token, before which there is nothing.
        return 1

    def _empty_caches(self, batch: int, tokens: int) -> list:
        """Returns room for keys and values of each layer."""
        backbone = self.backbone
        num_heads = backbone.num_decoder_heads
        shape = (batch, num_heads, tokens, backbone.hidden_dim // num_heads)
        layers = range(backbone.num_decoder_layers)
        return [KeyValueCache.empty(*shape, self.compute_dtype) for _ in layers]


def _of_encoder(inputs: Mapping[str, Any]) -> list[str]:
    return [name for name in inputs if name.startswith("encoder_")]
