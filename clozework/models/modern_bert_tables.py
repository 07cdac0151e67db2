"""ModernBERT in Hugging Face `transformers`, as tables."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from clozework.errors import ConfigError
from clozework.models.encoder_tables import ACTIVATION, CLASS_NAMES, classifier_head
from clozework.presets import Combined, Converted, HuggingFaceFormat, HuggingFaceHead, Layer

__all__ = ["MODERN_BERT", "checked_pooling_mode"]

_KINDS = ("full_attention", "sliding_attention")
_POOLING_MODES = ("cls", "mean")


def checked_pooling_mode(mode: str) -> str:
    """Returns the pooling of a classifier, if it is one that upstream has."""
    if mode not in _POOLING_MODES:
        raise ConfigError(f"`pooling_mode` must be 'cls' or 'mean'. Received: {mode!r}.")
    return mode


def _layer_types(interval: int, num_layers: int) -> list[str]:
    return [_KINDS[i % interval > 0] for i in range(num_layers)]


def _interval(config: Mapping[str, Any]) -> int:
    """Every so many blocks are global; newer configs list the kind of each block instead."""
    interval = config.get("global_attn_every_n_layers", 3)
    types = config.get("layer_types")
    num_layers = config["num_hidden_layers"]
    if types is None or types == _layer_types(interval, num_layers):
        return interval
    for other in range(1, num_layers + 1):
        if types == _layer_types(other, num_layers):
            return other
    raise ValueError("blocks with full attention must come at equal intervals, from the first on")


def _max_wavelength(kind: str, name: str, default: float) -> Combined:
    """Returns the row of a wavelength: `name` is its old name, which is what we write."""

    def read(config: Mapping[str, Any]) -> float:
        parameters = config.get("rope_parameters") or {}
        stated = {"rope_theta": config.get(name, default), **(parameters.get(kind) or {})}
        known = {"rope_theta", "rope_type"}
        if parameters.keys() - set(_KINDS) or stated.keys() - known:
            raise ValueError(f"{kind} can have only 'rope_theta' and 'rope_type'")
        if stated.get("rope_type", "default") != "default":
            raise ValueError("the only 'rope_type' is 'default'")
        if not stated["rope_theta"] > 0:
            raise ValueError("'rope_theta' must be positive")
        return float(stated["rope_theta"])

    argument = f"{'global' if kind == 'full_attention' else 'local'}_max_wavelength"
    return Combined((name, "rope_parameters"), read, lambda arguments: arguments[argument])


_BLOCK = "transformer_layer_{i}"
_MODULES = {
    "self_attention_layer/query_key_value": "attn.Wqkv",
    "self_attention_layer/attention_output": "attn.Wo",
    "self_attention_layer_norm": "attn_norm",
    "feedforward_gated_dense": "mlp.Wi",
    "feedforward_output_dense": "mlp.Wo",
    "feedforward_layer_norm": "mlp_norm",
}
_SHARED = (Layer("head_dense", "head.dense"), Layer("head_layer_norm", "head.norm"))
_LOGITS = Layer("logits", "classifier")

MODERN_BERT = HuggingFaceFormat(
    model_type="modernbert",
    architecture="ModernBertModel",
    prefix="model.",
    config={
        "vocabulary_size": "vocab_size",
        "num_layers": "num_hidden_layers",
        "num_heads": "num_attention_heads",
        "hidden_dim": "hidden_size",
        "intermediate_dim": "intermediate_size",
        "dropout": Converted("mlp_dropout", default=0.0),
        "max_sequence_length": "max_position_embeddings",
        "activation": dataclasses.replace(ACTIVATION, theirs="hidden_activation"),
        "layer_norm_epsilon": Converted("norm_eps", default=1e-5),
        "global_attention_interval": Combined(
            ("global_attn_every_n_layers", "layer_types"),
            _interval,
            lambda arguments: arguments["global_attention_interval"],
        ),
        "local_attention_window": Converted("local_attention", default=128),
        "global_max_wavelength": _max_wavelength("full_attention", "global_rope_theta", 160000.0),
        "local_max_wavelength": _max_wavelength("sliding_attention", "local_rope_theta", 10000.0),
    },
    fixed={
        "attention_bias": False,
        "mlp_bias": False,
        "norm_bias": False,
        "classifier_activation": "gelu",
        "classifier_bias": False,
        "decoder_bias": True,
    },
    # Of training, of other ways to compute the same, and of code that never asks for them.
    harmless=frozenset(
        {
            *("attention_dropout", "embedding_dropout", "initializer_cutoff_factor"),
            *("deterministic_flash_attn", "reference_compile", "repad_logits_with_grad"),
            *("sparse_prediction", "sparse_pred_ignore_index"),
            *("cls_token_id", "layer_norm_eps", "position_embedding_type"),
        }
    ),
    rows=(
        Layer("token_embedding", "embeddings.tok_embeddings"),
        Layer("embeddings_layer_norm", "embeddings.norm"),
        *(Layer(f"{_BLOCK}/{ours}", f"layers.{{i}}.{theirs}") for ours, theirs in _MODULES.items()),
        Layer("final_normalization", "final_norm"),
    ),
    unused=("decoder.weight",),
    heads={
        "MaskedLM": HuggingFaceHead(
            architecture="ModernBertForMaskedLM",
            rows=(Layer("mlm_head", "decoder"),),
            shared=(
                Layer("mlm_head/intermediate_dense", "head.dense"),
                Layer("mlm_head/intermediate_layer_norm", "head.norm"),
            ),
            config={
                "head_layer_norm_epsilon": Converted("norm_eps", write=lambda epsilon: None),
            },
            implied={"head_activation": "gelu"},
        ),
        "TextClassifier": dataclasses.replace(
            classifier_head(
                "ModernBertForSequenceClassification",
                _LOGITS,
                pooling_mode=Converted(
                    "classifier_pooling", read=checked_pooling_mode, default="cls"
                ),
            ),
            shared=_SHARED,
        ),
        "TokenClassifier": HuggingFaceHead(
            architecture="ModernBertForTokenClassification",
            rows=(_LOGITS,),
            shared=_SHARED,
            config={"num_classes": CLASS_NAMES},
        ),
        "QuestionAnswerer": HuggingFaceHead(
            architecture="ModernBertForQuestionAnswering", rows=(_LOGITS,), shared=_SHARED
        ),
    },
    tokenizer_class="PreTrainedTokenizerFast",
    # There is no other form of the tokenizer than `tokenizer.json`.
    tokenizer_files={},
    has_tokenizer_json=True,
    tokenizer_config={
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "pad_token": "[PAD]",
        "mask_token": "[MASK]",
        "unk_token": "[UNK]",
        "model_input_names": ["input_ids", "attention_mask"],
    },
    token_ids={
        "bos_token_id": "start",
        "cls_token_id": "start",
        "eos_token_id": "end",
        "sep_token_id": "end",
        "pad_token_id": "pad",
    },
)
