"""BART: a transformer's encoder and decoder, trained to restore texts that were damaged.

Paper: Lewis et al., 2019, https://arxiv.org/abs/1910.13461
Differs from RoBERTa in: a decoder, which reads the encoder's vectors and writes a text token by
token. Classifiers read a text in both halves and judge by the decoder's last vector.
"""

import math

import keras

from clozework.layers import (
    Dropout,
    PositionEmbedding,
    ReversibleEmbedding,
    TransformerDecoder,
    TransformerEncoder,
    activation_name,
)
from clozework.models.built_in_presets import built_in_presets
from clozework.models.encoder_decoder_tables import (
    CLASSIFICATION_HEAD,
    COPIES_OF_TOKEN_EMBEDDING,
    ENCODER_DECODER_CONFIG,
    ENCODER_DECODER_FIXED,
    ENCODER_DECODER_HARMLESS,
    LOGITS_BIAS,
    TOKEN_EMBEDDING,
    half_rows,
)
from clozework.models.encoder_tables import classifier_head
from clozework.presets import Converted, Family, HuggingFaceFormat, HuggingFaceHead, register
from clozework.tasks import (
    Backbone,
    LastTokenHead,
    Seq2SeqLM,
    Seq2SeqLMPreprocessor,
    TextClassifier,
    TextClassifierPreprocessor,
)
from clozework.tokenizers import BytePairTokenizer

__all__ = [
    "BartBackbone",
    "BartSeq2SeqLM",
    "BartSeq2SeqLMPreprocessor",
    "BartTextClassifier",
    "BartTextClassifierPreprocessor",
    "BartTokenizer",
]


class BartBackbone(Backbone):
    """BART encoder and decoder: one vector for each token of both.

    Args:
        vocabulary_size, num_layers, num_heads, hidden_dim, intermediate_dim, dropout,
            max_sequence_length, dtype: As in `BertBackbone`, of the encoder and the decoder alike.
        num_decoder_layers, num_decoder_heads, decoder_intermediate_dim: Of the decoder, where it
            differs from the encoder; None for the encoder's.
        activation: Of the feed-forward networks.
        scale_embedding: Whether token vectors are multiplied by the root of `hidden_dim`.

    Inputs: int32 `"encoder_token_ids"`, `"encoder_padding_mask"`, `"decoder_token_ids"` and
        `"decoder_padding_mask"` (1 for a token), each `(batch, tokens)`; the two halves may differ
        in length.
    Outputs: `{"encoder_sequence_output", "decoder_sequence_output"}`, each `(batch, tokens,
        hidden_dim)`.

    Example:
    >>> backbone = BartBackbone(
    ...     vocabulary_size=30, num_layers=1, num_heads=2, hidden_dim=8, intermediate_dim=16
    ... )
    >>> inputs = dict.fromkeys(backbone.input_names, np.ones((1, 4), "int32"))
    >>> backbone(inputs)["decoder_sequence_output"].shape
    (1, 4, 8)
    """

    input_names = (
        "encoder_token_ids",
        "encoder_padding_mask",
        "decoder_token_ids",
        "decoder_padding_mask",
    )
    same_by_default = {
        "num_decoder_layers": "num_layers",
        "num_decoder_heads": "num_heads",
        "decoder_intermediate_dim": "intermediate_dim",
    }

    def __init__(
        self,
        vocabulary_size,
        num_layers,
        num_heads,
        hidden_dim,
        intermediate_dim,
        dropout=0.1,
        max_sequence_length=1024,
        dtype=None,
        *,
        num_decoder_layers=None,
        num_decoder_heads=None,
        decoder_intermediate_dim=None,
        activation="gelu",
        scale_embedding=False,
        **kwargs,
    ):
        block = {
            "dropout": dropout,
            "activation": activation_name(activation),
            "kernel_initializer": _initializer(),
            "dtype": dtype,
        }
        self.token_embedding = ReversibleEmbedding(
            vocabulary_size,
            hidden_dim,
            embeddings_initializer=_initializer(),
            dtype=dtype,
            name="token_embedding",
        )
        self.encoder_embeddings = _EmbeddingLayers("encoder", max_sequence_length, dropout, dtype)
        self.encoder_transformer_layers = [
            TransformerEncoder(
                intermediate_dim, num_heads, name=f"transformer_encoder_layer_{i}", **block
            )
            for i in range(num_layers)
        ]
        self.decoder_embeddings = _EmbeddingLayers("decoder", max_sequence_length, dropout, dtype)
        self.decoder_transformer_layers = [
            TransformerDecoder(
                self.arguments["decoder_intermediate_dim"],
                self.arguments["num_decoder_heads"],
                name=f"transformer_decoder_layer_{i}",
                **block,
            )
            for i in range(self.arguments["num_decoder_layers"])
        ]
        self.embedding_scale = math.sqrt(hidden_dim) if scale_embedding else None

        inputs = self.symbolic_inputs()
        encoded = self.encode(inputs["encoder_token_ids"], inputs["encoder_padding_mask"])
        masks = {name: inputs[name] for name in self.input_names if name.endswith("padding_mask")}
        decoded = self.decode(inputs["decoder_token_ids"], encoded, **masks)
        super().__init__(
            inputs=inputs,
            outputs={"encoder_sequence_output": encoded, "decoder_sequence_output": decoded},
            dtype=dtype,
            **kwargs,
        )

    def encode(self, token_ids, padding_mask):
        """Returns the encoder's vectors, `(batch, tokens, hidden_dim)`."""
        x = self.encoder_embeddings(self._vectors(token_ids), padding_mask=padding_mask)
        for layer in self.encoder_transformer_layers:
            x = layer(x, padding_mask=padding_mask)
        return x

    def decode(self, token_ids, encoded, *, start_index=0, positions=None, caches=None, **masks):
        """Returns the decoder's vectors, `(batch, tokens, hidden_dim)`, and, if there are caches,
        these with the new tokens: of each layer its own and that of the encoder's vectors.
        """
        x = self.decoder_embeddings(
            self._vectors(token_ids),
            start_index=start_index,
            positions=positions,
            padding_mask=masks.get("decoder_padding_mask"),
        )
        if caches is None:
            for layer in self.decoder_transformer_layers:
                x = layer(x, encoded, **masks)
            return x
        updated = []
        for layer, (own, cross) in zip(self.decoder_transformer_layers, caches, strict=True):
            places = {"self_attention_cache": own, "cross_attention_cache": cross}
            x, *new = layer(
                x, encoded, self_attention_cache_update_index=start_index, **places, **masks
            )
            updated.append(new)
        return x, updated

    @staticmethod
    def token_vectors(outputs):
        return outputs["decoder_sequence_output"]

    def _vectors(self, token_ids):
        x = self.token_embedding(token_ids)
        return x if self.embedding_scale is None else x * self.embedding_scale


class _EmbeddingLayers:
    """What follows the token embedding, which both halves share, in one of them."""

    def __init__(self, half, max_sequence_length, dropout, dtype):
        self.position_embedding = PositionEmbedding(
            max_sequence_length, _initializer(), dtype=dtype, name=f"{half}_position_embedding"
        )
        self.add = keras.layers.Add(dtype=dtype, name=f"{half}_embeddings_add")
        self.layer_norm = keras.layers.LayerNormalization(
            epsilon=1e-5, dtype=dtype, name=f"{half}_embeddings_layer_norm"
        )
        self.dropout = Dropout(dropout, dtype=dtype, name=f"{half}_embeddings_dropout")

    def __call__(self, x, **places):
        x = self.add([x, self.position_embedding(x, **places)])
        return self.dropout(self.layer_norm(x))


def _initializer():
    return keras.initializers.TruncatedNormal(stddev=0.02)


class BartTokenizer(BytePairTokenizer):
    """Byte-level BPE, as GPT-2's, with BART's special tokens; see `BytePairTokenizer`.

    Example:
    >>> vocabulary = {"<s>": 0, "<pad>": 1, "</s>": 2, "a": 3, "b": 4, "ab": 5}
    >>> BartTokenizer(vocabulary, ["a b"])("abb").tolist()
    [5, 4]
    """

    special_tokens_by_role = {"start": "<s>", "pad": "<pad>", "end": "</s>"}
    num_separators = 2

    def __init__(self, vocabulary=None, merges=None, **kwargs):
        super().__init__(vocabulary, merges, **kwargs)


class BartSeq2SeqLMPreprocessor(Seq2SeqLMPreprocessor):
    """Turns pairs of strings into inputs for `BartSeq2SeqLM`; see `Seq2SeqLMPreprocessor`."""

    backbone_cls = BartBackbone
    tokenizer_cls = BartTokenizer


class BartSeq2SeqLM(Seq2SeqLM):
    """BART that writes a text for a text, such as a summary; see `Seq2SeqLM`."""

    preprocessor_cls = BartSeq2SeqLMPreprocessor


class BartTextClassifierPreprocessor(TextClassifierPreprocessor):
    """Turns strings, or pairs of strings, into inputs for `BartTextClassifier`.

    The decoder reads what the encoder does, one token behind and from the end token on.
    """

    backbone_cls = BartBackbone
    tokenizer_cls = BartTokenizer


class BartTextClassifier(TextClassifier):
    """BART with a classifier on the decoder's last vector; see `TextClassifier`."""

    preprocessor_cls = BartTextClassifierPreprocessor
    head = LastTokenHead("tanh")


HUGGING_FACE = HuggingFaceFormat(
    model_type="bart",
    architecture="BartModel",
    prefix="model.",
    config=ENCODER_DECODER_CONFIG,
    fixed=ENCODER_DECODER_FIXED,
    harmless=ENCODER_DECODER_HARMLESS,
    rows=(
        TOKEN_EMBEDDING,
        *half_rows("encoder"),
        *half_rows("decoder"),
    ),
    unused=COPIES_OF_TOKEN_EMBEDDING,
    heads={
        "Seq2SeqLM": HuggingFaceHead(
            architecture="BartForConditionalGeneration",
            rows=(LOGITS_BIAS,),
            preprocessor={"decoder_start_token_id": "decoder_start_token_id"},
        ),
        "TextClassifier": classifier_head("BartForSequenceClassification", *CLASSIFICATION_HEAD),
    },
    tokenizer_class="BartTokenizer",
    tokenizer_files={"vocab.json": "vocabulary", "merges.txt": "merges"},
    tokenizer_options={"add_prefix_space": Converted("add_prefix_space", default=False)},
)


FAMILY = Family(
    name="bart",
    title="BART",
    backbone=BartBackbone,
    tokenizer=BartTokenizer,
    tasks=(BartSeq2SeqLM, BartTextClassifier),
    presets=built_in_presets("bart"),
    hugging_face=HUGGING_FACE,
)

register(FAMILY)
