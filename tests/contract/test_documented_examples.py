"""KerasHub's documented examples of models run with `import clozework as keras_hub`.

The code is KerasHub's (Apache-2.0), as in its reference pages. Tiny presets of the same families
stand in for downloads; changed is only what cannot run as it is written there: `np.array(...,
shape=...)`, texts handed on by TensorFlow, and the size of models that are trained.
"""

import dataclasses
import io

import keras
import numpy as np
import pytest
import sentencepiece

import clozework as keras_hub
from clozework.presets import Preset, registry
from clozework.tasks.arguments import argument_defaults
from tests.contract.families import FAMILIES, tiny_backbone, tiny_tokenizer

ROW = 64
STAND_INS = {
    "bert": ("bert_base_en", "bert_base_en_uncased"),
    "distil_bert": ("distil_bert_base_en_uncased",),
    "roberta": ("roberta_base_en",),
    "xlm_roberta": ("xlm_roberta_base_multi",),
    "deberta_v3": ("deberta_v3_base_en",),
    "f_net": ("f_net_base_en",),
    "gemma": ("gemma_2b_en",),
}
CUSTOM = {
    "num_layers": 2,
    "num_heads": 4,
    "hidden_dim": 16,
    "intermediate_dim": 32,
    "max_sequence_length": 128,
}

# True in the examples. PyTorch's compiler takes minutes on a CPU, and warns of itself.
JIT_COMPILE = keras.backend.backend() != "torch"
pytestmark = pytest.mark.filterwarnings(
    # The presets of the examples hold a backbone alone.
    "ignore:.* has no head for .*; it is random:clozework.errors.ClozeworkWarning"
)


def sized_backbone(family):
    """A tiny backbone for rows of the examples' length, where it has one."""
    has_positions = "max_sequence_length" in argument_defaults(family.backbone)
    return tiny_backbone(family, **({"max_sequence_length": ROW} if has_positions else {}))


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A tiny backbone of each family, stored with its tokenizer."""
    root = tmp_path_factory.mktemp("presets")
    for name in STAND_INS:
        sized_backbone(FAMILIES[name]).save_to_preset(root / name)
        tiny_tokenizer(FAMILIES[name]).save_to_preset(root / name)
    return root


@pytest.fixture(autouse=True)
def _stand_ins(stored, monkeypatch):
    """Puts tiny presets behind the built-in names."""
    for name, presets in STAND_INS.items():
        family = FAMILIES[name]
        backbone = sized_backbone(family)
        tiny = [
            Preset(preset, backbone.count_params(), backbone.arguments, embedded=stored / name)
            for preset in presets
        ]
        monkeypatch.setitem(registry._FAMILIES, name, dataclasses.replace(family, presets=tiny))


def train_sentencepiece(texts, **options):
    bytes_io = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts), model_writer=bytes_io, minloglevel=2, **options
    )
    return bytes_io.getvalue()


def test_deberta_v3_masked_lm_on_raw_strings():
    features = ["The quick brown fox jumped.", "I forgot my homework."]

    # Pretrained language model.
    masked_lm = keras_hub.models.DebertaV3MaskedLM.from_preset(
        "deberta_v3_base_en",
    )
    masked_lm.fit(x=features, batch_size=2)

    # Re-compile (e.g., with a new learning rate).
    masked_lm.compile(
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        optimizer=keras.optimizers.Adam(5e-5),
        jit_compile=JIT_COMPILE,
    )
    # Access backbone programmatically (e.g., to change `trainable`).
    masked_lm.backbone.trainable = False
    # Fit again.
    masked_lm.fit(x=features, batch_size=2)


def test_deberta_v3_masked_lm_on_integers():
    # Create preprocessed batch where 0 is the mask token.
    features = {
        "token_ids": np.array([[1, 2, 0, 4, 0, 6, 7, 8]] * 2),
        "padding_mask": np.array([[1, 1, 1, 1, 1, 1, 1, 1]] * 2),
        "mask_positions": np.array([[2, 4]] * 2),
    }
    # Labels are the original masked values.
    labels = [[3, 5]] * 2

    masked_lm = keras_hub.models.DebertaV3MaskedLM.from_preset(
        "deberta_v3_base_en",
        preprocessor=None,
    )
    masked_lm.fit(x=features, y=labels, batch_size=2)


def test_from_preset_of_a_task():
    # Load a Bert classification task.
    model = keras_hub.models.TextClassifier.from_preset(
        "bert_base_en",
        num_classes=2,
    )
    assert isinstance(model, keras_hub.models.BertTextClassifier)


def test_from_preset_of_a_backbone():
    # Load a Bert backbone with a pre-trained config and random weights.
    model = keras_hub.models.Backbone.from_preset(
        "bert_base_en",
        load_weights=False,
    )
    assert isinstance(model, keras_hub.models.BertBackbone)


def test_distil_bert_backbone():
    input_data = {
        "token_ids": np.ones(shape=(1, 12), dtype="int32"),
        "padding_mask": np.array([[1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0]]),
    }

    # Pretrained DistilBERT encoder.
    model = keras_hub.models.DistilBertBackbone.from_preset("distil_bert_base_en_uncased")
    model(input_data)

    # Randomly initialized DistilBERT encoder with custom config.
    model = keras_hub.models.DistilBertBackbone(
        vocabulary_size=30552,
        num_layers=4,
        num_heads=4,
        hidden_dim=256,
        intermediate_dim=512,
        max_sequence_length=128,
    )
    assert model(input_data).shape == (1, 12, 256)


def test_roberta_backbone():
    input_data = {
        "token_ids": np.ones(shape=(1, 12), dtype="int32"),
        "padding_mask": np.array([1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0]).reshape(1, 12),
    }

    # Pretrained RoBERTa encoder
    model = keras_hub.models.RobertaBackbone.from_preset("roberta_base_en")
    model(input_data)

    # Randomly initialized RoBERTa model with custom config
    model = keras_hub.models.RobertaBackbone(
        vocabulary_size=50265,
        num_layers=4,
        num_heads=4,
        hidden_dim=256,
        intermediate_dim=512,
        max_sequence_length=128,
    )
    assert model(input_data).shape == (1, 12, 256)


def test_bert_and_xlm_roberta_backbones():
    input_data = {
        "token_ids": np.ones(shape=(1, 12), dtype="int32"),
        "segment_ids": np.array([[0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 0, 0]]),
        "padding_mask": np.array([[1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0]]),
    }

    # Pretrained BERT encoder.
    model = keras_hub.models.BertBackbone.from_preset("bert_base_en_uncased")
    model(input_data)

    # Pretrained XLM-R encoder, with an input more than it takes.
    model = keras_hub.models.XLMRobertaBackbone.from_preset("xlm_roberta_base_multi")
    model({name: input_data[name] for name in ("token_ids", "padding_mask")})


def test_f_net_backbone():
    input_data = {
        "token_ids": np.ones(shape=(1, 12), dtype="int32"),
        "segment_ids": np.array([[0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 0, 0]]),
    }

    # Pretrained encoder.
    model = keras_hub.models.FNetBackbone.from_preset("f_net_base_en")
    model(input_data)

    # Randomly initialized FNet encoder with a custom config.
    model = keras_hub.models.FNetBackbone(
        vocabulary_size=32000,
        num_layers=4,
        hidden_dim=256,
        intermediate_dim=512,
        max_sequence_length=128,
    )
    assert model(input_data)["sequence_output"].shape == (1, 12, 256)


def test_roberta_text_classifier_on_raw_strings():
    features = ["The quick brown fox jumped.", "I forgot my homework."]
    labels = [0, 3]

    # Pretrained classifier.
    classifier = keras_hub.models.RobertaTextClassifier.from_preset(
        "roberta_base_en",
        num_classes=4,
    )
    classifier.fit(x=features, y=labels, batch_size=2)
    classifier.predict(x=features, batch_size=2)

    # Re-compile (e.g., with a new learning rate).
    classifier.compile(
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        optimizer=keras.optimizers.Adam(5e-5),
        jit_compile=JIT_COMPILE,
    )
    # Access backbone programmatically (e.g., to change `trainable`).
    classifier.backbone.trainable = False
    # Fit again.
    classifier.fit(x=features, y=labels, batch_size=2)


def test_roberta_text_classifier_on_integers():
    features = {
        "token_ids": np.ones(shape=(2, 12), dtype="int32"),
        "padding_mask": np.array([[1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0]] * 2),
    }
    labels = [0, 3]

    # Pretrained classifier without preprocessing.
    classifier = keras_hub.models.RobertaTextClassifier.from_preset(
        "roberta_base_en",
        num_classes=4,
        preprocessor=None,
    )
    classifier.fit(x=features, y=labels, batch_size=2)


def test_roberta_text_classifier_with_a_custom_vocabulary():
    features = ["a quick fox", "a fox quick"]
    labels = [0, 3]

    vocab = {"<s>": 0, "<pad>": 1, "</s>": 2, "<mask>": 3}
    vocab = {**vocab, "a": 4, "Ġquick": 5, "Ġfox": 6}
    merges = ["Ġ q", "u i", "c k", "ui ck", "Ġq uick"]
    merges += ["Ġ f", "o x", "Ġf ox"]
    tokenizer = keras_hub.models.RobertaTokenizer(vocabulary=vocab, merges=merges)
    preprocessor = keras_hub.models.RobertaTextClassifierPreprocessor(
        tokenizer=tokenizer,
        sequence_length=128,
    )
    backbone = keras_hub.models.RobertaBackbone(vocabulary_size=20, **CUSTOM)
    classifier = keras_hub.models.RobertaClassifier(
        backbone=backbone,
        preprocessor=preprocessor,
        num_classes=4,
    )
    classifier.fit(x=features, y=labels, batch_size=2)
    assert tokenizer(features) == [[4, 5, 6], [4, 6, 5]]


def test_bert_masked_lm_with_a_custom_vocabulary():
    features = ["The quick brown fox jumped.", "I forgot my homework."]

    vocab = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]
    vocab += ["The", "quick", "brown", "fox", "jumped", "."]
    tokenizer = keras_hub.models.BertTokenizer(vocabulary=vocab)
    preprocessor = keras_hub.models.BertMaskedLMPreprocessor(
        tokenizer=tokenizer,
        sequence_length=128,
    )
    backbone = keras_hub.models.BertBackbone(vocabulary_size=30552, **CUSTOM)
    masked_lm = keras_hub.models.BertMaskedLM(backbone=backbone, preprocessor=preprocessor)
    masked_lm.fit(x=features, batch_size=2)


def test_distil_bert_text_classifier_with_a_custom_vocabulary():
    features = ["The quick brown fox jumped.", "I forgot my homework."]
    labels = [0, 3]

    vocab = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]
    vocab += ["The", "quick", "brown", "fox", "jumped", "."]
    tokenizer = keras_hub.models.DistilBertTokenizer(vocabulary=vocab)
    preprocessor = keras_hub.models.DistilBertTextClassifierPreprocessor(
        tokenizer=tokenizer,
        sequence_length=128,
    )
    backbone = keras_hub.models.DistilBertBackbone(vocabulary_size=30552, **CUSTOM)
    classifier = keras_hub.models.DistilBertTextClassifier(
        backbone=backbone,
        preprocessor=preprocessor,
        num_classes=4,
    )
    classifier.fit(x=features, y=labels, batch_size=2)


def test_deberta_v3_text_classifier_with_a_custom_vocabulary():
    features = ["The quick brown fox jumped.", "I forgot my homework."]
    labels = [0, 3]

    proto = train_sentencepiece(
        features,
        vocab_size=10,
        model_type="WORD",
        pad_id=0,
        bos_id=1,
        eos_id=2,
        unk_id=3,
        pad_piece="[PAD]",
        bos_piece="[CLS]",
        eos_piece="[SEP]",
        unk_piece="[UNK]",
    )
    tokenizer = keras_hub.models.DebertaV3Tokenizer(proto=proto)
    preprocessor = keras_hub.models.DebertaV3TextClassifierPreprocessor(
        tokenizer=tokenizer,
        sequence_length=128,
    )
    backbone = keras_hub.models.DebertaV3Backbone(vocabulary_size=30552, **CUSTOM)
    classifier = keras_hub.models.DebertaV3TextClassifier(
        backbone=backbone,
        preprocessor=preprocessor,
        num_classes=4,
    )
    classifier.fit(x=features, y=labels, batch_size=2)


def test_xlm_roberta_text_classifier_with_a_custom_vocabulary():
    features = ["The quick brown fox jumped.", "I forgot my homework."]
    labels = [0, 3]

    proto = train_sentencepiece(
        ["the quick brown fox", "the earth is round"],
        vocab_size=10,
        model_type="WORD",
        unk_id=0,
        bos_id=1,
        eos_id=2,
    )
    tokenizer = keras_hub.models.XLMRobertaTokenizer(proto=proto)
    preprocessor = keras_hub.models.XLMRobertaTextClassifierPreprocessor(
        tokenizer=tokenizer,
        sequence_length=128,
    )
    backbone = keras_hub.models.XLMRobertaBackbone(vocabulary_size=250002, **CUSTOM)
    classifier = keras_hub.models.XLMRobertaTextClassifier(
        backbone=backbone,
        preprocessor=preprocessor,
        num_classes=4,
    )
    classifier.fit(x=features, y=labels, batch_size=2)


def test_gemma_backbone():
    input_data = {
        "token_ids": np.ones(shape=(1, 12), dtype="int32"),
        "padding_mask": np.array([[1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0]]),
    }

    # Pretrained Gemma decoder, by the base class and by its own.
    model = keras_hub.models.Backbone.from_preset("gemma_2b_en")
    model = keras_hub.models.GemmaBackbone.from_preset("gemma_2b_en")
    model(input_data)

    # Randomly initialized Gemma decoder with custom config.
    model = keras_hub.models.GemmaBackbone(
        vocabulary_size=50257,
        num_layers=2,
        num_query_heads=12,
        num_key_value_heads=1,
        hidden_dim=768,
        intermediate_dim=3072,
        head_dim=64,
    )
    assert model(input_data).shape == (1, 12, 768)


def test_gemma_generates_from_strings():
    # Load a Gemma generative task.
    gemma_lm = keras_hub.models.CausalLM.from_preset(
        "gemma_2b_en",
    )
    gemma_lm.generate("I want to say", max_length=30)

    # Generate with batched prompts.
    gemma_lm.generate(["This is a", "Where are you"], max_length=30)

    # Compile the `generate()` function with a custom sampler.
    gemma_lm.compile(sampler="top_k")
    gemma_lm.generate("I want to say", max_length=30)

    gemma_lm.compile(sampler=keras_hub.samplers.BeamSampler(num_beams=2))
    gemma_lm.generate("I want to say", max_length=30)


def test_gemma_generates_and_learns_without_preprocessing():
    prompt = {
        "token_ids": np.array([[2, 14, 63, 0, 0, 0, 0]] * 2),
        # Use `"padding_mask"` to indicate values that should not be overridden.
        "padding_mask": np.array([[1, 1, 1, 0, 0, 0, 0]] * 2),
    }

    gemma_lm = keras_hub.models.GemmaCausalLM.from_preset(
        "gemma_2b_en",
        preprocessor=None,
    )
    assert gemma_lm.generate(prompt)["token_ids"].shape == (2, 7)

    x = {
        "token_ids": np.array([[2, 14, 63, 27, 44, 81, 1, 0]] * 2),
        "padding_mask": np.array([[1, 1, 1, 1, 1, 1, 1, 0]] * 2),
    }
    y = np.array([[14, 63, 27, 44, 81, 3, 0, 0]] * 2)
    sw = np.array([[1, 1, 1, 1, 1, 1, 0, 0]] * 2)
    gemma_lm.fit(x=x, y=y, sample_weight=sw, batch_size=2)


def test_gemma_learns_strings():
    # Call `fit()` on a single batch.
    features = ["The quick brown fox jumped.", "I forgot my homework."]
    gemma_lm = keras_hub.models.GemmaCausalLM.from_preset("gemma_2b_en")
    gemma_lm.fit(x=features, batch_size=2)


def test_text_classifier_preprocessor():
    preprocessor = keras_hub.models.TextClassifierPreprocessor.from_preset("bert_base_en_uncased")

    # Tokenize and pack a single sentence.
    x = preprocessor("The quick brown fox jumped.")
    assert x["token_ids"].shape == (ROW,)

    # Tokenize a batch of single sentences.
    x = preprocessor(["The quick brown fox jumped.", "Call me Ishmael."])
    assert x["token_ids"].shape == (2, ROW)

    # Preprocess a batch of sentence pairs.
    # When handling multiple sequences, always convert to tensors first!
    first = np.array(["The quick brown fox jumped.", "Call me Ishmael."])
    second = np.array(["The fox tripped.", "Oh look, a whale."])
    pairs = preprocessor((first, second))
    assert pairs["token_ids"].shape == (2, ROW)
    assert pairs["segment_ids"].max() == 1

    # Labels go through.
    x, y = preprocessor(["The quick brown fox jumped.", "Call me Ishmael."], [0, 1])
    assert y == [0, 1]


def test_masked_lm_preprocessor():
    preprocessor = keras_hub.models.MaskedLMPreprocessor.from_preset("roberta_base_en")

    # Tokenize and mask a single sentence.
    x, y, sample_weight = preprocessor("The fox tripped.")
    assert x["mask_positions"].shape == y.shape == sample_weight.shape

    # Tokenize and mask a batch of single sentences.
    x, y, sample_weight = preprocessor(["The fox tripped.", "Call me Ishmael."])
    assert x["mask_positions"].shape == y.shape == sample_weight.shape


def test_tokenizer_of_a_preset():
    # Unbatched input.
    tokenizer = keras_hub.models.BertTokenizer.from_preset("bert_base_en_uncased")
    tokenizer("The quick brown fox jumped.")

    # Batched input.
    tokenizer(["The quick brown fox jumped.", "The fox slept."])

    # Detokenization.
    assert tokenizer.detokenize(tokenizer("The quick brown fox.")) == "the quick brown fox ."


def test_preset_names_of_a_class():
    assert list(keras_hub.models.RobertaTextClassifier.presets.keys()) == [
        "roberta_base_en",
        "xlm_roberta_base_multi",
    ]
