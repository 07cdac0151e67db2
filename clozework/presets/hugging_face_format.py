"""The form of a family in Hugging Face `transformers`, as tables; `hugging_face.py` walks them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from clozework.presets.weight_map import Computed, Layer

__all__ = [
    "Combined",
    "ConfigTable",
    "Converted",
    "HuggingFaceFormat",
    "HuggingFaceHead",
    "encoder_block_rows",
    "is_any_model",
]


@dataclass(frozen=True)
class Converted:
    """A config value that differs from ours: `read` makes ours of theirs, `write` theirs of ours.

    `default` is what an absent value means, as in the config class of `transformers`.
    """

    theirs: str
    read: Callable[[Any], Any] = lambda value: value
    write: Callable[[Any], Any] = lambda value: value
    default: Any = None


@dataclass(frozen=True)
class Combined:
    """A config value that follows from several.

    Attributes:
        theirs: Names of their values that it stands for; the first is written, if there is any.
        read: Their config -> our value, which may be None; `ValueError` says what cannot be.
        write: Our arguments -> their value.
    """

    theirs: tuple[str, ...]
    read: Callable[[Mapping[str, Any]], Any]
    write: Callable[[Mapping[str, Any]], Any]


# Our argument -> what it is there.
ConfigTable = Mapping[str, "str | Converted | Combined"]


def is_any_model(arguments: Mapping[str, Any]) -> bool:
    """For families of which every model has the one form."""
    return True


@dataclass(frozen=True)
class HuggingFaceHead:
    """How a task's head is stored.

    Attributes:
        architecture: The class in `transformers`.
        rows: Weight rows of the head.
        config: Task argument -> their config value, as in `HuggingFaceFormat.config`.
        preprocessor: Argument of the task's preprocessor -> their config value.
        shared: Weight rows of layers that heads of other tasks have, too: a checkpoint with these
            alone has another head, from which they are taken.
        skips: Layers of the backbone that this class of theirs does not have.
        implied: Task arguments of which this class of theirs has only one value.
    """

    architecture: str
    rows: tuple[Layer | Computed, ...]
    config: ConfigTable = field(default_factory=dict)
    skips: tuple[str, ...] = ()
    implied: Mapping[str, Any] = field(default_factory=dict)
    preprocessor: Mapping[str, str | Converted] = field(default_factory=dict)
    shared: tuple[Layer, ...] = ()

    @property
    def all_rows(self) -> tuple[Layer | Computed, ...]:
        """Those of its own, and those that it shares."""
        return (*self.rows, *self.shared)


@dataclass(frozen=True)
class HuggingFaceFormat:
    """The tables of a family.

    Attributes:
        model_type: In `config.json`.
        architecture: The class in `transformers` that is a bare encoder.
        prefix: What their task models put before the encoder's tensor names.
        config: Backbone argument -> name of their config value, or a `Converted` one, or a
            `Combined` one.
        fixed: Their config values that the architecture implies; others are refused.
        stated: Names in `fixed` without which a config means something else.
        harmless: Names of their config values without effect on the numbers, beside the usual.
        rows: Weight rows of the backbone.
        skips: Layers of the backbone that no class of theirs has: random in what is read, and left
            out of what is written.
        unused: Patterns of tensors that no model of ours needs.
        heads: Name of the task's base class -> its head.
        tokenizer_class: In `tokenizer_config.json`.
        tokenizer_files: Their names of vocabulary files -> argument of our tokenizer; none where
            `tokenizer.json` has it all.
        tokenizer_options: Argument of our tokenizer -> name in `tokenizer_config.json`.
        has_tokenizer_json: Whether an export needs a `tokenizer.json` beside the vocabulary.
        tokenizer_implied: Arguments of our tokenizer of which `tokenizer_class` has only one value;
            with other values an export names the class that takes all from `tokenizer.json`.
        tokenizer_config: What an exported `tokenizer_config.json` says besides.
        token_ids: Their config value -> role of the special token whose id it is; null in an export
            without a tokenizer.
        describes: Whether models with these backbone arguments have this form, in a family that has
            several.
    """

    model_type: str
    architecture: str
    prefix: str
    config: ConfigTable
    rows: tuple[Layer | Computed, ...]
    heads: Mapping[str, HuggingFaceHead]
    tokenizer_class: str
    tokenizer_files: Mapping[str, str]
    fixed: Mapping[str, Any] = field(default_factory=dict)
    stated: frozenset[str] = frozenset()
    harmless: frozenset[str] = frozenset()
    skips: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    tokenizer_options: ConfigTable = field(default_factory=dict)
    has_tokenizer_json: bool = False
    tokenizer_implied: Mapping[str, Any] = field(default_factory=dict)
    tokenizer_config: Mapping[str, Any] = field(default_factory=dict)
    token_ids: Mapping[str, str] = field(default_factory=dict)
    describes: Callable[[Mapping[str, Any]], bool] = is_any_model


def encoder_block_rows(ours: str, theirs: str, **names: str) -> tuple[Layer, ...]:
    """Returns the rows of an encoder block, as BERT and its descendants store it.

    Args:
        ours: Path of our blocks, with `{i}`.
        theirs: Path of their blocks, with `{i}`.
        **names: Our layer -> their module, where it differs from BERT's.
    """
    modules = {
        "query": "attention.self.query",
        "key": "attention.self.key",
        "value": "attention.self.value",
        "attention_output": "attention.output.dense",
        "self_attention_layer_norm": "attention.output.LayerNorm",
        "feedforward_intermediate_dense": "intermediate.dense",
        "feedforward_output_dense": "output.dense",
        "feedforward_layer_norm": "output.LayerNorm",
        **names,
    }
    inside_attention = ("query", "key", "value", "attention_output")
    return tuple(
        Layer(
            f"{ours}/self_attention_layer/{name}" if name in inside_attention else f"{ours}/{name}",
            f"{theirs}.{module}",
        )
        for name, module in modules.items()
    )
