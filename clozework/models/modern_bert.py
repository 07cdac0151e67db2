"""ModernBERT: the encoder with what decoders had learned since, for texts of 8,192 tokens.

Paper: Warner et al., 2024, https://arxiv.org/abs/2412.13663
Differs from RoBERTa in: rotations in place of position vectors, attention to near tokens only in
two of three blocks, gated feed-forward networks, normalisation before each block, no biases; the
heads of all tasks begin with the masked LM's dense layer and normalisation.
"""

import functools

import keras

from clozework.layers import Dropout, ReversibleEmbedding, RotaryEncoderBlock, activation_name
from clozework.models.built_in_presets import built_in_presets
from clozework.models.modern_bert_tables import MODERN_BERT, checked_pooling_mode
from clozework.presets import Family, register
from clozework.tasks import (
    Backbone,
    MaskedLM,
    MaskedLMPreprocessor,
    NormalizedHead,
    NormalizedTokenHead,
    QuestionAnswerer,
    TextClassifier,
    TextClassifierPreprocessor,
    TextEmbedder,
    TextEmbedderPreprocessor,
    TokenClassifier,
)
from clozework.tokenizers import BytePairTokenizer

__all__ = [
    "ModernBertBackbone",
    "ModernBertMaskedLM",
    "ModernBertMaskedLMPreprocessor",
    "ModernBertQuestionAnswerer",
    "ModernBertTextClassifier",
    "ModernBertTextClassifierPreprocessor",
    "ModernBertTextEmbedder",
    "ModernBertTextEmbedderPreprocessor",
    "ModernBertTokenClassifier",
    "ModernBertTokenizer",
]


class ModernBertBackbone(Backbone):
    """ModernBERT encoder: one vector per token.

    Args:
        vocabulary_size, num_layers, num_heads, hidden_dim, intermediate_dim, dropout,
            max_sequence_length, dtype: As in `BertBackbone`; the last but one is the longest text
            that the model was trained on, and bounds no weights.
        activation: Of the feed-forward networks, whose gates it does not touch.
        layer_norm_epsilon: Added to the variance in layer normalisation.
        global_attention_interval: Every so many blocks, the first included, see the whole text.
        local_attention_window: Tokens that the other blocks see, half of them on each side.
        global_max_wavelength, local_max_wavelength: Bases of the rotations' wavelengths in blocks
            of the two kinds.

    Inputs: int32 `"token_ids"` and `"padding_mask"` (1 for a token), each `(batch, tokens)`.
    Outputs: `(batch, tokens, hidden_dim)`.

    Example:
    >>> backbone = ModernBertBackbone(
    ...     vocabulary_size=30, num_layers=2, num_heads=2, hidden_dim=8, intermediate_dim=16
    ... )
    >>> ids = np.array([[0, 7, 9, 2]])
    >>> backbone({"token_ids": ids, "padding_mask": 0 * ids + 1}).shape
    (1, 4, 8)
    """

    has_open_row_length = True

    def __init__(
        self,
        vocabulary_size,
        num_layers,
        num_heads,
        hidden_dim,
        intermediate_dim,
        dropout=0.0,
        max_sequence_length=8192,
        dtype=None,
        *,
        activation="gelu",
        layer_norm_epsilon=1e-5,
        global_attention_interval=3,
        local_attention_window=128,
        global_max_wavelength=160000.0,
        local_max_wavelength=10000.0,
        **kwargs,
    ):
        initializer = keras.initializers.TruncatedNormal(stddev=0.02)
        layer_norm = functools.partial(
            keras.layers.LayerNormalization, epsilon=layer_norm_epsilon, center=False, dtype=dtype
        )
        self.token_embedding = ReversibleEmbedding(
            vocabulary_size,
            hidden_dim,
            embeddings_initializer=initializer.clone(),
            dtype=dtype,
            name="token_embedding",
        )
        self.embeddings_layer_norm = layer_norm(name="embeddings_layer_norm")
        self.embeddings_dropout = Dropout(dropout, dtype=dtype, name="embeddings_dropout")
        is_global = [i % global_attention_interval == 0 for i in range(num_layers)]
        self.transformer_layers = [
            RotaryEncoderBlock(
                intermediate_dim,
                num_heads,
                window=None if is_global[i] else local_attention_window,
                max_wavelength=global_max_wavelength if is_global[i] else local_max_wavelength,
                dropout=dropout,
                activation=activation_name(activation),
                layer_norm_epsilon=layer_norm_epsilon,
                normalizes_input=i > 0,  # The first block's is, as an embedding.
                kernel_initializer=initializer.clone(),
                dtype=dtype,
                name=f"transformer_layer_{i}",
            )
            for i in range(num_layers)
        ]
        self.layer_norm = layer_norm(name="final_normalization")

        inputs = self.symbolic_inputs()
        x = self.token_embedding(inputs["token_ids"])
        x = self.embeddings_layer_norm(x)
        x = self.embeddings_dropout(x)
        for layer in self.transformer_layers:
            x = layer(x, padding_mask=inputs["padding_mask"])
        super().__init__(inputs=inputs, outputs=self.layer_norm(x), dtype=dtype, **kwargs)

    def default_lora_layer_names(self) -> list[str]:
        return ["query_key_value"]


class ModernBertTokenizer(BytePairTokenizer):
    """Byte-level BPE, with BERT's special tokens and with tokens for runs of spaces.

    Args:
        vocabulary: Token -> id, or the path of a JSON file with that.
        merges: Merge rules in order, or the path of a text file with one a line.
        **kwargs: As in `BytePairTokenizer`; `unsplittable_tokens` are the runs of spaces and other
            tokens that were added to the vocabulary.

    Example:
    >>> vocabulary = {"a": 0, "b": 1, "ab": 2, "[UNK]": 3, "[CLS]": 4, "[SEP]": 5, "[PAD]": 6}
    >>> vocabulary |= {"[MASK]": 7, "  ": 8}
    >>> ModernBertTokenizer(vocabulary, ["a b"], unsplittable_tokens=["  "])("ab  b").tolist()
    [2, 8, 1]
    """

    special_tokens_by_role = {
        "cls": "[CLS]",
        "sep": "[SEP]",
        "pad": "[PAD]",
        "mask": "[MASK]",
        "start": "[CLS]",
        "end": "[SEP]",
    }
    further_special_tokens = ("[UNK]", "<|endoftext|>", "<|padding|>")
    tokens_taking_space_before = frozenset({"[MASK]"})
    unicode_form = "NFC"

    def __init__(self, vocabulary=None, merges=None, **kwargs):
        super().__init__(vocabulary, merges, **kwargs)


class ModernBertTextClassifierPreprocessor(TextClassifierPreprocessor):
    """Turns strings, or pairs of strings, into inputs for `ModernBertTextClassifier`."""

    backbone_cls = ModernBertBackbone
    tokenizer_cls = ModernBertTokenizer


class ModernBertMaskedLMPreprocessor(MaskedLMPreprocessor):
    """Turns strings into inputs with masks for `ModernBertMaskedLM`."""

    backbone_cls = ModernBertBackbone
    tokenizer_cls = ModernBertTokenizer


class ModernBertMaskedLM(MaskedLM):
    """ModernBERT with the head that predicts masked tokens; see `MaskedLM`."""

    preprocessor_cls = ModernBertMaskedLMPreprocessor
    use_head_biases = False


class ModernBertTextClassifier(TextClassifier):
    """ModernBERT with a classifier on one vector of a text; see `TextClassifier`.

    Args:
        backbone, num_classes, preprocessor, **kwargs: As in `TextClassifier`.
        pooling_mode: Which vector: `"cls"`, that of the first token, or `"mean"` of all.
    """

    preprocessor_cls = ModernBertTextClassifierPreprocessor
    head = NormalizedHead("gelu")

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
        pooling_mode="cls",
        **kwargs,
    ):
        self.pooling_mode = checked_pooling_mode(pooling_mode)
        super().__init__(
            backbone,
            num_classes,
            preprocessor,
            activation,
            hidden_dim,
            dropout,
            label_names=label_names,
            problem_type=problem_type,
            **kwargs,
        )


class ModernBertTextEmbedderPreprocessor(TextEmbedderPreprocessor):
    """Turns strings into inputs for `ModernBertTextEmbedder`."""

    backbone_cls = ModernBertBackbone
    tokenizer_cls = ModernBertTokenizer


class ModernBertTextEmbedder(TextEmbedder):
    """ModernBERT pooled to one vector for a text; see `TextEmbedder`."""

    preprocessor_cls = ModernBertTextEmbedderPreprocessor


class ModernBertTokenClassifier(TokenClassifier):
    """ModernBERT with a classifier on each token's vector; see `TokenClassifier`."""

    preprocessor_cls = ModernBertTextClassifierPreprocessor
    head = NormalizedTokenHead("gelu")


class ModernBertQuestionAnswerer(QuestionAnswerer):
    """ModernBERT that finds answers in a context; see `QuestionAnswerer`."""

    preprocessor_cls = ModernBertTextClassifierPreprocessor
    head = NormalizedTokenHead("gelu")


FAMILY = Family(
    name="modern_bert",
    title="ModernBERT",
    backbone=ModernBertBackbone,
    tokenizer=ModernBertTokenizer,
    tasks=(
        ModernBertMaskedLM,
        ModernBertTextClassifier,
        ModernBertTextEmbedder,
        ModernBertTokenClassifier,
        ModernBertQuestionAnswerer,
    ),
    presets=built_in_presets("modern_bert"),
    hugging_face=MODERN_BERT,
)

register(FAMILY)
