"""The model families; importing this registers all of them.

Every class of a family is public here, under KerasHub's old names as well.
"""

# Order of import is order of registration: a family comes after those it builds on.
from clozework.models import (  # noqa: F401
    albert,
    bart,
    bert,
    deberta_v3,
    distil_bert,
    electra,
    f_net,
    gemma,
    modern_bert,
    mpnet,
    roberta,
    xlm_roberta,
)
from clozework.presets import families
from clozework.tasks import (
    Backbone,
    CausalLM,
    CausalLMPreprocessor,
    MaskedLM,
    MaskedLMPreprocessor,
    Preprocessor,
    QuestionAnswerer,
    Seq2SeqLM,
    Seq2SeqLMPreprocessor,
    Task,
    TextClassifier,
    TextClassifierPreprocessor,
    TextEmbedder,
    TextEmbedderPreprocessor,
    TokenClassifier,
)
from clozework.tokenizers import Tokenizer

Classifier = TextClassifier

_ABSTRACT = (
    Backbone,
    CausalLM,
    CausalLMPreprocessor,
    MaskedLM,
    MaskedLMPreprocessor,
    Preprocessor,
    QuestionAnswerer,
    Seq2SeqLM,
    Seq2SeqLMPreprocessor,
    Task,
    TextClassifier,
    TextClassifierPreprocessor,
    TextEmbedder,
    TextEmbedderPreprocessor,
    TokenClassifier,
    Tokenizer,
)
_PUBLIC = {
    "Classifier": Classifier,
    **{cls.__name__: cls for cls in _ABSTRACT},
    **{cls.__name__: cls for family in families() for cls in family.classes},
    **{name: cls for family in families() for name, cls in family.aliases.items()},
}

globals().update(_PUBLIC)
__all__ = sorted(_PUBLIC)
