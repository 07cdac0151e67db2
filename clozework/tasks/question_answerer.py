"""The abstract question answerer: finds the part of a context that answers a question."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import keras
import numpy as np

from clozework.errors import ClozeworkWarning, InputError
from clozework.layers import Dense, Dropout
from clozework.tasks.answers import (
    NO_ANSWER,
    Answer,
    answer_span,
    answer_tokens,
    best_spans,
    join_answers,
)
from clozework.tasks.classifier_heads import NormalizedTokenHead, PlainTokenHead
from clozework.tasks.numbers import check_count, known_range, softmax
from clozework.tasks.packed_texts import first_tokens_of, packed_vectors, vectors_at
from clozework.tasks.tags import word_starts
from clozework.tasks.task import Task
from clozework.tasks.text_inputs import text_examples
from clozework.tasks.windows import Window, windows_over

__all__ = ["QuestionAnswerer"]

# The logit of padding: exact in every precision, and far below those of tokens.
_LOWEST = -8192.0


class QuestionAnswerer(Task):
    """Base class of models that find the part of a context that answers a question.

    `fit` and `evaluate` take pairs of question and context, `(questions, contexts)`, and for each
    an answer: `(start, end)` in characters of the context, `(text, start)`, or a dict as in SQuAD.
    An empty one, such as `(0, 0)`, says that the context has no answer. Of a context that is longer
    than a row, the part around the answer is trained on.

    Args:
        backbone: The family's backbone.
        preprocessor: What turns strings into inputs; None to hand in inputs.
        dropout: Share of the activations dropped in training before the last layer.

    Outputs: Logits `(batch, 2, tokens)`: of each token to be the first, and the last, of the
        answer. That of the start token of the row stands for no answer.
    """

    kind = "QuestionAnswerer"
    hub_task = "question-answering"
    is_in_keras_hub = False
    head: ClassVar[PlainTokenHead | NormalizedTokenHead] = PlainTokenHead()

    def __init__(self, backbone, preprocessor=None, *, dropout=0.0, **kwargs):
        dtype = backbone.dtype_policy
        self.output_dropout = Dropout(dropout, dtype=dtype, name="answer_dropout")
        self.output_dense = Dense(
            2,
            kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.02),
            dtype=dtype,
            name="logits",
        )
        self.backbone = backbone
        self.head.make_layers(self)
        tokens = backbone.token_vectors(backbone(backbone.input))
        outputs = keras.ops.transpose(self._scores(tokens), (0, 2, 1))
        if "padding_mask" in backbone.input:
            is_token = keras.ops.expand_dims(backbone.input["padding_mask"] > 0, 1)
            outputs = keras.ops.where(is_token, outputs, _LOWEST)
        self._has_warned_of_parts = False
        super().__init__(backbone, preprocessor, inputs=backbone.input, outputs=outputs, **kwargs)

    def compile(self, optimizer="auto", loss="auto", *, weighted_metrics="auto", **kwargs):
        """Sets what `fit` minimises.

        Args:
            optimizer: `"auto"` is Adam(5e-5).
            loss: `"auto"` is cross-entropy, the mean of first and last tokens.
            weighted_metrics: `"auto"` is accuracy, likewise.
        """
        if optimizer == "auto":
            optimizer = keras.optimizers.Adam(5e-5)
        if loss == "auto":
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        if weighted_metrics == "auto":
            weighted_metrics = [keras.metrics.SparseCategoricalAccuracy()]
        super().compile(optimizer=optimizer, loss=loss, weighted_metrics=weighted_metrics, **kwargs)

    def answer(
        self,
        question,
        context,
        top_k: int = 1,
        *,
        max_answer_length: int = 15,
        can_be_absent: bool = False,
        overlap: int = 128,
        batch_size: int = 32,
    ) -> list:
        """Finds the answers to questions.

        Args:
            question: A string, or a list of strings.
            context: A string, which may belong to several questions, or a list of strings.
            top_k: How many answers to give, at most.
            max_answer_length: Most tokens of an answer, which is rounded up to whole words.
            can_be_absent: Whether no answer, `Answer("", 0, 0, score)`, is one of the answers.
            overlap: Tokens that the windows over a context longer than a row share; half a window
                where that is less.
            batch_size: Number of windows computed at once.

        Returns:
            A list of `Answer`, best first, for a string; a list of such lists for a list.

        Raises:
            InputError: If anything is no string, or a question leaves no room for a context.

        Example:
        >>> answerer = QuestionAnswerer.from_preset("deberta_v3_tiny_en_demo", load_weights=False)
        >>> [answer] = answerer.answer("Who was in the garden?", "Adam was in the garden.")
        >>> "Adam was in the garden."[answer.start : answer.end] == answer.text
        True
        """
        if self.preprocessor is None:
            raise InputError("`answer` needs a preprocessor; this model was made with None.")
        check_count("top_k", top_k)
        check_count("max_answer_length", max_answer_length)
        questions, is_batched = text_examples(question)
        contexts, has_own_contexts = text_examples(context)
        if not has_own_contexts:
            contexts = contexts * len(questions)
        elif not is_batched:
            raise InputError("`context` is a list for a single question. Join it, or repeat it.")
        if len(contexts) != len(questions):
            raise InputError(f"There are {len(questions)} questions, but {len(contexts)} contexts.")
        if not questions:
            return []
        options = {"top_k": top_k, "max_length": max_answer_length}
        found = self._answers(
            list(zip(questions, contexts, strict=True)), options, can_be_absent, overlap, batch_size
        )
        return found if is_batched else found[0]

    def check_question(self, question: str) -> None:
        """Raises `InputError` if a question leaves no room for a context in a row."""
        [encoding] = self.preprocessor.tokenizer.encode([question])
        self._room(encoding)

    def answers_to(self, x):
        return self.predict(x, verbose=0).argmax(axis=-1).tolist()

    def predict(self, x, batch_size=None, **kwargs):
        """Returns the logits `(texts, 2, tokens)`, of rows of `sequence_length` tokens.

        Arguments as in `keras.Model.predict`; x are pairs of question and context.
        """
        return super().predict(x, batch_size=batch_size, **kwargs)

    def call_packed(self, inputs):
        scores = self._scores(packed_vectors(self.backbone, inputs))
        first_tokens, numbers = first_tokens_of(inputs), inputs["padding_mask"]
        rows, tokens = keras.ops.shape(numbers)
        # Counted along axes, whose lengths need not be known.
        offsets = keras.ops.cumsum(keras.ops.ones_like(numbers[:1]), axis=1) - 1
        places = keras.ops.expand_dims(first_tokens, 1) + offsets
        places = keras.ops.minimum(places, rows * tokens - 1)
        # As wide as a row, with the tokens of one text in each.
        scores = keras.ops.transpose(vectors_at(scores, places), (0, 2, 1))
        texts = keras.ops.cumsum(keras.ops.ones_like(first_tokens)) + 1
        numbers = keras.ops.take(keras.ops.reshape(numbers, (-1,)), places)
        is_own = keras.ops.equal(numbers, keras.ops.expand_dims(texts, 1))
        return keras.ops.where(keras.ops.expand_dims(is_own, 1), scores, _LOWEST)

    def output_of_text(self, values, step, i):
        return values[step.slots[i], :, : step.lengths[i]]

    def predicted(self, outputs):
        shape = (len(outputs), 2, self.preprocessor.sequence_length)
        joined = np.full(shape, _LOWEST, outputs[0].dtype)
        for row, scores in zip(joined, outputs, strict=True):
            row[:, : scores.shape[1]] = scores
        return joined

    def usage(self):
        return 'answers = model.answer("A question?", "A text that answers it.")'

    def usage_in_transformers(self):
        return [
            'texts = tokenizer("A question?", "A text that answers it.", return_tensors="pt")',
            "outputs = model(**texts)",
        ]

    def prepare_examples(self, x, y=None):
        return (x, y) if self.preprocessor is None else (x, join_answers(y))

    def learn_labels(self, training, validation=None) -> None:
        if self.preprocessor is not None:
            return
        # All of them now, rather than batch by batch when some have been trained on.
        for dataset in (training, validation):
            labels = None if dataset is None else dataset.known_labels()
            if labels is not None:
                known_range("Labels", labels)

    def _scores(self, vectors):
        return self.output_dense(self.output_dropout(self.head(self, vectors)))

    def _training_batch(self, x, y, sample_weight):
        if y is None:
            raise InputError(
                "Training a question answerer needs labels: pass `y`, for each pair (start, end) "
                "in characters of the context; for arrays positions in the row, `(batch, 2)`."
            )
        if self.preprocessor is None:
            self.check_inputs(x)
            self._check_positions(x, y)
        else:
            x, y = self._labelled_rows(x, y)
            self.check_inputs(x)
        return (x, y) if sample_weight is None else (x, y, sample_weight)

    def _prediction_batch(self, x, y, sample_weight):
        if self.preprocessor is None:
            return super()._prediction_batch(x, y, sample_weight)
        # Of one width, as the outputs of all batches become one array.
        questions, contexts = self._encoded(x)
        rows = [(q.ids, c.ids) for q, c in zip(questions, contexts, strict=True)]
        arrays = self.preprocessor.pack(rows)
        self.check_inputs(arrays)
        return (arrays,)

    def _check_positions(self, x: Mapping[str, Any], y) -> None:
        batch, tokens = np.shape(x["token_ids"])
        if np.shape(y) != (batch, 2):
            raise InputError(
                f"Labels have the shape {np.shape(y)}, but should have {(batch, 2)}: the positions "
                f"of the first and the last token of each answer."
            )
        lowest, highest = known_range("Labels", y) or (0, 0)
        if lowest < 0 or highest >= tokens:
            raise InputError(
                f"Labels go from {lowest} to {highest}, but rows have the positions 0 to "
                f"{tokens - 1}."
            )

    def _encoded(self, pairs: Sequence[Any]) -> tuple[list, list]:
        wrong = [i for i, pair in enumerate(pairs) if not _is_pair(pair)]
        if wrong:
            raise InputError(
                f"Text {wrong[0]} is {pairs[wrong[0]]!r:.80}, but a question answerer takes pairs: "
                f"(questions, contexts), or a list of (question, context)."
            )
        tokenizer = self.preprocessor.tokenizer
        questions, contexts = zip(*pairs, strict=True)
        return tokenizer.encode(list(questions)), tokenizer.encode(list(contexts))

    def _room(self, question) -> int:
        """Returns how many tokens of a context fit into a row with a question."""
        room = self.preprocessor.sequence_length - self._context_start(question) - 1
        if room < 1:
            raise InputError(
                f"A question has {len(question.ids)} tokens, which leaves no room for a context in "
                f"rows of sequence_length={self.preprocessor.sequence_length}. Shorten it, or "
                f"raise `preprocessor.sequence_length`."
            )
        return room

    def _context_start(self, question) -> int:
        """Returns the position of the context's first token: after start, question, separators."""
        return 1 + len(question.ids) + self.preprocessor.tokenizer.num_separators

    def _labelled_rows(self, pairs, y) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Returns inputs, and the positions of the first and the last token of each answer."""
        rows, positions, num_cut = [], [], 0
        for i, (question, context) in enumerate(zip(*self._encoded(pairs), strict=True)):
            room, start, position = self._room(question), 0, (0, 0)
            span = answer_span(pairs[i][1], y[i])
            if span != NO_ANSWER:
                first, last = answer_tokens(pairs[i][1], context.offsets, span)
                last = min(last, first + room - 1)
                if last >= room:
                    middle = (first + last) // 2
                    start = min(max(middle - room // 2, last - room + 1), first)
                ahead = self._context_start(question) - start
                position = first + ahead, last + ahead
            rows.append((question.ids, context.ids[start : start + room]))
            positions.append(position)
            num_cut += len(context.ids) > room
        self._warn_of_parts(num_cut, len(rows))
        return self.compact(self.preprocessor.pack(rows)), np.array(positions, "int32")

    def _warn_of_parts(self, num_cut: int, num_rows: int) -> None:
        if num_cut and not self._has_warned_of_parts:
            self._has_warned_of_parts = True
            warnings.warn(
                f"{num_cut} of {num_rows} contexts are longer than a row and are trained on in the "
                f"part around their answer. This is said once.",
                ClozeworkWarning,
                stacklevel=4,
            )

    def _answers(
        self, pairs, options, can_be_absent: bool, overlap: int, batch_size: int
    ) -> list[list[Answer]]:
        questions, contexts = self._encoded(pairs)
        windows: list[Window] = []
        for i, (question, context) in enumerate(zip(questions, contexts, strict=True)):
            room = self._room(question)
            parts = windows_over([len(context.ids)], room, min(overlap, room // 2))
            windows += [Window(i, part.start, part.stop) for part in parts]
        rows = [(questions[w.text].ids, contexts[w.text].ids[w.start : w.stop]) for w in windows]
        outputs = self.outputs_of_rows(self.preprocessor.pack(rows), batch_size) if rows else []
        spans: list[dict[tuple[int, int], float]] = [{} for _ in pairs]
        absent = [1.0] * len(pairs)
        for window, logits in zip(windows, outputs, strict=True):
            ahead = self._context_start(questions[window.text])
            # The first token says that there is no answer; it competes with the context's.
            scored = np.concatenate(
                [logits[:, :1], logits[:, ahead : ahead + window.stop - window.start]], axis=1
            )
            start, end = softmax(scored)
            absent[window.text] = min(absent[window.text], float(start[0] * end[0]))
            for first, last, score in best_spans(start[1:], end[1:], **options):
                key = (first + window.start, last + window.start)
                spans[window.text][key] = max(score, spans[window.text].get(key, 0.0))
        found = []
        for i, (_, text) in enumerate(pairs):
            answers = list(_in_words(text, contexts[i].offsets, spans[i]))
            answers += [Answer("", *NO_ANSWER, absent[i])] if can_be_absent else []
            answers.sort(key=lambda answer: -answer.score)
            found.append(answers[: options["top_k"]])
        return found


def _is_pair(example) -> bool:
    return isinstance(example, tuple) and [isinstance(text, str) for text in example] == [True] * 2


def _in_words(text: str, offsets, spans: Mapping[tuple[int, int], float]):
    """Yields answers of whole words; of several in the same words, the best."""
    starts = word_starts(text, offsets)
    best: dict[tuple[int, int], float] = {}
    for (first, last), score in spans.items():
        while first > 0 and not starts[first]:
            first -= 1
        while last + 1 < len(starts) and not starts[last + 1]:
            last += 1
        place = offsets[first][0], max(end for _, end in offsets[first : last + 1])
        best[place] = max(score, best.get(place, 0.0))
    for (start, end), score in best.items():
        if start < end:
            yield Answer(text[start:end], start, end, score)
