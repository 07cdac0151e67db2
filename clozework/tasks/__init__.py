"""The abstract classes: backbone, preprocessor, and each task with its own."""

from clozework.tasks.answers import Answer
from clozework.tasks.arguments import with_defaults
from clozework.tasks.backbone import Backbone
from clozework.tasks.causal_lm import CausalLM
from clozework.tasks.causal_lm_preprocessor import CausalLMPreprocessor
from clozework.tasks.classification import ClassLabel, RankedDocument
from clozework.tasks.classifier_heads import (
    FirstTokenHead,
    LastTokenHead,
    NormalizedHead,
    NormalizedTokenHead,
    PooledOutputHead,
)
from clozework.tasks.conversion import convert_preset
from clozework.tasks.description import PresetDescription, describe_preset
from clozework.tasks.entities import Entity
from clozework.tasks.generation_settings import DefaultSampler
from clozework.tasks.masked_lm import Candidate, FilledMask, FilledText, MaskedLM
from clozework.tasks.masked_lm_preprocessor import MaskedLMPreprocessor
from clozework.tasks.pooled_output_backbone import PooledOutputBackbone
from clozework.tasks.preprocessor import Preprocessor
from clozework.tasks.question_answerer import QuestionAnswerer
from clozework.tasks.resuming import Resumable
from clozework.tasks.seq2seq_lm import Seq2SeqLM
from clozework.tasks.seq2seq_lm_preprocessor import Seq2SeqLMPreprocessor
from clozework.tasks.task import Task
from clozework.tasks.text_classifier import PooledOutputClassifier, TextClassifier
from clozework.tasks.text_classifier_preprocessor import TextClassifierPreprocessor
from clozework.tasks.text_embedder import TextEmbedder
from clozework.tasks.text_embedder_preprocessor import TextEmbedderPreprocessor
from clozework.tasks.token_classifier import TokenClassifier

__all__ = [
    "Answer",
    "Backbone",
    "Candidate",
    "CausalLM",
    "CausalLMPreprocessor",
    "ClassLabel",
    "DefaultSampler",
    "Entity",
    "FilledMask",
    "FilledText",
    "FirstTokenHead",
    "LastTokenHead",
    "MaskedLM",
    "MaskedLMPreprocessor",
    "NormalizedHead",
    "NormalizedTokenHead",
    "PooledOutputBackbone",
    "PooledOutputClassifier",
    "PooledOutputHead",
    "Preprocessor",
    "PresetDescription",
    "QuestionAnswerer",
    "RankedDocument",
    "Resumable",
    "Seq2SeqLM",
    "Seq2SeqLMPreprocessor",
    "Task",
    "TextClassifier",
    "TextClassifierPreprocessor",
    "TextEmbedder",
    "TextEmbedderPreprocessor",
    "TokenClassifier",
    "convert_preset",
    "describe_preset",
    "with_defaults",
]
