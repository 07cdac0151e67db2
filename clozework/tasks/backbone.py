"""The abstract backbone: a functional Keras model that turns ids into vectors."""

from collections.abc import Mapping
from typing import Any, ClassVar

import keras

from clozework.backend import configure_backend
from clozework.errors import InputError
from clozework.layers import PositionEmbedding, TransformerBlock
from clozework.presets import class_property, presets_of, quantized_policies
from clozework.tasks.arguments import stored_arguments
from clozework.tasks.loading import load_backbone
from clozework.tasks.lora import (
    add_adapters,
    export_adapters,
    load_adapters,
    merge_adapters,
    save_adapters,
)
from clozework.tasks.numbers import known_range
from clozework.tasks.recorded_model import RecordedModel
from clozework.tasks.saving import export_backbone, save_backbone

__all__ = ["Backbone"]

configure_backend()

_DTypePolicyMap = keras.dtype_policies.DTypePolicyMap


class Backbone(RecordedModel):
    """Base class of the models that turn token ids into vectors.

    A subclass builds its layers in its constructor and ends with `super().__init__(inputs=...,
    outputs=..., dtype=dtype, **kwargs)`. The constructor's arguments become attributes and the
    config; keyword-only arguments are those that KerasHub's class does not have.
    """

    # Names of the inputs.
    input_names: ClassVar[tuple[str, ...]] = ("token_ids", "padding_mask")
    # Input -> the constructor argument that its values stay below.
    input_limits: ClassVar[Mapping[str, str]] = {
        "token_ids": "vocabulary_size",
        "encoder_token_ids": "vocabulary_size",
        "decoder_token_ids": "vocabulary_size",
        "segment_ids": "num_segments",
    }
    # Whether nothing in it asks for the length of a row before the program runs.
    has_open_row_length: ClassVar[bool] = False
    # Tokens in each row of a large step, unless a text is longer. Longer rows make fewer shapes to
    # compile, where attention is cheap.
    longest_usual_row: ClassVar[int] = 512

    def __init__(self, *args, dtype=None, **kwargs):
        super().__init__(*args, **kwargs)
        self.dtype_policy = keras.dtype_policies.get(dtype)
        # Precision of each quantized layer by path, that of a head of its task among them.
        self.quantized_policies = _policies_of(self.dtype_policy)
        for name, value in self.arguments.items():
            if name != "dtype":
                setattr(self, name, value)

    @classmethod
    def symbolic_inputs(cls) -> dict[str, Any]:
        """Returns int32 inputs of shape `(batch, tokens)`, by name."""
        return {name: keras.Input((None,), dtype="int32", name=name) for name in cls.input_names}

    @staticmethod
    def token_vectors(outputs):
        """Returns the vectors of the tokens, `(batch, tokens, hidden_dim)`, among the outputs."""
        return outputs["sequence_output"] if isinstance(outputs, Mapping) else outputs

    def outputs_of(self, vectors):
        """Returns the outputs that belong to the vectors of the tokens."""
        return vectors

    @class_property
    def presets(cls):  # noqa: N805
        """The built-in presets of the class, by name: `{"name": {"description": ...}}`."""
        return presets_of(cls)

    @property
    def token_embedding(self):
        """The layer that turns token ids into vectors."""
        return self._token_embedding

    @token_embedding.setter
    def token_embedding(self, layer):
        self._token_embedding = layer

    @property
    def last_block(self) -> TransformerBlock | None:
        """The block that makes the vectors of the tokens, if `query_tokens` is for it; or None."""
        vectors = self.token_vectors(self.output)
        blocks = (
            layer
            for layer in self.layers
            if isinstance(layer, TransformerBlock) and layer.has_query_tokens
        )
        # A block that is called several times has the output of its first call.
        return next((block for block in blocks if block.output is vectors), None)

    @property
    def longest_row(self) -> int | None:
        """Most tokens that a row can have; None where positions are not counted from a table."""
        tables = [v for v in self._flatten_layers() if isinstance(v, PositionEmbedding)]
        return min((table.sequence_length for table in tables), default=None)

    @classmethod
    def from_preset(cls, preset, load_weights=True, **kwargs):
        """Returns the model that is stored at, or built in as, `preset`.

        Args:
            preset: Built-in name, `kaggle://` or `hf://` handle, or directory (KerasHub's or
                Hugging Face's format).
            load_weights: Whether to load the stored weights; otherwise they are random, and a
                built-in name needs no network.
            **kwargs: Constructor arguments that replace stored ones, such as `dtype`.

        Raises:
            PresetError: If it cannot be found or read, or is another kind of model.

        Example:
        >>> backbone = Backbone.from_preset("deberta_v3_tiny_en_demo")
        >>> type(backbone).__name__
        'DebertaV3Backbone'
        """
        return load_backbone(cls, preset, load_weights, kwargs)

    def save_to_preset(self, preset_dir, max_shard_size=10):
        """Saves config and weights to a directory, whole or not at all.

        Args:
            preset_dir: Where; a preset that is there is replaced.
            max_shard_size: Largest weight file, in GB.
        """
        save_backbone(self, preset_dir, max_shard_size)

    def export_to_transformers(self, path):
        """Writes a directory that `transformers.AutoModel.from_pretrained` reads.

        Args:
            path: The directory; it is whole or absent.
        """
        export_backbone(self, path)

    def default_lora_layer_names(self) -> list[str]:
        """Returns the names of the layers that `enable_lora` adapts unless told otherwise."""
        return ["query_dense", "value_dense", "query", "value"]

    def enable_lora(self, rank, target_layer_names=None, *, alpha=None):
        """Freezes the weights and adds small adapters, which are trained in their place.

        To be called before `fit`, or followed by `compile`. The head of a task stays trainable. A
        preset is saved with the adapters added to the weights; see `save_lora_weights`.

        Args:
            rank: How many directions an adapter has.
            target_layer_names: Names of dense and embedding layers, in each block; None for
                `default_lora_layer_names()`.
            alpha: An adapter counts `alpha / rank` times; None for `rank`.

        Raises:
            ConfigError: If there are no such layers, or there are adapters already.

        Example:
        >>> backbone = Backbone.from_preset("deberta_v3_tiny_en_demo")
        >>> backbone.enable_lora(rank=4)
        >>> sum(variable.shape[0] for variable in backbone.trainable_variables[:1])
        256
        """
        names = self.default_lora_layer_names()
        add_adapters(self, rank, names if target_layer_names is None else target_layer_names, alpha)

    def merge_lora(self):
        """Adds the adapters to the weights, and removes them; all weights can be trained again."""
        merge_adapters(self)

    def save_lora_weights(self, filepath):
        """Saves the adapters alone to a file whose name ends in `.lora.h5`, as KerasHub does."""
        save_adapters(self, filepath)

    def load_lora_weights(self, filepath):
        """Loads adapters, and enables them where there are none yet.

        Args:
            filepath: A file that `save_lora_weights` of Clozework or KerasHub wrote, or a directory
                of Hugging Face's `peft`.

        Raises:
            WeightsError: If they do not fit the model.
        """
        load_adapters(self, filepath)

    def export_lora_to_peft(self, path):
        """Writes the adapters to a directory that `peft` loads onto an exported backbone."""
        export_adapters(self, path)

    def quantize(self, mode=None, **kwargs):
        super().quantize(mode, **kwargs)
        self.quantized_policies = quantized_policies(self)

    def __call__(self, inputs, *args, **kwargs):
        self.check_inputs(inputs)
        return super().__call__(inputs, *args, **kwargs)

    def predict(self, x, *args, **kwargs):
        self.check_inputs(x)
        return super().predict(x, *args, **kwargs)

    def predict_on_batch(self, x):
        self.check_inputs(x)
        return super().predict_on_batch(x)

    def check_inputs(self, inputs) -> None:
        """Raises `InputError` for ids out of range, where their values are known."""
        if not isinstance(inputs, Mapping):
            return
        missing = [name for name in self.input_names if name not in inputs]
        if missing:
            raise InputError(
                f"{self.name!r} takes {', '.join(map(repr, self.input_names))}; "
                f"{', '.join(map(repr, missing))} is missing among {', '.join(map(repr, inputs))}."
            )
        for name in self.input_names:
            limit = self.input_limits.get(name)
            _check_ids(self.name, name, inputs[name], getattr(self, limit) if limit else None)

    def get_config(self):
        arguments = stored_arguments(type(self), self.arguments)
        arguments.pop("dtype", None)
        dtype = self.dtype_policy
        if self.quantized_policies:
            dtype = _DTypePolicyMap(_plain_policy(dtype), dict(self.quantized_policies))
        return {
            "name": self.name,
            "trainable": self.trainable,
            "dtype": keras.dtype_policies.serialize(dtype),
            **arguments,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        if isinstance(config.get("dtype"), dict):
            config["dtype"] = keras.dtype_policies.deserialize(config["dtype"])
        return cls(**config)


def _policies_of(policy) -> dict[str, Any]:
    return dict(policy.items()) if isinstance(policy, _DTypePolicyMap) else {}


def _plain_policy(policy):
    return policy.default_policy if isinstance(policy, _DTypePolicyMap) else policy


def _check_ids(model: str, name: str, ids, limit: int | None) -> None:
    lowest_and_highest = known_range(f"`{name}`", ids)
    if lowest_and_highest is None:
        return
    lowest, highest = lowest_and_highest
    if limit is None and lowest < 0:
        raise InputError(
            f"`{name}` must not be negative: 0 is padding, 1 a token. It goes from {lowest} to "
            f"{highest}."
        )
    if limit is not None and (lowest < 0 or highest >= limit):
        raise InputError(
            f"`{name}` goes from {lowest} to {highest}, but {model!r} takes 0 to {limit - 1}. "
            f"Was it made with another model's tokenizer?"
        )
