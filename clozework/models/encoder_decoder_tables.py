"""What BART shares with other encoder-decoders of its form in Hugging Face `transformers`.

mBART, Pegasus and Blenderbot name their tensors and config values as BART does.
"""

from dataclasses import replace

import numpy as np

from clozework.models.encoder_tables import ACTIVATION
from clozework.presets import Computed, Converted, Layer

__all__ = [
    "CLASSIFICATION_HEAD",
    "COPIES_OF_TOKEN_EMBEDDING",
    "ENCODER_DECODER_CONFIG",
    "ENCODER_DECODER_FIXED",
    "ENCODER_DECODER_HARMLESS",
    "LOGITS_BIAS",
    "TOKEN_EMBEDDING",
    "half_rows",
]

# Backbone argument -> config value.
ENCODER_DECODER_CONFIG = {
    "vocabulary_size": "vocab_size",
    "num_layers": "encoder_layers",
    "num_heads": "encoder_attention_heads",
    "hidden_dim": "d_model",
    "intermediate_dim": "encoder_ffn_dim",
    "dropout": Converted("dropout", default=0.1),
    "max_sequence_length": Converted("max_position_embeddings", default=1024),
    "num_decoder_layers": "decoder_layers",
    "num_decoder_heads": "decoder_attention_heads",
    "decoder_intermediate_dim": "decoder_ffn_dim",
    "activation": replace(ACTIVATION, theirs="activation_function"),
    "scale_embedding": Converted("scale_embedding", default=False),
}

# Values of their config that the architecture implies.
ENCODER_DECODER_FIXED = {
    "is_encoder_decoder": True,
    "add_final_layer_norm": False,
    "extra_pos_embeddings": 2,
    "normalize_before": False,
    "normalize_embedding": True,
    "static_position_embeddings": False,
}

# Values of their config that count in training alone, or that older versions wrote.
_HARMLESS = """
    activation_dropout add_bias_logits attention_dropout classif_dropout classifier_dropout
    decoder_layerdrop encoder_layerdrop force_bos_token_to_be_generated init_std num_hidden_layers
    replacing_rate save_step student_decoder_layers student_encoder_layers
"""
ENCODER_DECODER_HARMLESS = frozenset(_HARMLESS.split())

TOKEN_EMBEDDING = Layer(
    "token_embedding", ("shared", "encoder.embed_tokens", "decoder.embed_tokens")
)
# Names under which a checkpoint may hold the same once more.
COPIES_OF_TOKEN_EMBEDDING = (
    "shared.weight",
    "encoder.embed_tokens.weight",
    "decoder.embed_tokens.weight",
    "lm_head.weight",
)

CLASSIFICATION_HEAD = (
    Layer("pooled_dense", "classification_head.dense"),
    Layer("logits", "classification_head.out_proj"),
)
# Models of before it was stored have none, which is one of zeros.
LOGITS_BIAS = Computed(
    "logits_bias/bias",
    needs=("final_logits_bias",),
    read_values=lambda bias: bias[0],
    write_values=lambda bias: (bias[None],),
    is_optional=True,
)


def _without_padding_rows(positions: np.ndarray) -> np.ndarray:
    """Drops the two rows that fairseq keeps for padding."""
    return positions[2:]


def _with_padding_rows(positions: np.ndarray) -> tuple[np.ndarray]:
    """Puts the two rows back, which no position uses."""
    return (np.concatenate([np.zeros_like(positions[:2]), positions]),)


def _attention_rows(ours: str, theirs: str) -> tuple[Layer, ...]:
    names = {"query": "q_proj", "key": "k_proj", "value": "v_proj", "attention_output": "out_proj"}
    return tuple(Layer(f"{ours}/{name}", f"{theirs}.{module}") for name, module in names.items())


def half_rows(half: str) -> tuple[Layer | Computed, ...]:
    """Returns the rows of the encoder or the decoder, `half`, but for the token embedding."""
    ours, theirs = f"transformer_{half}_layer_{{i}}", f"{half}.layers.{{i}}"
    return (
        Computed(
            f"{half}_position_embedding/embeddings",
            needs=(f"{half}.embed_positions.weight",),
            read_values=_without_padding_rows,
            write_values=_with_padding_rows,
        ),
        Layer(f"{half}_embeddings_layer_norm", f"{half}.layernorm_embedding"),
        *_attention_rows(f"{ours}/self_attention_layer", f"{theirs}.self_attn"),
        *_attention_rows(f"{ours}/cross_attention_layer", f"{theirs}.encoder_attn"),
        Layer(f"{ours}/self_attention_layer_norm", f"{theirs}.self_attn_layer_norm"),
        Layer(f"{ours}/cross_attention_layer_norm", f"{theirs}.encoder_attn_layer_norm"),
        Layer(f"{ours}/feedforward_intermediate_dense", f"{theirs}.fc1"),
        Layer(f"{ours}/feedforward_output_dense", f"{theirs}.fc2"),
        Layer(f"{ours}/feedforward_layer_norm", f"{theirs}.final_layer_norm"),
    )
