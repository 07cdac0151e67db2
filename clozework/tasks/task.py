"""The abstract task: a backbone with a head, trained and used on raw strings."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import keras
import numpy as np

from clozework.backend import check_can_train, unused_weights_allowed
from clozework.data import (
    make_dataset,
    named_texts,
    open_stream,
    quiet_end_of_stream,
    split_validation,
)
from clozework.errors import ConfigError, InputError
from clozework.presets import class_property, presets_of, quantized_policies
from clozework.tasks.arguments import stored_arguments
from clozework.tasks.loading import load_task
from clozework.tasks.model_card import TrainingSummary
from clozework.tasks.numbers import check_count, check_outputs, check_share
from clozework.tasks.packed_texts import (
    TEXTS_AT_ONCE,
    batches_of,
    made_ahead,
    outputs_of_padded,
    outputs_of_texts,
    predict_packed,
)
from clozework.tasks.packing_model import PackingModel
from clozework.tasks.padding import without_needless_padding
from clozework.tasks.quantization import quantize_if_agreeing
from clozework.tasks.resuming import fit_resumably
from clozework.tasks.saving import export_task, save_task
from clozework.tasks.task_parts import check_parts, check_preprocessor
from clozework.tasks.text_inputs import holds_text

__all__ = ["Task"]


class Task(PackingModel):
    """Base class of models with a head, such as `MaskedLM` and `TextClassifier`.

    `fit`, `evaluate` and `predict` take raw strings, in any form that `clozework.data` describes,
    and preprocess them batch by batch. With `preprocessor=None` they take the model's inputs.
    """

    preprocessor_cls: ClassVar[type]
    # The name of the abstract task, by which formats and tables know it.
    kind: ClassVar[str]
    # What Hugging Face's hub calls it, for model cards.
    hub_task: ClassVar[str]
    # What reads an export, for model cards.
    hub_library: ClassVar[str] = "transformers"
    # Arguments that presets keep in a file of their own, which KerasHub passes over.
    stored_apart: ClassVar[Mapping[str, str]] = {}
    # Whether KerasHub has the task, or else reads its backbone alone.
    is_in_keras_hub: ClassVar[bool] = True

    def __new__(cls, *args, **kwargs):
        instance = super().__new__(cls, *args, **kwargs)
        if args or kwargs:
            arguments = instance.arguments
            check_parts(cls, arguments["backbone"], arguments["preprocessor"])
        return instance

    def __init__(self, backbone, preprocessor, *, inputs, outputs, compile=True, **kwargs):  # noqa: A002
        self.backbone = backbone
        self.preprocessor = preprocessor
        self.last_training = None
        super().__init__(inputs=inputs, outputs=outputs, **kwargs)
        if compile:
            self.compile()

    @class_property
    def backbone_cls(cls) -> type:  # noqa: N805
        """The family's backbone, which the preprocessor is for."""
        return cls.preprocessor_cls.backbone_cls

    @class_property
    def presets(cls):  # noqa: N805
        """The built-in presets of the class, by name."""
        return presets_of(cls)

    @property
    def preprocessor(self):
        """What turns strings into inputs; None to hand in inputs."""
        return self._preprocessor

    @preprocessor.setter
    def preprocessor(self, preprocessor):
        check_preprocessor(type(self), preprocessor)
        # Past Keras's tracking: a preprocessor holds nothing to train.
        object.__setattr__(self, "_preprocessor", preprocessor)

    @classmethod
    def from_preset(cls, preset, load_weights=True, **kwargs):
        """Returns the task that is stored at, or built in as, `preset`.

        Args:
            preset: Built-in name, `kaggle://` or `hf://` handle, or directory.
            load_weights: Whether to load the stored weights; otherwise they are random.
            **kwargs: Arguments of the task (`num_classes`), its backbone (`dtype`) and its
                preprocessor (`sequence_length`) that replace stored ones.

        Raises:
            PresetError: If it cannot be found or read, or is of another kind.
            ConfigError: If an argument is unknown or missing.

        Example:
        >>> masked_lm = Task.from_preset("deberta_v3_tiny_en_demo")
        >>> type(masked_lm).__name__
        'DebertaV3MaskedLM'
        """
        return load_task(cls, preset, load_weights, kwargs)

    def save_to_preset(self, preset_dir, max_shard_size=10):
        """Saves model, head, preprocessor and tokenizer to a directory, whole or not at all.

        KerasHub reads it as well. A preset that is there is replaced. A file of weights has at most
        `max_shard_size` gigabytes. Raises `PresetError` if the directory cannot be written.
        """
        save_task(self, preset_dir, max_shard_size)

    def export_to_transformers(self, path):
        """Writes a directory that `transformers` reads, tokenizer included.

        Raises `PresetError` if it cannot be written, or the weights are quantized.
        """
        export_task(self, path)

    def fit(
        self,
        x=None,
        y=None,
        batch_size=None,
        sample_weight=None,
        validation_data=None,
        validation_split=0.0,
        validation_batch_size=None,
        shuffle=True,
        class_weight=None,
        seed=None,
        epochs=1,
        steps_per_epoch=None,
        validation_steps=None,
        **kwargs,
    ):
        """Trains the model; arguments as in `keras.Model.fit`, with x also raw strings.

        Args:
            x, y, sample_weight: Examples, labels and weights; see `clozework.data`.
            shuffle: Whether each epoch has another order.
            seed: The same seed gives the same orders; None takes Keras's.

        Returns:
            Keras's `History`: loss and metrics of each epoch, in `history.history`.

        Raises:
            InputError: If examples, labels or weights cannot be used.
            ConfigError: If an option cannot be, such as a `batch_size` of 0; on OpenVINO.
        """
        check_can_train()
        x, y = self.prepare_examples(x, y)
        if validation_split:
            is_text = self.preprocessor is not None
            (x, y, sample_weight), validation_data = split_validation(
                x, y, sample_weight, validation_split=validation_split, is_text=is_text
            )
        dataset = self._dataset(
            x,
            y,
            sample_weight,
            batch_size=batch_size,
            shuffle=shuffle,
            seed=seed,
            epochs=1 if steps_per_epoch else epochs,
        )
        if validation_data is not None:
            size = _validation_batch_size(validation_data, validation_batch_size, batch_size)
            validation_data = self._dataset(
                *keras.utils.unpack_x_y_sample_weight(validation_data),
                batch_size=size,
                epochs=1 if validation_steps else epochs,
            )
        self.learn_labels(dataset, validation_data)
        if class_weight is not None:
            dataset.weigh_classes(self.prepare_class_weight(class_weight))
        batches = batches_of(self, dataset)
        with batches, unused_weights_allowed(), quiet_end_of_stream(dataset, validation_data):
            history = fit_resumably(
                self,
                super().fit,
                dataset,
                seed=seed,
                validation_data=None if validation_data is None else made_ahead(validation_data),
                epochs=epochs,
                steps_per_epoch=steps_per_epoch,
                validation_steps=validation_steps,
                **kwargs,
            )
        self.last_training = TrainingSummary.of(history, self.optimizer)
        return history

    def evaluate(self, x=None, y=None, batch_size=None, sample_weight=None, **kwargs):
        """Returns loss and metrics; arguments as in `keras.Model.evaluate`, data as in `fit`."""
        if kwargs.get("_use_cached_eval_dataset"):
            with batches_of(self, x):
                return super().evaluate(x, y, **kwargs)
        dataset = self._dataset(x, y, sample_weight, batch_size=batch_size)
        with batches_of(self, dataset), quiet_end_of_stream(dataset):
            return super().evaluate(made_ahead(dataset), **kwargs)

    def predict(self, x, batch_size=None, verbose: int | str = "auto", steps=None, callbacks=None):
        """Returns the model's outputs for all examples, as NumPy arrays in their order.

        Arguments as in `keras.Model.predict`. For classes or tags rather than logits see the verbs.
        """
        if self._predicts_packed(steps, callbacks):
            dataset = self._dataset(
                x,
                preprocess=self._prediction_batch,
                batch_size=batch_size,
                examples_at_once=TEXTS_AT_ONCE,
            )
            return predict_packed(self, dataset, batch_size, verbose)
        dataset = self._dataset(x, preprocess=self._prediction_batch, batch_size=batch_size)
        with quiet_end_of_stream(dataset):
            return super().predict(dataset, verbose=verbose, steps=steps, callbacks=callbacks)

    def train_on_batch(self, x, y=None, sample_weight=None, **kwargs):
        """Trains on one batch; arguments as in `keras.Model.train_on_batch`."""
        check_can_train()
        batch = self._one_batch(x, y, sample_weight, self._training_batch)
        with unused_weights_allowed():
            return super().train_on_batch(*batch, **kwargs)

    def test_on_batch(self, x, y=None, sample_weight=None, **kwargs):
        """Evaluates one batch; arguments as in `keras.Model.test_on_batch`."""
        batch = self._one_batch(x, y, sample_weight, self._training_batch)
        return super().test_on_batch(*batch, **kwargs)

    def predict_on_batch(self, x):
        """Returns the model's outputs for one batch."""
        (inputs,) = self._one_batch(x, None, None, self._prediction_batch)
        return super().predict_on_batch(inputs)

    def __call__(self, inputs, *args, **kwargs):
        if holds_text(inputs):
            raise InputError(
                f"{self.name!r} was called with text, but takes arrays. Use "
                f"`predict([...])` for text, or call the model on `preprocessor([...])`."
            )
        self.check_inputs(inputs)
        return super().__call__(inputs, *args, **kwargs)

    def check_inputs(self, inputs) -> None:
        """Raises `InputError` for ids out of range, where their values are known."""
        self.backbone.check_inputs(inputs)

    def check_row_length(self) -> None:
        """Raises `ConfigError` if the preprocessor makes rows that the backbone cannot read."""
        longest = self.backbone.longest_row
        if self.preprocessor is None or longest is None:
            return
        for name in self.preprocessor.length_names:
            length = getattr(self.preprocessor, name)
            if length > longest:
                raise ConfigError(
                    f"{self.preprocessor.name!r} makes rows of {name}={length} tokens, but "
                    f"{self.backbone.name!r} has positions for max_sequence_length={longest}. Set "
                    f"`preprocessor.{name} = {longest}`, or make a longer backbone."
                )

    def prepare_examples(self, x, y=None) -> tuple[Any, Any]:
        """Returns examples and labels in a form of `clozework.data`; a task may take others too.

        What it gives is handed to it again. A dict of texts becomes a tuple.
        """
        names = self.preprocessor.text_names if self.preprocessor is not None else ()
        return (named_texts(x, names) if names else x), y

    def prepare_labels(self, y):
        """Returns labels as the loss takes them; a task with label names turns names into ids."""
        return y

    def prepare_class_weight(self, class_weight: Mapping) -> Mapping[int, float]:
        """Returns weights by class number; a task with label names takes them by name, too."""
        raise InputError(
            f"`class_weight` is for classifiers, but the labels of {type(self).__name__} are no "
            f"classes. Leave it out."
        )

    def learn_labels(self, training, validation=None) -> None:
        """Called before training with the data, for tasks whose labels have names."""

    def outputs_of_rows(
        self, arrays: Mapping[str, np.ndarray], batch_size: int
    ) -> list[np.ndarray]:
        """Returns the float32 outputs for each row of preprocessed inputs, in their order.

        As many of them as `batch_size` are the most that is computed at once.
        """
        check_count("batch_size", batch_size)
        self.check_row_length()
        self.check_inputs(arrays)
        compute = outputs_of_texts if self.packs_texts else outputs_of_padded
        outputs = [values.astype("float32") for values in compute(self, arrays, batch_size)]
        for values in outputs:
            check_outputs(values)
        return outputs

    def needs_pooled_output(self) -> bool:
        """Returns whether the head reads the backbone's pooled output, where it has one."""
        return False

    def has_task_weights(self) -> bool:
        """Returns whether the head has weights of its own."""
        return bool(self.head_variables())

    def head_variables(self) -> list:
        """Returns the weights that do not belong to the backbone."""
        of_backbone = {id(variable) for variable in self.backbone.weights}
        return [variable for variable in self.weights if id(variable) not in of_backbone]

    def labels(self) -> list[str] | None:
        """Returns the names of the classes, where there are classes with names."""
        return None

    def own_weights(self) -> list[str]:
        """Returns what KerasHub's class does not have among the weights that count, for a card."""
        return []

    def usage(self) -> str:
        """Returns a line of code that uses the loaded `model`, for its card."""
        return 'outputs = model.predict(["A text."])'

    def usage_in_transformers(self) -> list[str]:
        """Returns code that uses the exported `model` with its `tokenizer`, for its card."""
        return ['outputs = model(**tokenizer("A text.", return_tensors="pt"))']

    def hugging_face_config(self) -> dict[str, Any]:
        """Returns what an exported config says of the task beyond the tables."""
        return {}

    def write_extras(self, directory: Path) -> None:
        """Writes what an export holds beside a model of `transformers`."""

    def get_config(self):
        arguments = stored_arguments(type(self), self.arguments)
        return {
            **arguments,
            "backbone": self.backbone,
            "preprocessor": self.preprocessor,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        # A `.keras` file holds the parts as configs.
        config = dict(config)
        for part in ("backbone", "preprocessor"):
            if isinstance(config[part], Mapping):
                config[part] = keras.saving.deserialize_keras_object(config[part], custom_objects)
        return cls(**config)

    def save_assets(self, dir_path):
        """Called by Keras when it writes a `.keras` file: adds the vocabulary."""
        if self.preprocessor is not None:
            self.preprocessor.tokenizer.save_assets(dir_path)

    def load_assets(self, dir_path):
        """Called by Keras when it reads a `.keras` file."""
        if self.preprocessor is not None:
            self.preprocessor.tokenizer.load_assets(dir_path)

    def quantize(self, mode=None, *, sample=None, minimum_agreement=0.99, **kwargs):
        """Rounds the weights to few bits, if the answers to a sample stay the same.

        Args:
            mode: `"int8"`, `"int4"` or `"float8"`; a preset can hold these.
            sample: Examples as for `predict`, or a tuple of examples and labels as for `evaluate`,
                which are None for pairs without labels, `((first, second), None)`: figures before
                and after are printed. None for rounding without a comparison.
            minimum_agreement: Lowest share of answers, of those to the sample, that are as before:
                classes, tags of words, filled masks, both ends of answers, nearest neighbours of
                vectors, next tokens of generators.
            **kwargs: `filters`, `config`, as in `keras.Model.quantize`.

        Raises:
            AgreementError: If fewer answers stay the same; the model is then left as it was.
        """
        if sample is None:
            self._quantize(mode, kwargs)
            return
        check_share("minimum_agreement", minimum_agreement)
        quantize_if_agreeing(self, lambda: self._quantize(mode, kwargs), sample, minimum_agreement)

    def answers_to(self, x) -> list:
        """Returns what the model answers to examples, in a form that can be compared.

        There may be several answers to an example; there are as many whatever the weights are.
        """
        raise NotImplementedError(f"{type(self).__name__} has to define `answers_to`.")

    def compile(self, *args, **kwargs):
        # Keras would keep the metrics of an earlier `compile` where this one has none.
        self._compile_metrics = None
        super().compile(*args, **kwargs)

    def compile_from_config(self, config):
        """Called by Keras when it reads a `.keras` file."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        _build_at_loading(self.optimizer, self.trainable_variables)

    def _quantize(self, mode, options: Mapping[str, Any]) -> None:
        super().quantize(mode, **options)
        # The precision of the head is stored with that of the backbone.
        self.backbone.quantized_policies = quantized_policies(self)

    def _predicts_packed(self, steps, callbacks) -> bool:
        """Whether nothing depends on the batches that Keras would make."""
        has_texts = self.preprocessor is not None and self.packs_texts
        return has_texts and steps is None and not callbacks

    def _dataset(self, x, y=None, sample_weight=None, *, preprocess=None, **options):
        self.check_row_length()
        x, y = self.prepare_examples(x, y)
        return make_dataset(
            x,
            y,
            sample_weight,
            preprocess=preprocess or self._training_batch,
            is_text=self.preprocessor is not None,
            **options,
        )

    def _one_batch(self, x, y, sample_weight, preprocess) -> tuple:
        if isinstance(x, keras.utils.PyDataset) or open_stream(x) is not None:
            raise InputError(
                f"x is a stream ({type(x).__name__}), but one batch was expected: a list of "
                f"examples. `fit`, `evaluate` and `predict` read streams."
            )
        dataset = self._dataset(x, y, sample_weight, preprocess=preprocess, batch_size=_ALL_IN_ONE)
        return dataset[0]

    def _training_batch(self, x, y, sample_weight):
        """What Keras trains on, from one batch of examples."""
        if self.preprocessor is not None:
            batch = self.preprocessor(x, y=y, sample_weight=sample_weight)
            x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
            x = self.compact(x)
        self.check_inputs(x)
        y = self.prepare_labels(y)
        return (x, y) if sample_weight is None else (x, y, sample_weight)

    def _prediction_batch(self, x, y, sample_weight):
        """What Keras predicts, from one batch of examples."""
        if self.preprocessor is not None:
            x = without_needless_padding(self.preprocessor(x))
        self.check_inputs(x)
        return (x,)


_ALL_IN_ONE = 2**31 - 1


def _build_at_loading(optimizer, variables) -> None:
    """Makes room for the moments of an optimizer when it is about to load them.

    A file has them once the model was trained. Keras warns where there is room for more, or for
    less, than the file has: https://github.com/keras-team/keras/blob/v3.15.1/keras/src/optimizers/
    """
    load = optimizer.load_own_variables

    def build_and_load(store):
        if len(store.keys()) > len(optimizer.variables):
            optimizer.build(variables)
        load(store)

    optimizer.load_own_variables = build_and_load


def _validation_batch_size(validation_data, own: int | None, of_training: int | None) -> int | None:
    """Returns how many examples to put together: a stream may come in batches of its own size."""
    x, _, _ = keras.utils.unpack_x_y_sample_weight(validation_data)
    is_stream = isinstance(x, keras.utils.PyDataset) or open_stream(x) is not None
    return own if own is not None or is_stream else of_training
