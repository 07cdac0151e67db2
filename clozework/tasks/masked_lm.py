"""The abstract masked language model."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import keras
import numpy as np

from clozework.data import FIRST_TOKENS, make_dataset
from clozework.errors import InputError
from clozework.layers import MaskedLMHead, activation_name
from clozework.tasks.numbers import check_count, known_range
from clozework.tasks.packed_texts import outputs_of_texts, packed_vectors
from clozework.tasks.padding import without_needless_padding
from clozework.tasks.recorded_model import RecordedModel
from clozework.tasks.task import Task
from clozework.tasks.text_inputs import text_examples

__all__ = ["Candidate", "FilledMask", "FilledText", "MaskedLM"]


@dataclass(frozen=True)
class Candidate:
    """One token that could stand in place of a mask.

    Attributes:
        token: The token as text, without marks of its vocabulary.
        probability: Of this token among all of the vocabulary.
        token_id: Its id.
        text: The whole text with this token, and with the best ones in place of other masks.
    """

    token: str
    probability: float
    token_id: int
    text: str


@dataclass(frozen=True)
class FilledMask:
    """One mask of a text.

    Attributes:
        start, end: Where the mask stands in the text, in characters.
        candidates: Best first.
    """

    start: int
    end: int
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True)
class FilledText:
    """A text whose masks are filled.

    Attributes:
        text: The text with the best candidate in place of each mask.
        masks: In the order of the text.
    """

    text: str
    masks: tuple[FilledMask, ...]


class MaskedLM(Task):
    """Base class of models that predict masked tokens.

    `fit` and `evaluate` on strings mask tokens at random. `predict` and `fill` on strings predict
    the masks that are written in them.

    Args:
        backbone: The family's backbone.
        preprocessor: What turns strings into inputs; None to hand in inputs.
        head_activation, head_layer_norm_epsilon: Of the head's dense layer and normalisation.
            KerasHub's are the defaults; loading a checkpoint of Hugging Face sets its own.

    Outputs: Logits `(batch, masks, vocabulary)` at `"mask_positions"`.
    """

    kind = "MaskedLM"
    # The scores of a whole vocabulary for each text cost more than a gap in a row.
    shortest_text = 16
    hub_task = "fill-mask"
    # Of the head's dense layer and normalisation.
    use_head_biases: ClassVar[bool] = True

    def __init__(
        self,
        backbone,
        preprocessor=None,
        *,
        head_activation="gelu",
        head_layer_norm_epsilon=1e-5,
        **kwargs,
    ):
        inputs = {
            **backbone.input,
            "mask_positions": keras.Input((None,), dtype="int32", name="mask_positions"),
        }
        self.masked_lm_head = MaskedLMHead(
            vocabulary_size=backbone.vocabulary_size,
            token_embedding=backbone.token_embedding,
            intermediate_activation=activation_name(head_activation),
            layer_norm_epsilon=head_layer_norm_epsilon,
            kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.02),
            use_intermediate_bias=self.use_head_biases,
            dtype=backbone.dtype_policy,
            name="mlm_head",
        )
        tokens = backbone.token_vectors(backbone(backbone.input))
        outputs = self.masked_lm_head(tokens, inputs["mask_positions"])
        super().__init__(backbone, preprocessor, inputs=inputs, outputs=outputs, **kwargs)

    def compile(self, optimizer="auto", loss="auto", *, weighted_metrics="auto", **kwargs):
        """Sets what `fit` minimises; `"auto"` is Adam(5e-5), cross-entropy and accuracy."""
        if optimizer == "auto":
            optimizer = keras.optimizers.Adam(5e-5)
        if loss == "auto":
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        if weighted_metrics == "auto":
            weighted_metrics = [keras.metrics.SparseCategoricalAccuracy()]
        super().compile(optimizer=optimizer, loss=loss, weighted_metrics=weighted_metrics, **kwargs)

    def fill(self, texts, top_k: int = 5):
        """Fills the masks of texts.

        Args:
            texts: A string, or a list of strings, each with the mask token of the model, such as
                `"[MASK]"` or `"<mask>"`, at least once.
            top_k: Number of candidates for each mask.

        Returns:
            A `FilledText` for a string, a list of them for a list.

        Raises:
            InputError: If a text has no mask, or `top_k` is not within the vocabulary.

        Example:
        >>> masked_lm = MaskedLM.from_preset("deberta_v3_tiny_en_demo")
        >>> filled = masked_lm.fill("In the beginning God created the [MASK] and the earth.")
        >>> filled.masks[0].candidates[0].token
        'heaven'
        """
        if self.preprocessor is None:
            raise InputError("`fill` needs a preprocessor; this model was made with None.")
        check_count("top_k", top_k, highest=self.backbone.vocabulary_size)
        examples, is_batched = text_examples(texts)
        pairs = [i for i, example in enumerate(examples) if not isinstance(example, str)]
        if pairs:
            raise InputError(
                f"`fill` takes strings, but text {pairs[0]} is a pair. Join its parts."
            )
        self.check_row_length()
        arrays = self.preprocessor.written_masks(examples)
        self.check_inputs(arrays)
        filled = []
        at_once = _TEXTS_IN_SHARED_ROWS if self.packs_texts else _TEXTS_AT_ONCE
        for start in range(0, len(examples), at_once):
            part = slice(start, start + at_once)
            batch = {name: values[part] for name, values in arrays.items()}
            filled += self._fill_batch(examples[part], batch, top_k)
        return filled if is_batched else filled[0]

    def answers_to(self, x):
        filled = self.fill(text_examples(x)[0], top_k=1)
        return [mask.candidates[0].token_id for text in filled for mask in text.masks]

    def usage(self):
        mask = self.preprocessor.tokenizer.mask_token if self.preprocessor else "[MASK]"
        return f'print(model.fill("A text with a {mask} in it.").text)'

    def usage_in_transformers(self):
        mask = self.preprocessor.tokenizer.mask_token if self.preprocessor else "[MASK]"
        text = f"A text with a {mask} in it."
        return [f'outputs = model(**tokenizer("{text}", return_tensors="pt"))']

    def predict(self, x, batch_size=None, **kwargs):
        """Returns logits `(texts, masks, vocabulary)` for the masks written in texts.

        `masks` is the most that a text has; a text with fewer repeats its last one. Preprocessed
        inputs are taken as by `keras.Model.predict`.
        """
        if self.preprocessor is None:
            return super().predict(x, batch_size=batch_size, **kwargs)
        self.check_row_length()
        # The outputs are one array, as wide as the most masks of any text: all are read first.
        texts = make_dataset(x, preprocess=None, is_text=True, batch_size=batch_size)
        batches = itertools.islice(texts, kwargs.pop("steps", None))
        arrays = self._written_masks([text for batch in batches for text in batch[0]])
        if self.packs_texts and not kwargs.get("callbacks"):
            return self.predicted(outputs_of_texts(self, arrays, batch_size or 32))
        dataset = make_dataset(arrays, preprocess=None, is_text=False, batch_size=batch_size)
        return RecordedModel.predict(self, dataset, **kwargs)

    def check_inputs(self, inputs) -> None:
        super().check_inputs(inputs)
        if not isinstance(inputs, Mapping):
            return
        if "mask_positions" not in inputs:
            raise InputError(
                f"{self.name!r} takes 'mask_positions', too: the positions `(batch, masks)` of the "
                f"tokens to predict. Received: {', '.join(map(repr, inputs))}."
            )
        known = known_range("`mask_positions`", inputs["mask_positions"])
        if known is None:
            return
        (lowest, highest), shape = known, np.shape(inputs["token_ids"])
        # In packed rows they count through all of them.
        tokens = shape[0] * shape[1] if FIRST_TOKENS in inputs else shape[-1]
        if lowest < 0 or (tokens is not None and highest >= tokens):
            raise InputError(
                f"`mask_positions` goes from {lowest} to {highest}, but rows have the positions 0 "
                f"to {tokens - 1}."
            )

    def call_packed(self, inputs):
        vectors = packed_vectors(self.backbone, inputs)
        of_all_rows = keras.ops.reshape(vectors, (1, -1, vectors.shape[-1]))
        positions = inputs["mask_positions"]
        outputs = self.masked_lm_head(of_all_rows, keras.ops.reshape(positions, (1, -1)))
        return keras.ops.reshape(outputs, (-1, keras.ops.shape(positions)[1], outputs.shape[-1]))

    def prepare_labels(self, y):
        if y is None:
            raise InputError(
                "Training a masked LM on arrays needs labels: pass as `y` the ids that stood at "
                "`mask_positions`, `(batch, masks)`."
            )
        lowest, highest = known_range("Labels", y) or (0, 0)
        if lowest < 0 or highest >= self.backbone.vocabulary_size:
            raise InputError(
                f"Labels go from {lowest} to {highest}, but the vocabulary has the ids 0 to "
                f"{self.backbone.vocabulary_size - 1}."
            )
        return y

    def learn_labels(self, training, validation=None) -> None:
        if self.preprocessor is not None:
            return
        # All labels now, rather than batch by batch when some have been trained on.
        for dataset in (training, validation):
            labels = None if dataset is None else dataset.known_labels()
            if labels is not None or (dataset is not None and not dataset.has_labels):
                self.prepare_labels(labels)

    def _prediction_batch(self, x, y, sample_weight):
        if self.preprocessor is None:
            return super()._prediction_batch(x, y, sample_weight)
        return (self._written_masks(x),)

    def _written_masks(self, texts: Sequence[Any]) -> dict[str, np.ndarray]:
        arrays = without_needless_padding(self.preprocessor.written_masks(texts))
        self.check_inputs(arrays)
        return arrays

    def _fill_batch(
        self, texts: Sequence[str], arrays: dict[str, np.ndarray], top_k: int
    ) -> list[FilledText]:
        spans = self._mask_spans(texts)
        arrays = dict(arrays)
        arrays["mask_positions"] = arrays["mask_positions"][:, : max(map(len, spans))]
        logits = self._logits(_rounded_up(arrays), len(texts))
        return [
            self._filled_text(text, spans_of_text, logits[i, : len(spans_of_text)], top_k)
            for i, (text, spans_of_text) in enumerate(zip(texts, spans, strict=True))
        ]

    def _logits(self, arrays: dict[str, np.ndarray], num_texts: int) -> np.ndarray:
        """Returns float32 `(texts, masks, vocabulary)` for the first rows; others fill a batch."""
        if self.packs_texts:
            own = {name: values[:num_texts] for name, values in arrays.items()}
            return np.stack(outputs_of_texts(self, own, num_texts)).astype("float32")
        logits = RecordedModel.predict_on_batch(self, without_needless_padding(arrays))
        return np.asarray(logits)[:num_texts].astype("float32")

    def _mask_spans(self, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
        """Where the masks of each text stand, in characters."""
        tokenizer = self.preprocessor.tokenizer
        return [
            [
                span
                for token_id, span in zip(encoding.ids, encoding.offsets, strict=True)
                if token_id == tokenizer.mask_token_id
            ]
            for encoding in tokenizer.encode(texts, special_tokens_in_strings=True)
        ]

    def _filled_text(self, text: str, spans, logits: np.ndarray, top_k: int) -> FilledText:
        order = np.argsort(-logits, axis=-1, kind="stable")[:, :top_k]
        weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
        probabilities = weights / weights.sum(axis=-1, keepdims=True)
        words = [self._words(ids) for ids in order]
        best = [candidates[0] for candidates in words]
        masks = []
        for i, (start, end) in enumerate(spans):
            candidates = tuple(
                Candidate(
                    token=word,
                    probability=float(probabilities[i, token_id]),
                    token_id=int(token_id),
                    text=_replaced(text, spans, [*best[:i], word, *best[i + 1 :]]),
                )
                for word, token_id in zip(words[i], order[i], strict=True)
            )
            masks.append(FilledMask(start, end, candidates))
        return FilledText(_replaced(text, spans, best), tuple(masks))

    def _words(self, token_ids) -> list[str]:
        """Tokens as people write them."""
        texts = self.preprocessor.tokenizer.detokenize([[int(token_id)] for token_id in token_ids])
        return [text.strip().removeprefix("##") for text in texts]


# Enough to fill the machine, few enough for logits over a large vocabulary to fit in memory.
_TEXTS_AT_ONCE = 32
_TEXTS_IN_SHARED_ROWS = 128


def _rounded_up(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Repeats rows and masks up to a power of two: few shapes, so few programs to compile."""
    rows, masks = arrays["mask_positions"].shape
    more_rows = (1 << (rows - 1).bit_length()) - rows
    more_masks = (1 << (masks - 1).bit_length()) - masks
    rounded = {name: np.pad(v, ((0, more_rows), (0, 0)), "edge") for name, v in arrays.items()}
    rounded["mask_positions"] = np.pad(rounded["mask_positions"], ((0, 0), (0, more_masks)), "edge")
    return rounded


def _replaced(text: str, spans, words: Sequence[str]) -> str:
    parts, done = [], 0
    for (start, end), word in zip(spans, words, strict=True):
        parts += [text[done:start], word]
        done = end
    return "".join([*parts, text[done:]])
