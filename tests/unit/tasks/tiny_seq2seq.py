"""A BART of a few numbers, with a tokenizer of single letters."""

from clozework import models
from tests.unit.tasks.tiny_models import randomized

TOKENS = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", "Ġ", *"abcdefgh"]
LENGTHS = {"encoder_sequence_length": 12, "decoder_sequence_length": 8}


def tiny_preprocessor(**changes):
    tokenizer = models.BartTokenizer({token: i for i, token in enumerate(TOKENS)}, [])
    return models.BartSeq2SeqLMPreprocessor(tokenizer, **{**LENGTHS, **changes})


def tiny_seq2seq(preprocessor="own", **changes):
    backbone = models.BartBackbone(
        vocabulary_size=len(TOKENS),
        num_layers=1,
        num_heads=2,
        hidden_dim=8,
        intermediate_dim=16,
        max_sequence_length=12,
        dropout=0.0,
    )
    if preprocessor == "own":
        preprocessor = tiny_preprocessor()
    return randomized(models.BartSeq2SeqLM(backbone, preprocessor=preprocessor, **changes))
