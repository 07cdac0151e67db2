"""The abstract token classifier: a label for each word, and the entities that they make up."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import keras
import numpy as np

from clozework.data.arrays import Arrays
from clozework.errors import InputError
from clozework.layers import Dense, Dropout, activation_function, activation_name
from clozework.tasks.classifier_heads import NormalizedTokenHead, PlainTokenHead
from clozework.tasks.entities import AGGREGATIONS, entities_in
from clozework.tasks.label_names import (
    checked_names,
    class_names,
    names_in_config,
    numbered_weights,
    numbers_of_names,
    shown,
)
from clozework.tasks.numbers import check_share, known_range, softmax
from clozework.tasks.packed_texts import packed_batch, packed_vectors
from clozework.tasks.tags import (
    OUTSIDE,
    TagScheme,
    WordTag,
    join_spans,
    join_words,
    span_tags,
    word_starts,
    word_tags,
)
from clozework.tasks.task import Task
from clozework.tasks.text_inputs import text_examples
from clozework.tasks.windows import joined_windows, windows_over

__all__ = ["TokenClassifier"]

# What datasets for `transformers` put where a token has no label.
_IGNORED = -100


class TokenClassifier(Task):
    """Base class of models that give each word of a text a label: names, places, parts of speech.

    `fit` and `evaluate` take lists of words with one tag for each, as in `[["to", "Rome"]]` and
    `[["O", "B-LOC"]]`, or texts with spans of characters, `["to Rome"]` and `[[(3, 7, "LOC")]]`;
    a span may also be a dict with `"start"`, `"end"` and `"label"`, or an `Entity` from `tag`.
    The first token of a word is trained on, the others and padding are not. Tags are names or class
    numbers; names are stored with the model. `num_classes` counts them: `"O"` and, for each label
    of a span, `"B-..."` and `"I-..."`, or the label alone.

    Args:
        backbone: The family's backbone.
        num_classes: Number of tags.
        preprocessor: What turns strings into inputs; None to hand in inputs.
        activation: Of the outputs; None for logits.
        dropout: Share of the activations dropped in training before the last layer.
        label_names: Name of each tag, in the order of their numbers.

    Outputs: `(batch, tokens, num_classes)`.
    """

    kind = "TokenClassifier"
    hub_task = "token-classification"
    is_in_keras_hub = False
    head: ClassVar[PlainTokenHead | NormalizedTokenHead] = PlainTokenHead()

    def __init__(
        self,
        backbone,
        num_classes,
        preprocessor=None,
        activation=None,
        dropout=0.1,
        *,
        label_names=None,
        **kwargs,
    ):
        # As it is recorded: a plain integer.
        self.num_classes = num_classes = self.arguments["num_classes"]
        self.label_names = checked_names(label_names, num_classes)
        self.activation = activation_function(activation)
        self.is_logits = activation_name(activation) == "linear"
        dtype = backbone.dtype_policy
        self.output_dropout = Dropout(dropout, dtype=dtype, name="classifier_dropout")
        self.output_dense = Dense(
            num_classes,
            activation=self.activation,
            kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.02),
            dtype=dtype,
            name="logits",
        )
        self.backbone = backbone
        self.head.make_layers(self)
        outputs = self._scores(backbone.token_vectors(backbone(backbone.input)))
        super().__init__(backbone, preprocessor, inputs=backbone.input, outputs=outputs, **kwargs)

    def compile(self, optimizer="auto", loss="auto", *, weighted_metrics="auto", **kwargs):
        """Sets what `fit` minimises.

        Args:
            optimizer: `"auto"` is Adam(5e-5).
            loss: `"auto"` is cross-entropy, the mean over labelled words.
            weighted_metrics: `"auto"` is accuracy on labelled words.
        """
        if optimizer == "auto":
            optimizer = keras.optimizers.Adam(5e-5)
        if loss == "auto":
            loss = keras.losses.SparseCategoricalCrossentropy(
                from_logits=self.is_logits, reduction="mean_with_sample_weight"
            )
        if weighted_metrics == "auto":
            weighted_metrics = [keras.metrics.SparseCategoricalAccuracy()]
        super().compile(optimizer=optimizer, loss=loss, weighted_metrics=weighted_metrics, **kwargs)

    def tag(
        self,
        texts,
        threshold: float | None = None,
        *,
        aggregation: str = "first",
        overlap: int | None = None,
        batch_size: int = 32,
    ) -> list:
        """Finds the entities of texts.

        Args:
            texts: A string, or a list of strings; also a list of lists of words, each of which is
                taken for the words joined by spaces.
            threshold: Lowest score of an entity; None for all of them.
            aggregation: What is one entity. `"first"`: a run of words that belong together, each
                with the label of its first token. `"simple"`: a run of tokens. `"words"`: a word.
            overlap: Tokens that the windows over a text longer than a row share; None for a quarter
                of the row. A token counts in the window where it is farther from the edge.
            batch_size: Number of windows computed at once.

        Returns:
            A list of `Entity` for a string, a list of such lists for a list. A word tagged `"O"` is
            no entity.

        Raises:
            InputError: If anything is no string, or there is no such `aggregation`.

        Example:
        >>> tagger = TokenClassifier.from_preset(
        ...     "deberta_v3_tiny_en_demo", load_weights=False, num_classes=1, label_names=["WORD"]
        ... )
        >>> [(e.label, e.start, e.end) for e in tagger.tag("the sea", aggregation="words")]
        [('WORD', 0, 3), ('WORD', 4, 7)]
        """
        if self.preprocessor is None:
            raise InputError("`tag` needs a preprocessor; this model was made with None.")
        if aggregation not in AGGREGATIONS:
            raise InputError(
                f"`aggregation` must be one of {shown(AGGREGATIONS)}. Received: {aggregation!r}."
            )
        check_share("threshold", threshold)
        texts, words = join_words(texts)
        examples, is_batched = text_examples(texts)
        encodings = self._encoded(examples)
        probabilities = self._probabilities(encodings, overlap, batch_size)
        names = class_names(self.label_names, self.num_classes)
        tagged = []
        for i, (text, encoding) in enumerate(zip(examples, encodings, strict=True)):
            starts = word_starts(text, encoding.offsets)
            if words is not None:
                firsts = {token for token, _ in word_tags(encoding.offsets, words[i])}
                starts = [token in firsts for token in range(len(starts))]
            entities = entities_in(
                text,
                encoding.offsets,
                probabilities[i],
                names=names,
                starts=starts,
                aggregation=aggregation,
            )
            tagged.append([e for e in entities if threshold is None or e.score >= threshold])
        return tagged if is_batched else tagged[0]

    def tag_words(self, sentences, *, batch_size: int = 32) -> list[list[str]]:
        """Returns the tag of each word, by its first token.

        Args:
            sentences: A list of lists of words.
            batch_size: Number of windows computed at once.

        Raises:
            InputError: If the sentences are no lists of words, or there is no preprocessor.

        Example:
        >>> tagger = TokenClassifier.from_preset(
        ...     "deberta_v3_tiny_en_demo", load_weights=False, num_classes=1, label_names=["WORD"]
        ... )
        >>> tagger.tag_words([["the", "sea"], ["Rome"]])
        [['WORD', 'WORD'], ['WORD']]
        """
        if self.preprocessor is None:
            raise InputError("`tag_words` needs a preprocessor; this model was made with None.")
        is_empty = isinstance(sentences, list) and not sentences
        texts, words = ([], []) if is_empty else join_words(sentences)
        if words is None:
            raise InputError(
                f"`tag_words` takes a list of lists of words. Received: {sentences!r:.80}. `tag` "
                f"takes texts."
            )
        encodings = self._encoded(texts)
        names = class_names(self.label_names, self.num_classes)
        tagged = []
        probabilities = self._probabilities(encodings, None, batch_size)
        for encoding, of_tokens, row in zip(encodings, probabilities, words, strict=True):
            numbered = [word._replace(tag=i) for i, word in enumerate(row)]
            # A word of which the tokenizer keeps nothing has no token.
            tags = [OUTSIDE] * len(row)
            for token, i in word_tags(encoding.offsets, numbered):
                tags[i] = names[of_tokens[token].argmax()]
            tagged.append(tags)
        return tagged

    def answers_to(self, x):
        examples, _ = text_examples(join_words(x)[0])
        rows = self._probabilities(self._encoded(examples), None, batch_size=32)
        return [tag for row in rows for tag in row.argmax(axis=-1).tolist()]

    def predict(self, x, batch_size=None, **kwargs):
        """Returns the outputs `(texts, tokens, num_classes)`, of rows of `sequence_length` tokens.

        Those of padding mean nothing. Arguments as in `keras.Model.predict`.
        """
        return super().predict(x, batch_size=batch_size, **kwargs)

    def call_packed(self, inputs):
        return self._scores(packed_vectors(self.backbone, inputs))

    def output_of_text(self, values, step, i):
        return step.take(values, i, axis=1)

    def predicted(self, outputs):
        shape = (len(outputs), self.preprocessor.sequence_length, self.num_classes)
        joined = np.zeros(shape, outputs[0].dtype)
        for row, values in zip(joined, outputs, strict=True):
            row[: len(values)] = values
        return joined

    def usage(self):
        return 'entities = model.tag("A text.")'

    def labels(self):
        return self.label_names

    def prepare_examples(self, x, y=None):
        if self.preprocessor is None:
            return x, y
        texts, tags = join_words(x, y)
        return texts, join_spans(tags)

    def learn_labels(self, training, validation=None) -> None:
        if self.label_names is None:
            self._learn_names(training, validation)
        # All of them now, rather than batch by batch when some have been trained on.
        for dataset in (training, validation):
            labels = None if dataset is None else dataset.known_labels()
            if labels is not None and self.preprocessor is not None:
                labels = [label.tag for row in labels for label in row if _is_word(label)]
            if labels is not None:
                self._numbered(labels)

    def prepare_class_weight(self, class_weight):
        return numbered_weights(class_weight, self.label_names, self.num_classes)

    def hugging_face_config(self) -> dict[str, Any]:
        return names_in_config(self.label_names, self.num_classes)

    def get_config(self):
        config = super().get_config()
        config["activation"] = activation_name(self.arguments["activation"])
        if self.label_names is not None:
            config["label_names"] = list(self.label_names)
        return config

    def _scores(self, vectors):
        return self.output_dense(self.output_dropout(self.head(self, vectors)))

    def _training_batch(self, x, y, sample_weight):
        if y is None:
            raise InputError(
                "Training a token classifier needs labels: pass `y`, for each text a list of spans "
                "or, for a list of words, of tags; for arrays class numbers `(batch, tokens)`."
            )
        if self.preprocessor is None:
            self.check_inputs(x)
            labels = self._numbered(y)
            weights = _token_weights(x, labels) * (labels != _IGNORED)
            weights = _weighted(weights, sample_weight)
            labels = np.where(labels == _IGNORED, 0, labels)
        else:
            x, labels, weights = self._labelled_rows(x, y, sample_weight)
            self.check_inputs(x)
        return x, labels, weights

    def _prediction_batch(self, x, y, sample_weight):
        if self.preprocessor is None:
            return super()._prediction_batch(x, y, sample_weight)
        # Of one width, as the outputs of all batches become one array.
        arrays = self.preprocessor.pack([(encoding.ids,) for encoding in self._encoded(x)])
        self.check_inputs(arrays)
        return (arrays,)

    def _encoded(self, examples: Sequence[Any]) -> list:
        pairs = [i for i, example in enumerate(examples) if not isinstance(example, str)]
        if pairs:
            raise InputError(
                f"Text {pairs[0]} is {examples[pairs[0]]!r:.80}, several texts; a token classifier "
                f"takes one. Pass a list of strings."
            )
        return self.preprocessor.tokenizer.encode(list(examples))

    def _probabilities(self, encodings, overlap: int | None, batch_size: int) -> list[np.ndarray]:
        """Returns the probabilities of the tags of each token of each text."""
        lengths = [len(encoding.ids) for encoding in encodings]
        room = self.preprocessor.sequence_length - 2
        windows = windows_over(lengths, room, room // 4 if overlap is None else overlap)
        if not windows:
            return [np.zeros((length, self.num_classes)) for length in lengths]
        parts = [(encodings[w.text].ids[w.start : w.stop],) for w in windows]
        outputs = self.outputs_of_rows(self.preprocessor.pack(parts), batch_size)
        # After the start token.
        outputs = [
            values[1 : 1 + w.stop - w.start] for w, values in zip(windows, outputs, strict=True)
        ]
        joined = joined_windows(windows, outputs, lengths)
        return [softmax(values) if self.is_logits else values for values in joined]

    def _labelled_rows(
        self, texts, y, sample_weight
    ) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
        """Returns inputs, the number of each token's tag, and the weight of those that have one."""
        encodings = self._encoded(texts)
        arrays = self.preprocessor.pack([(encoding.ids,) for encoding in encodings])
        shape = arrays["token_ids"].shape
        labels, weights = np.zeros(shape, "int32"), np.zeros(shape, "float32")
        for i, (text, encoding) in enumerate(zip(texts, encodings, strict=True)):
            for token, number in self._numbered_tags(text, encoding.offsets, y[i]):
                # After the start token, and before the end token.
                if token < shape[1] - 2 and number != _IGNORED:
                    labels[i, token + 1], weights[i, token + 1] = number, 1.0
        weights = _weighted(weights, sample_weight)
        if self.packs_texts:
            rows = packed_batch(self, arrays, has_one_length=True)
            return rows.pack(arrays), rows.spread(labels), rows.spread(weights)
        return arrays, labels, weights

    def _numbered_tags(self, text: str, offsets, row) -> list[tuple[int, int]]:
        """Returns the tokens of a text that have a tag, each with the tag's number."""
        row = list(row) if isinstance(row, list | tuple | np.ndarray) else [row]
        if row and all(map(_is_word, row)):
            tags = list(word_tags(offsets, row))
        else:
            tags = list(span_tags(text, offsets, row, TagScheme(self.label_names or ())))
        numbers = self._numbered([tag for _, tag in tags])
        return list(zip((token for token, _ in tags), numbers.tolist(), strict=True))

    def _numbered(self, labels) -> np.ndarray:
        """Returns class numbers for tags; those of names, where any is a name."""
        if isinstance(labels, list) and any(isinstance(label, str) for label in labels):
            return np.array(numbers_of_names(labels, self.label_names))
        labels = np.asarray(labels)
        lowest, highest = known_range("Labels", labels[labels != _IGNORED]) or (0, 0)
        if lowest < 0 or highest >= self.num_classes:
            raise InputError(
                f"Labels go from {lowest} to {highest}, but num_classes={self.num_classes}: class "
                f"numbers are 0 to {self.num_classes - 1}, and {_IGNORED} for no label."
            )
        return labels

    def _learn_names(self, training, validation) -> None:
        names = training.distinct_labels()
        if names is None:
            return
        known = training.known_labels()
        more = None if validation is None else validation.known_labels()
        if more is not None:
            names = sorted({*names, *(Arrays(more).strings() or ())})
        # A stream gives texts, not words, and so spans.
        is_spans = known is None or not any(_is_word(label) for row in known for label in row)
        possible = [_with_prefixes(names), [OUTSIDE, *names]] if is_spans else [_sorted(names)]
        self.label_names = next((n for n in possible if len(n) == self.num_classes), None)
        if self.label_names is None:
            counts = " or ".join(f"num_classes={len(n)} ({shown(n)})" for n in possible)
            raise InputError(
                f"There are {len(names)} different labels ({shown(names)}), but the model has "
                f"num_classes={self.num_classes}. Make it with {counts}, or pass the `label_names` "
                f"of all classes."
            )


def _is_word(label) -> bool:
    return isinstance(label, WordTag)


def _token_weights(x: Mapping[str, Any], labels: np.ndarray) -> np.ndarray:
    """Returns 1 for each token of arrays that is no padding, as far as the model knows."""
    shape = np.shape(x["token_ids"])
    if labels.shape != shape:
        raise InputError(
            f"Labels have the shape {labels.shape}, but 'token_ids' {shape}. Give one class number "
            f"for each token, and {_IGNORED} where it has none."
        )
    if "padding_mask" not in x:
        return np.ones(shape, "float32")
    return (np.asarray(x["padding_mask"]) > 0).astype("float32")


def _weighted(weights: np.ndarray, sample_weight) -> np.ndarray:
    """Returns weights of tokens times those of texts, or of tokens, where there are any."""
    if sample_weight is None:
        return weights
    sample_weight = np.asarray(sample_weight, "float32")
    return weights * (sample_weight[:, None] if sample_weight.ndim == 1 else sample_weight)


def _sorted(names: Sequence[str]) -> list[str]:
    return sorted(names, key=lambda name: (name != OUTSIDE, name))


def _with_prefixes(labels: Sequence[str]) -> list[str]:
    return [OUTSIDE, *(f"{prefix}-{label}" for prefix in "BI" for label in labels)]
