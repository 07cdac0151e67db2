"""Gemma and Gemma 2 in Hugging Face `transformers`, as tables."""

from clozework.presets import (
    Combined,
    Converted,
    HeadsFirst,
    HuggingFaceFormat,
    HuggingFaceHead,
    Layer,
)

__all__ = ["GEMMA", "GEMMA_2"]


def _is_scaled_by_head_dim(config) -> bool:
    """Theirs is the number itself by whose root queries are divided; ours says which of two."""
    head_dim, heads = config["head_dim"], config["num_attention_heads"]
    scalar = config.get("query_pre_attn_scalar", head_dim)
    if scalar not in (head_dim, config["hidden_size"] // heads):
        raise ValueError("neither head_dim nor hidden_size divided by the heads")
    return scalar == head_dim


def _query_scalar(arguments) -> int:
    if arguments["query_head_dim_normalize"]:
        return arguments["head_dim"]
    return arguments["hidden_dim"] // arguments["num_query_heads"]


def _layer_types(arguments) -> list[str]:
    return [("sliding_attention", "full_attention")[i % 2] for i in range(arguments["num_layers"])]


def _has_window(config) -> bool:
    types = _layer_types({"num_layers": config["num_hidden_layers"]})
    if config.get("layer_types", types) != types:
        raise ValueError("blocks with and without a window must alternate")
    return True


_CONFIG = {
    "vocabulary_size": "vocab_size",
    "num_layers": "num_hidden_layers",
    "num_query_heads": "num_attention_heads",
    "num_key_value_heads": "num_key_value_heads",
    "hidden_dim": "hidden_size",
    "intermediate_dim": Converted(
        "intermediate_size", read=lambda width: 2 * width, write=lambda width: width // 2
    ),
    "head_dim": "head_dim",
    "layer_norm_epsilon": Converted("rms_norm_eps", default=1e-6),
    "dropout": Converted("attention_dropout", default=0),
}
# Upstream computes the approximation, whatever an old config calls it.
_ACTIVATIONS = ("gelu_pytorch_tanh", "gelu", None)
_FIXED = {
    "attention_bias": False,
    "rope_theta": 10000.0,
    "rope_parameters": ({"rope_theta": 10000.0, "rope_type": "default"}, None),
    "rope_scaling": None,
    "use_bidirectional_attention": (None, False),
}
_HEAD = HuggingFaceHead(architecture="GemmaForCausalLM", rows=())
_BLOCK = "decoder_block_{i}"
_MODULES = {
    "pre_attention_norm": "input_layernorm",
    "pre_ffw_norm": "post_attention_layernorm",
    "attention/attention_output": "self_attn.o_proj",
    "ffw_gating": "mlp.gate_proj",
    "ffw_gating_2": "mlp.up_proj",
    "ffw_linear": "mlp.down_proj",
}
# Gemma 2 has four norms, and the name of one of Gemma's for another.
_GEMMA_2_MODULES = {
    **_MODULES,
    "post_attention_norm": "post_attention_layernorm",
    "pre_ffw_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
}


def _rows(modules) -> tuple[Layer | HeadsFirst, ...]:
    return (
        Layer("token_embedding", "embed_tokens"),
        Layer("final_normalization", "norm"),
        *(Layer(f"{_BLOCK}/{ours}", f"layers.{{i}}.{theirs}") for ours, theirs in modules.items()),
        *(
            HeadsFirst(f"{_BLOCK}/attention/{ours}", f"layers.{{i}}.self_attn.{theirs}")
            for ours, theirs in (("query", "q_proj"), ("key", "k_proj"), ("value", "v_proj"))
        ),
    )


GEMMA = HuggingFaceFormat(
    model_type="gemma",
    architecture="GemmaModel",
    prefix="model.",
    config=_CONFIG,
    fixed={**_FIXED, "hidden_act": _ACTIVATIONS, "hidden_activation": _ACTIVATIONS},
    harmless=frozenset({"cache_implementation", "max_position_embeddings"}),
    rows=_rows(_MODULES),
    # The output reads the embeddings backwards.
    unused=("lm_head.weight", "layers.{i}.self_attn.rotary_emb.inv_freq"),
    heads={"CausalLM": _HEAD},
    tokenizer_class="GemmaTokenizer",
    tokenizer_files={"tokenizer.model": "proto"},
    has_tokenizer_json=True,
    # Without it theirs would start no text.
    tokenizer_config={"add_bos_token": True},
    describes=lambda arguments: (
        not arguments["use_post_ffw_norm"]
        and not arguments["use_post_attention_norm"]
        and not arguments["use_sliding_window_attention"]
        and arguments["query_head_dim_normalize"]
        and arguments["attention_logit_soft_cap"] is None
        and arguments["final_logit_soft_cap"] is None
    ),
)
GEMMA_2 = HuggingFaceFormat(
    model_type="gemma2",
    architecture="Gemma2Model",
    prefix="model.",
    config={
        **_CONFIG,
        "query_head_dim_normalize": Combined(
            ("query_pre_attn_scalar",), _is_scaled_by_head_dim, _query_scalar
        ),
        "use_sliding_window_attention": Combined(("layer_types",), _has_window, _layer_types),
        "sliding_window_size": Converted("sliding_window", default=4096),
        "attention_logit_soft_cap": Combined(
            ("attn_logit_softcapping",),
            lambda config: config.get("attn_logit_softcapping", 50.0),
            lambda arguments: arguments["attention_logit_soft_cap"],
        ),
        "final_logit_soft_cap": Combined(
            ("final_logit_softcapping",),
            lambda config: config.get("final_logit_softcapping", 30.0),
            lambda arguments: arguments["final_logit_soft_cap"],
        ),
        "use_post_ffw_norm": Combined((), lambda config: True, lambda arguments: None),
        "use_post_attention_norm": Combined((), lambda config: True, lambda arguments: None),
    },
    fixed={**_FIXED, "hidden_act": _ACTIVATIONS, "hidden_activation": _ACTIVATIONS},
    harmless=GEMMA.harmless,
    rows=_rows(_GEMMA_2_MODULES),
    unused=GEMMA.unused,
    heads={"CausalLM": HuggingFaceHead(architecture="Gemma2ForCausalLM", rows=())},
    tokenizer_class="GemmaTokenizer",
    tokenizer_files=GEMMA.tokenizer_files,
    has_tokenizer_json=True,
    tokenizer_config=GEMMA.tokenizer_config,
    describes=lambda arguments: (
        arguments["use_post_ffw_norm"]
        and arguments["use_post_attention_norm"]
        and arguments["use_sliding_window_attention"]
    ),
)
