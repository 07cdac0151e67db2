"""XLM-RoBERTa: RoBERTa on the text of a hundred languages.

Paper: Conneau et al., 2019, https://arxiv.org/abs/1911.02116
Differs from RoBERTa in: a SentencePiece vocabulary of 250,000 tokens in place of byte-level BPE.
"""

import dataclasses

from clozework.models.built_in_presets import built_in_presets
from clozework.models.encoder_tables import token_heads
from clozework.models.roberta import (
    HUGGING_FACE,
    RobertaBackbone,
    RobertaMaskedLM,
    RobertaTextClassifier,
)
from clozework.presets import Family, register
from clozework.tasks import (
    MaskedLMPreprocessor,
    QuestionAnswerer,
    TextClassifierPreprocessor,
    TextEmbedder,
    TextEmbedderPreprocessor,
    TokenClassifier,
)
from clozework.tokenizers import SentencePieceTokenizer

__all__ = [
    "XLMRobertaBackbone",
    "XLMRobertaMaskedLM",
    "XLMRobertaMaskedLMPreprocessor",
    "XLMRobertaQuestionAnswerer",
    "XLMRobertaTextClassifier",
    "XLMRobertaTextClassifierPreprocessor",
    "XLMRobertaTextEmbedder",
    "XLMRobertaTextEmbedderPreprocessor",
    "XLMRobertaTokenClassifier",
    "XLMRobertaTokenizer",
]


class XLMRobertaBackbone(RobertaBackbone):
    """XLM-RoBERTa encoder: one vector per token; see `RobertaBackbone`, which it equals."""


class XLMRobertaTokenizer(SentencePieceTokenizer):
    """SentencePiece with the ids that fairseq gave XLM-RoBERTa's tokens.

    Args:
        proto: A SentencePiece model: its path, its bytes, or these in base64.

    fairseq put `<s>`, `<pad>`, `</s>`, `<unk>` first, so that pieces stand one id higher than in
    the SentencePiece model, and `<mask>` last.
    """

    special_tokens_by_role = {"start": "<s>", "pad": "<pad>", "end": "</s>", "mask": "<mask>"}
    tokens_taking_space_before = frozenset({"<mask>"})
    num_separators = 2
    has_fairseq_ids = True

    def __init__(self, proto=None, **kwargs):
        super().__init__(proto, **kwargs)


class XLMRobertaTextClassifierPreprocessor(TextClassifierPreprocessor):
    """Turns strings, or pairs of strings, into inputs for `XLMRobertaTextClassifier`."""

    backbone_cls = XLMRobertaBackbone
    tokenizer_cls = XLMRobertaTokenizer


class XLMRobertaMaskedLMPreprocessor(MaskedLMPreprocessor):
    """Turns strings into inputs with masks for `XLMRobertaMaskedLM`."""

    backbone_cls = XLMRobertaBackbone
    tokenizer_cls = XLMRobertaTokenizer


class XLMRobertaMaskedLM(RobertaMaskedLM):
    """XLM-RoBERTa with the head that predicts masked tokens; see `MaskedLM`."""

    preprocessor_cls = XLMRobertaMaskedLMPreprocessor


class XLMRobertaTextClassifier(RobertaTextClassifier):
    """XLM-RoBERTa with a classifier on the first token's vector; see `TextClassifier`."""

    preprocessor_cls = XLMRobertaTextClassifierPreprocessor


def _renamed(head, architecture: str):
    return dataclasses.replace(head, architecture=architecture)


class XLMRobertaTextEmbedderPreprocessor(TextEmbedderPreprocessor):
    """Turns strings into inputs for `XLMRobertaTextEmbedder`."""

    backbone_cls = XLMRobertaBackbone
    tokenizer_cls = XLMRobertaTokenizer


class XLMRobertaTextEmbedder(TextEmbedder):
    """XLM-RoBERTa pooled to one vector for a text; see `TextEmbedder`."""

    preprocessor_cls = XLMRobertaTextEmbedderPreprocessor


class XLMRobertaTokenClassifier(TokenClassifier):
    """XLM-RoBERTa with a classifier on each token's vector; see `TokenClassifier`."""

    preprocessor_cls = XLMRobertaTextClassifierPreprocessor


class XLMRobertaQuestionAnswerer(QuestionAnswerer):
    """XLM-RoBERTa that finds answers in a context; see `QuestionAnswerer`."""

    preprocessor_cls = XLMRobertaTextClassifierPreprocessor


FAMILY = Family(
    name="xlm_roberta",
    title="XLM-RoBERTa",
    backbone=XLMRobertaBackbone,
    tokenizer=XLMRobertaTokenizer,
    tasks=(
        XLMRobertaMaskedLM,
        XLMRobertaTextClassifier,
        XLMRobertaTextEmbedder,
        XLMRobertaTokenClassifier,
        XLMRobertaQuestionAnswerer,
    ),
    aliases={
        "XLMRobertaClassifier": XLMRobertaTextClassifier,
        "XLMRobertaPreprocessor": XLMRobertaTextClassifierPreprocessor,
    },
    presets=built_in_presets("xlm_roberta"),
    hugging_face=dataclasses.replace(
        HUGGING_FACE,
        model_type="xlm-roberta",
        architecture="XLMRobertaModel",
        heads={
            "MaskedLM": _renamed(HUGGING_FACE.heads["MaskedLM"], "XLMRobertaForMaskedLM"),
            "TextClassifier": _renamed(
                HUGGING_FACE.heads["TextClassifier"], "XLMRobertaForSequenceClassification"
            ),
            **token_heads("XLMRoberta"),
        },
        tokenizer_class="XLMRobertaTokenizer",
        tokenizer_files={"sentencepiece.bpe.model": "proto"},
        tokenizer_options={},
    ),
)

register(FAMILY)
