"""What the encoders share of their form in Hugging Face `transformers`, as values."""

import dataclasses

from clozework.layers import activation_name
from clozework.presets import Computed, Converted, HuggingFaceHead, Layer

__all__ = [
    "ACTIVATION",
    "CLASS_NAMES",
    "ENCODER_CONFIG",
    "GELU_NEW",
    "GELU_NEW_MASKED_LM_CONFIG",
    "MASKED_LM_CONFIG",
    "SEGMENT_EMBEDDING_ROWS",
    "WORD_PIECE_OPTIONS",
    "bert_masked_lm_rows",
    "classifier_head",
    "masked_lm_rows",
    "sentence_piece_options",
    "token_heads",
]

_ACTIVATIONS = {"gelu_tanh": "gelu_pytorch_tanh"}


def _their_activation(name: str) -> str:
    """Their name of an activation of ours."""
    name = activation_name(name)
    return _ACTIVATIONS.get(name, name)


ACTIVATION = Converted("hidden_act", read=activation_name, write=_their_activation, default="gelu")

# Backbone argument -> config value, as in BERT and most of its descendants.
ENCODER_CONFIG = {
    "vocabulary_size": "vocab_size",
    "num_layers": "num_hidden_layers",
    "num_heads": "num_attention_heads",
    "hidden_dim": "hidden_size",
    "intermediate_dim": "intermediate_size",
    "dropout": Converted("hidden_dropout_prob", default=0.1),
    "max_sequence_length": "max_position_embeddings",
    "activation": ACTIVATION,
}

# The number of classes is that of the labels' names.
CLASS_NAMES = Converted(
    "id2label",
    read=len,
    write=lambda num_classes: {str(i): f"LABEL_{i}" for i in range(num_classes)},
    default={"0": "LABEL_0", "1": "LABEL_1"},
)

# Their heads use the encoder's activation and epsilon, which the backbone's table writes.
MASKED_LM_CONFIG = {
    "head_activation": Converted(
        "hidden_act", read=activation_name, write=lambda name: None, default="gelu"
    ),
    "head_layer_norm_epsilon": Converted("layer_norm_eps", write=lambda epsilon: None),
}

# Where an absent activation is the approximation of GELU.
GELU_NEW = dataclasses.replace(ACTIVATION, default="gelu_new")
GELU_NEW_MASKED_LM_CONFIG = {
    **MASKED_LM_CONFIG,
    "head_activation": dataclasses.replace(MASKED_LM_CONFIG["head_activation"], default="gelu_new"),
}

# The embeddings of a `PooledOutputBackbone`.
SEGMENT_EMBEDDING_ROWS = (
    Layer("token_embedding", "embeddings.word_embeddings"),
    Layer("position_embedding", "embeddings.position_embeddings"),
    Layer("segment_embedding", "embeddings.token_type_embeddings"),
    Layer("embeddings_layer_norm", "embeddings.LayerNorm"),
)

WORD_PIECE_OPTIONS = {
    "lowercase": Converted("do_lower_case", default=True),
    "split_on_cjk": Converted("tokenize_chinese_chars", default=True),
    # Three states: None follows the case, as does our default.
    "strip_accents": Converted(
        "strip_accents", read=lambda value: value is True, write=lambda value: value or None
    ),
    "keep_accents": Converted(
        "strip_accents",
        read=lambda value: value is False,
        write=lambda keep: False if keep else None,
    ),
}


def masked_lm_rows(
    dense: str | tuple[str, ...], norm: str | tuple[str, ...], bias: str | tuple[str, ...]
) -> tuple[Layer, ...]:
    """Returns the rows of a masked LM head; `bias` names the module that has the output's bias."""
    return (
        Layer("mlm_head/intermediate_dense", dense),
        Layer("mlm_head/intermediate_layer_norm", norm),
        Layer("mlm_head", bias),
    )


def bert_masked_lm_rows(*others: str) -> tuple[Layer, ...]:
    """Returns the rows of BERT's masked LM head; `others` are modules that it may stand in, too."""
    return masked_lm_rows(
        dense=("cls.predictions.transform.dense", *(f"{module}.dense" for module in others)),
        norm=("cls.predictions.transform.LayerNorm", *(f"{module}.LayerNorm" for module in others)),
        bias=("cls.predictions", *others),
    )


def classifier_head(
    architecture: str, *rows: Layer | Computed, **config: str | Converted
) -> HuggingFaceHead:
    """Returns the head of a classifier: `rows`, and the last layer unless they have it."""
    has_last = any(row.ours == "logits" for row in rows)
    return HuggingFaceHead(
        architecture,
        rows=rows if has_last else (*rows, Layer("logits", "classifier")),
        config={"num_classes": CLASS_NAMES, "problem_type": "problem_type", **config},
    )


def token_heads(stem: str, *, skips: tuple[str, ...] = ()) -> dict[str, HuggingFaceHead]:
    """Returns the heads on each token's vector, which are alike in all encoders.

    Args:
        stem: How their class names begin, as in `"Bert"`.
        skips: Layers of the backbone that their classes for tokens do not have.
    """
    return {
        "TokenClassifier": HuggingFaceHead(
            architecture=f"{stem}ForTokenClassification",
            rows=(Layer("logits", "classifier"),),
            config={"num_classes": CLASS_NAMES},
            skips=skips,
        ),
        "QuestionAnswerer": HuggingFaceHead(
            architecture=f"{stem}ForQuestionAnswering",
            rows=(Layer("logits", "qa_outputs"),),
            skips=skips,
        ),
    }


def sentence_piece_options(*, lowercase: bool, keep_accents: bool) -> dict[str, Converted]:
    """Returns the options of ALBERT's tokenizer; the arguments are what absent ones mean."""
    return {
        "lowercase": Converted("do_lower_case", default=lowercase),
        "strip_accents": Converted(
            "keep_accents",
            read=lambda keep: not keep,
            write=lambda strip: not strip,
            default=keep_accents,
        ),
        # A name of ours: theirs have the rules in any case.
        "uses_albert_rules": Converted(
            "uses_albert_rules", write=lambda uses: None if uses else False, default=True
        ),
    }
