"""Tiny models of `transformers` with every parameter randomised, for comparisons."""

import numpy as np
import torch
import transformers

TINY = {"vocab_size": 40, "initializer_range": 0.5}
SIZES = {
    "hidden_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 20,
    "max_position_embeddings": 24,
}
DISTIL_BERT_SIZES = {
    "dim": 12,
    "n_layers": 2,
    "n_heads": 3,
    "hidden_dim": 20,
    "max_position_embeddings": 24,
}
DEBERTA = {
    "relative_attention": True,
    "position_buckets": 6,
    "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
    "pos_att_type": "p2c|c2p",
    "position_biased_input": False,
    "type_vocab_size": 0,
    "max_relative_positions": -1,
}
ROBERTA = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "type_vocab_size": 1}
F_NET_SIZES = {name: value for name, value in SIZES.items() if name != "num_attention_heads"}
ALBERT = {"embedding_size": 8, "num_hidden_groups": 2, "inner_group_num": 2}
# The window is shorter than the rows.
MODERN_BERT = {
    **{f"{role}_token_id": 1 for role in ("pad", "bos", "eos", "cls", "sep")},
    "local_attention": 8,
}
MODERN_BERT_ODD = {
    "num_hidden_layers": 4,
    "global_attn_every_n_layers": 2,
    "local_attention": 5,
    "global_rope_theta": 100.0,
    "local_rope_theta": 50.0,
    "norm_eps": 1e-3,
    "hidden_activation": "relu",
    "classifier_pooling": "mean",
}
ODD = {"hidden_act": "relu", "layer_norm_eps": 1e-3}

# Family, and what makes its config; the second of a family is an odd one.
CONFIGS = {
    # Two groups of two blocks, each group applied twice.
    "albert": ("albert", {**TINY, **SIZES, **ALBERT, "num_hidden_layers": 4}),
    "albert-odd": ("albert", {**TINY, **SIZES, **ODD, "embedding_size": 8}),
    "bert": ("bert", {**TINY, **SIZES}),
    "bert-odd": ("bert", {**TINY, **SIZES, **ODD, "type_vocab_size": 3}),
    "distil_bert": ("distilbert", {**TINY, **DISTIL_BERT_SIZES}),
    "distil_bert-odd": ("distilbert", {**TINY, **DISTIL_BERT_SIZES, "activation": "relu"}),
    "electra": ("electra", {**TINY, **SIZES, "embedding_size": 8}),
    "electra-odd": ("electra", {**TINY, **SIZES, **ODD, "embedding_size": 12}),
    "f_net": ("fnet", {**TINY, **F_NET_SIZES}),
    "f_net-odd": ("fnet", {**TINY, **F_NET_SIZES, **ODD, "type_vocab_size": 2}),
    "modern_bert": ("modernbert", {**TINY, **SIZES, **MODERN_BERT}),
    "modern_bert-odd": ("modernbert", {**TINY, **SIZES, **MODERN_BERT, **MODERN_BERT_ODD}),
    "mpnet": ("mpnet", {**TINY, **SIZES}),
    "mpnet-odd": ("mpnet", {**TINY, **SIZES, **ODD}),
    "roberta": ("roberta", {**TINY, **SIZES, **ROBERTA}),
    "roberta-odd": ("roberta", {**TINY, **SIZES, **ROBERTA, **ODD, "type_vocab_size": 2}),
    "xlm_roberta": ("xlm-roberta", {**TINY, **SIZES, **ROBERTA}),
    "xlm_roberta-odd": ("xlm-roberta", {**TINY, **SIZES, **ROBERTA, "hidden_act": "gelu_new"}),
    "deberta_v3": ("deberta-v2", {**TINY, **SIZES, **DEBERTA}),
    "deberta_v3-odd": (
        "deberta-v2",
        {**TINY, **SIZES, **DEBERTA, **ODD, "legacy": False, "pos_att_type": ["c2p", "p2c"]},
    ),
}
CLASSES = {
    "backbone": transformers.AutoModel,
    "masked_lm": transformers.AutoModelForMaskedLM,
    "text_classifier": transformers.AutoModelForSequenceClassification,
    "question_answerer": transformers.AutoModelForQuestionAnswering,
    "token_classifier": transformers.AutoModelForTokenClassification,
}


def random_model(name: str, kind: str, **extra):
    """Returns a model in evaluation mode whose parameters are all random, norms and biases too."""
    model_type, values = CONFIGS[name]
    config = transformers.AutoConfig.for_model(model_type, **values, **extra)
    torch.manual_seed(0)
    model = CLASSES[kind].from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
        for key, parameter in model.named_parameters():
            if "norm" in key.lower() and key.endswith("weight"):
                parameter.add_(1.0)
    return model


def random_inputs(name: str) -> dict[str, np.ndarray]:
    """Returns ids with padding, and segments of pairs where the family has them."""
    generator = np.random.default_rng(1)
    ids = generator.integers(5, 40, size=(3, 18)).astype("int32")
    lengths = np.array([18, 11, 1])
    mask = (np.arange(18) < lengths[:, None]).astype("int32")
    # RoBERTa's upstream tells padding by its id.
    inputs = {"token_ids": np.where(mask == 1, ids, 1).astype("int32"), "padding_mask": mask}
    if name.startswith(("albert", "bert", "electra", "f_net")):
        inputs["segment_ids"] = ((np.arange(18) > 6) * mask).astype("int32")
    if name.startswith("f_net"):
        del inputs["padding_mask"]
    return inputs


def upstream_outputs(model, inputs):
    """Returns what `transformers` computes for our inputs."""
    names = {
        "token_ids": "input_ids",
        "padding_mask": "attention_mask",
        "segment_ids": "token_type_ids",
    }
    arguments = {names[name]: torch.tensor(values).long() for name, values in inputs.items()}
    with torch.no_grad():
        return model(**arguments)
