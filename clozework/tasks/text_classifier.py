"""The abstract text classifier: classes, several labels a text, numbers, and ranks."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import keras
import numpy as np

from clozework.data.arrays import Arrays, read_labels
from clozework.errors import ConfigError, InputError
from clozework.layers import Dense, activation_function, activation_name
from clozework.tasks.calibration import best_temperature
from clozework.tasks.class_labels import (
    PROBLEM_TYPES,
    accuracy_for,
    as_multi_hot,
    as_numbers,
    as_values,
    as_vectors,
    labels_of,
)
from clozework.tasks.classification import RankedDocument, best_labels
from clozework.tasks.classifier_heads import (
    FirstTokenHead,
    LastTokenHead,
    NormalizedHead,
    PooledOutputHead,
)
from clozework.tasks.label_names import (
    checked_names,
    class_names,
    names_in_config,
    numbered_weights,
    numbers_of_names,
    shown,
)
from clozework.tasks.numbers import check_count, check_outputs, check_share, sigmoid, softmax
from clozework.tasks.task import Task
from clozework.tasks.text_inputs import text_examples
from clozework.tasks.windows import windows_over

__all__ = ["PooledOutputClassifier", "TextClassifier"]

_LONG_TEXTS = ("cut", "chunk")


class TextClassifier(Task):
    """Base class of models that give a text, or a pair of texts, one of several classes.

    Labels in `fit` and `evaluate` are class numbers, one-hot vectors, or names: strings, which are
    numbered in sorted order unless `label_names` are given, and are stored with the model.

    Args:
        backbone: The family's backbone.
        num_classes: Number of classes.
        preprocessor: What turns strings into inputs; None to hand in inputs.
        activation: Of the outputs; None for logits.
        hidden_dim: Width of the head's dense layer; None for the backbone's.
        dropout: Share of the activations dropped in training around the dense layer.
        label_names: Name of each class, in the order of their numbers.
        problem_type: `"multi_label_classification"` for any number of classes a text: labels are
            lists of names, or a 0 or 1 for each class. `"regression"` for numbers in place of
            classes. `"single_label_classification"`, or None, for one class.

    Outputs: `(batch, num_classes)`.
    """

    kind = "TextClassifier"
    hub_task = "text-classification"
    head: ClassVar[PooledOutputHead | FirstTokenHead | LastTokenHead | NormalizedHead]
    # Of the optimizer that `compile` takes by itself.
    learning_rate: ClassVar[float] = 5e-5

    def __init__(
        self,
        backbone,
        num_classes,
        preprocessor=None,
        activation=None,
        hidden_dim=None,
        dropout=0.0,
        *,
        label_names=None,
        problem_type=None,
        **kwargs,
    ):
        if problem_type not in (None, *PROBLEM_TYPES):
            raise ConfigError(
                f"`problem_type` must be one of {shown(PROBLEM_TYPES)}. Received: {problem_type!r}."
            )
        self.problem_type = problem_type
        # As it is recorded: a plain integer.
        self.num_classes = num_classes = self.arguments["num_classes"]
        self.label_names = checked_names(label_names, num_classes)
        self.activation = activation_function(activation)
        self.is_logits = activation_name(activation) == "linear"
        self.backbone = backbone
        self.output_dense = Dense(
            num_classes,
            activation=self.activation,
            kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.02),
            dtype=backbone.dtype_policy,
            name="logits",
        )
        self.head.make_layers(self, hidden_dim, dropout)
        outputs = self.output_dense(self.head(self, backbone(backbone.input)))
        super().__init__(backbone, preprocessor, inputs=backbone.input, outputs=outputs, **kwargs)

    def compile(self, optimizer="auto", loss="auto", *, metrics="auto", **kwargs):
        """Sets what `fit` minimises.

        Args:
            optimizer: `"auto"` is Adam with the class's `learning_rate`, 5e-5 in most families.
            loss: `"auto"` is cross-entropy of class numbers, of each class by itself where a text
                may have several, and the squared error for numbers. Of Keras's other losses, those
                of one-hot vectors take class numbers and names, too.
            metrics: `"auto"` is accuracy, as far as the loss is one of classes.
        """
        if optimizer == "auto":
            optimizer = keras.optimizers.Adam(self.learning_rate)
        if loss == "auto":
            loss = self._usual_loss()
        if metrics == "auto":
            metrics = self._usual_metrics(loss)
        super().compile(optimizer=optimizer, loss=loss, metrics=metrics, **kwargs)

    def classify(
        self,
        texts,
        top_k: int | None = None,
        threshold: float | None = None,
        *,
        long_texts: str = "cut",
        batch_size: int = 32,
    ) -> list:
        """Returns the classes of texts, with probabilities.

        Args:
            texts: A string, or a pair of strings as a tuple; or a list of strings or of pairs.
            top_k: How many classes to give; None for all.
            threshold: Lowest probability of a class; None for 0.5 where a text may have several
                classes, else for none.
            long_texts: `"cut"` reads what fits into a row, and warns; `"chunk"` reads all of a text
                in windows, whose probabilities are averaged, or, where a text may have several
                classes, of which the highest counts.
            batch_size: Number of rows computed at once.

        Returns:
            A list of `ClassLabel`, best first, for one text; a list of such lists for a list.

        Raises:
            InputError: If anything is no text, or the model predicts numbers.

        Example:
        >>> classifier = TextClassifier.from_preset(
        ...     "deberta_v3_tiny_en_demo", load_weights=False, num_classes=2
        ... )
        >>> len(classifier.classify("the heaven and the earth"))
        2
        """
        if self.problem_type == "regression":
            raise InputError("`classify` gives classes, but this model gives numbers: `predict`.")
        if long_texts not in _LONG_TEXTS:
            raise InputError(
                f"`long_texts` must be one of {shown(_LONG_TEXTS)}. Received: {long_texts!r}."
            )
        if top_k is not None:
            check_count("top_k", top_k)
        check_share("threshold", threshold)
        examples, is_batched = text_examples(texts)
        if long_texts == "chunk":
            probabilities = self._probabilities_of_chunks(examples, batch_size)
        else:
            probabilities = self._probabilities(self._rows("classify", examples), batch_size)
        if threshold is None and self._is_multi_label():
            threshold = 0.5
        names = class_names(self.label_names, self.num_classes)
        labels = best_labels(probabilities, names, top_k, threshold)
        return labels if is_batched else labels[0]

    def answers_to(self, x):
        if self.problem_type == "regression":
            raise InputError(
                "A `sample` is compared by its classes, but this model gives numbers. Quantize "
                "without it, and compare what `predict` gives before and after."
            )
        outputs = self.predict(x, verbose=0)
        if self._is_multi_label():
            return (outputs > (0 if self.is_logits else 0.5)).tolist()
        return outputs.argmax(axis=-1).tolist()

    def rerank(
        self,
        query: str,
        documents: Sequence[str],
        top_k: int | None = None,
        *,
        batch_size: int = 32,
    ) -> list[RankedDocument]:
        """Orders documents by how well they answer a query, with a model of pairs of texts.

        Args:
            query: The query.
            documents: The documents.
            top_k: How many to give; None for all.
            batch_size: Number of documents computed at once.

        Returns:
            The documents, best first. The score is the probability of the only class, or of the
            second of two; the number itself where the model predicts numbers.

        Raises:
            InputError: If anything is no string, or the model has more than two classes.

        Example:
        >>> ranker = TextClassifier.from_preset(
        ...     "deberta_v3_tiny_en_demo", load_weights=False, num_classes=1
        ... )
        >>> len(ranker.rerank("heaven", ["the earth", "the sea", "the sky"], top_k=2))
        2
        """
        if self.num_classes > 2:
            raise InputError(
                f"`rerank` needs a model with one class or two, but this one has "
                f"num_classes={self.num_classes}."
            )
        if not isinstance(query, str) or isinstance(documents, str):
            raise InputError(
                f"`rerank` takes a query and a list of documents. Received: {query!r:.80} and "
                f"{documents!r:.80}."
            )
        if top_k is not None:
            check_count("top_k", top_k)
        # A tuple of strings would be taken for one pair.
        is_bare = isinstance(documents, tuple | Iterator)
        documents, _ = text_examples(list(documents) if is_bare else documents)
        rows = self._rows("rerank", [(query, document) for document in documents])
        if self.problem_type == "regression":
            outputs = np.array(self.outputs_of_rows(rows, batch_size) if documents else [])
        else:
            outputs = self._probabilities(rows, batch_size)
        scores = outputs.reshape(len(documents), self.num_classes)[:, -1]
        order = np.argsort(-scores, kind="stable")[:top_k]
        return [RankedDocument(int(i), documents[int(i)], float(scores[i])) for i in order]

    def calibrate(self, x, y, batch_size=None) -> float:
        """Makes probabilities as often right as they say: divides the logits by a temperature.

        The last layer's weights are divided, so that every format keeps it. Which class is the best
        does not change.

        Args:
            x, y: Examples that the model was not trained on, and their labels, as in `evaluate`.
            batch_size: Number of examples computed at once.

        Returns:
            The temperature.

        Raises:
            InputError: If no temperature is the best, or the outputs are numbers.

        Paper: Guo et al., 2017, https://arxiv.org/abs/1706.04599
        """
        if self.problem_type == "regression" or not self.is_logits:
            raise InputError(
                "`calibrate` needs a model of classes whose outputs are logits: one without "
                "`activation`, and not a regression."
            )
        if self.output_dense.quantization_mode is not None:
            raise InputError("The weights are quantized: calibrate the model before that.")
        labels = np.asarray(read_labels(y, is_text=self.preprocessor is not None).all())
        if self._is_multi_label():
            targets = as_multi_hot(labels, self.label_names, self.num_classes)
        else:
            targets = as_vectors(self._numbered(labels), self.num_classes)
        logits = self.predict(x, batch_size=batch_size, verbose=0).astype("float32")
        if len(logits) != len(targets):
            raise InputError(f"x holds {len(logits)} examples, but y has {len(targets)} entries.")
        check_outputs(logits)
        temperature = best_temperature(logits, targets, is_multi_label=self._is_multi_label())
        for variable in self.output_dense.weights:
            variable.assign(variable / temperature)
        return temperature

    def learn_labels(self, training, validation=None) -> None:
        self._check_one_class()
        if self.label_names is None and self.problem_type != "regression":
            self._learn_names(training, validation)
        # All of them now, rather than batch by batch when some have been trained on.
        for dataset in (training, validation):
            labels = None if dataset is None else dataset.known_labels()
            if labels is not None or (dataset is not None and not dataset.has_labels):
                self.prepare_labels(labels)

    def prepare_class_weight(self, class_weight):
        if self.problem_type in ("multi_label_classification", "regression"):
            raise InputError(
                f"`class_weight` is for texts of one class, but problem_type="
                f"{self.problem_type!r}. Use `sample_weight`."
            )
        return numbered_weights(class_weight, self.label_names, self.num_classes)

    def prepare_labels(self, y):
        if y is None:
            raise InputError(
                "Training a classifier needs labels: pass `y`, one label for each text."
            )
        y = np.asarray(y)
        if self.problem_type == "regression":
            return as_values(y, self.num_classes)
        if self._is_multi_label():
            return as_multi_hot(y, self.label_names, self.num_classes)
        y = self._numbered(y)
        wants = labels_of(getattr(self, "loss", None))
        if wants == "numbers":
            return as_numbers(y, self.num_classes)
        return as_vectors(y, self.num_classes) if wants == "vectors" else y

    def needs_pooled_output(self) -> bool:
        return self.head.needs_pooled_output

    def labels(self):
        return self.label_names

    def hugging_face_config(self) -> dict[str, Any]:
        return names_in_config(self.label_names, self.num_classes)

    def get_config(self):
        config = super().get_config()
        config["activation"] = activation_name(self.arguments["activation"])
        if self.label_names is not None:
            config["label_names"] = list(self.label_names)
        return config

    def usage(self):
        if self.problem_type == "regression":
            return super().usage()
        return 'labels = model.classify(["A text."])'

    def call_packed(self, inputs):
        return self.output_dense(self.head.of_packed(self, inputs))

    def _numbered(self, y: np.ndarray) -> np.ndarray:
        """Returns class numbers for labels that are names, and other labels as they are."""
        if y.dtype.kind not in "UOS":
            return y
        return np.array(numbers_of_names(y.flat, self.label_names)).reshape(y.shape)

    def _check_one_class(self) -> None:
        """Refuses to train one class against no other: its share would be 1, whatever the text."""
        wants = labels_of(getattr(self, "loss", None))
        if self.num_classes == 1 and self.problem_type is None and wants is not None:
            raise InputError(
                "A model with num_classes=1 learns nothing from classes that exclude each other. "
                "For yes or no make it with problem_type='multi_label_classification' and labels "
                "0 and 1, or with num_classes=2; for numbers with problem_type='regression'."
            )

    def _is_multi_label(self) -> bool:
        return self.problem_type == "multi_label_classification"

    def _usual_loss(self):
        if self.problem_type == "regression":
            return keras.losses.MeanSquaredError()
        if self._is_multi_label():
            return keras.losses.BinaryCrossentropy(from_logits=self.is_logits)
        return keras.losses.SparseCategoricalCrossentropy(from_logits=self.is_logits)

    def _usual_metrics(self, loss) -> list:
        if self.problem_type == "regression":
            return [keras.metrics.MeanAbsoluteError()]
        if self._is_multi_label():
            return [keras.metrics.BinaryAccuracy(threshold=0.0 if self.is_logits else 0.5)]
        return accuracy_for(loss)

    def _rows(self, verb: str, examples: Sequence[Any]) -> dict[str, np.ndarray]:
        if self.preprocessor is None:
            raise InputError(f"`{verb}` needs a preprocessor; this model was made with None.")
        return self.preprocessor.pack(self.preprocessor.encode(examples))

    def _probabilities(self, rows: Mapping[str, np.ndarray], batch_size: int) -> np.ndarray:
        outputs = self.outputs_of_rows(rows, batch_size)
        values = np.array(outputs).reshape(len(outputs), self.num_classes)
        if not self.is_logits:
            return values
        # A single class is one or the other, as in `transformers`.
        if self._is_multi_label() or self.num_classes == 1:
            return sigmoid(values)
        return softmax(values)

    def _probabilities_of_chunks(self, examples: Sequence[Any], batch_size: int) -> np.ndarray:
        pairs = [i for i, example in enumerate(examples) if not isinstance(example, str)]
        if pairs:
            raise InputError(
                f"Text {pairs[0]} is several texts; `long_texts='chunk'` is for one at a time."
            )
        if self.preprocessor is None:
            raise InputError("`classify` needs a preprocessor; this model was made with None.")
        ids = self.preprocessor.tokenizer.encode_ids(list(examples))
        # A text without tokens is a row as well.
        lengths = [max(len(row), 1) for row in ids]
        room = self.preprocessor.sequence_length - 2
        windows = windows_over(lengths, room, room // 4)
        rows = self.preprocessor.pack([(ids[w.text][w.start : w.stop],) for w in windows])
        of_windows = self._probabilities(rows, batch_size)
        join = np.max if self._is_multi_label() else np.mean
        texts = np.array([window.text for window in windows])
        found = [join(of_windows[texts == i], axis=0) for i in range(len(ids))]
        return np.array(found).reshape(len(ids), self.num_classes)

    def _learn_names(self, training, validation) -> None:
        names = training.distinct_labels()
        if names is None:
            return
        of_validation = None if validation is None else validation.known_labels()
        if of_validation is not None:
            names = sorted({*names, *(Arrays(of_validation).strings() or ())})
        if len(names) != self.num_classes:
            raise InputError(
                f"There are {len(names)} different labels ({shown(names)}), but the model has "
                f"num_classes={self.num_classes}. Make it with num_classes={len(names)}, or "
                f"pass the `label_names` of all classes."
            )
        self.label_names = names


class PooledOutputClassifier(TextClassifier):
    """Base class of classifiers on a backbone's pooled output, which have no dense layer of theirs.

    Arguments as in `TextClassifier`, without `hidden_dim`.
    """

    head = PooledOutputHead()

    def __init__(
        self,
        backbone,
        num_classes,
        preprocessor=None,
        activation=None,
        dropout=0.1,
        *,
        label_names=None,
        problem_type=None,
        **kwargs,
    ):
        super().__init__(
            backbone,
            num_classes,
            preprocessor,
            activation,
            None,
            dropout,
            label_names=label_names,
            problem_type=problem_type,
            **kwargs,
        )
