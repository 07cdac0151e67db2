"""A tiny tokenizer, backbone and task of every registered family, made from the registry alone."""

import functools
import io

import keras
import numpy as np
import sentencepiece

import clozework.models  # noqa: F401 (registers the families)
from clozework.presets import Family, families
from clozework.tasks.arguments import argument_defaults
from clozework.tokenizers import BytePairTokenizer, SentencePieceTokenizer, WordPieceTokenizer

FAMILIES = {family.name: family for family in families()}
TASKS = {task.__name__: task for family in families() for task in family.tasks}

TEXTS = ["the quick brown fox", "heaven and earth", "the lazy dog and the quick fox"]
WORDS = sorted({word for text in TEXTS for word in text.split()})

SEQUENCE_LENGTH = 16
SIZES = {
    "num_layers": 2,
    "num_heads": 2,
    "num_query_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 6,
    "hidden_dim": 8,
    # A power of two: of other widths PyTorch sums some rows of a product in another order.
    "embedding_dim": 4,
    "num_groups": 2,
    "intermediate_dim": 12,
    "max_sequence_length": SEQUENCE_LENGTH,
    "num_segments": 2,
    "bucket_size": 4,
    # Less than the rows of the tests.
    "local_attention_window": 4,
}
TASK_ARGUMENTS = {"num_classes": 3}
# How the SentencePiece models of a family differ from those of most.
TRAINING = {
    "GemmaTokenizer": {
        "model_type": "bpe",
        "byte_fallback": True,
        "add_dummy_prefix": False,
        "remove_extra_whitespaces": False,
        "eos_id": 1,
        "bos_id": 2,
        "vocab_size": 330,
    }
}


def tiny_tokenizer(family: Family):
    """Returns a tokenizer that knows the words of `TEXTS`; always the same one."""
    makers = {
        WordPieceTokenizer: _word_piece_arguments,
        BytePairTokenizer: _byte_pair_arguments,
        SentencePieceTokenizer: _sentence_piece_arguments,
    }
    make = next(make for base, make in makers.items() if issubclass(family.tokenizer, base))
    return family.tokenizer(**make(family.tokenizer))


def tiny_backbone(family: Family, **changes):
    """Returns a backbone with random values in every variable; `changes` replace arguments."""
    known = argument_defaults(family.backbone)
    sizes = {name: value for name, value in SIZES.items() if name in known}
    # KerasHub's ELECTRA calls it `vocab_size`.
    vocabulary = {family.backbone.input_limits["token_ids"]: _vocabulary_size(family.name)}
    arguments = {**vocabulary, **sizes, **changes}
    return randomised(family.backbone(**arguments))


def tiny_preprocessor(task_cls: type, **changes):
    """Returns the preprocessor of a task class."""
    tokenizer = tiny_tokenizer(family_of_task(task_cls))
    lengths = dict.fromkeys(task_cls.preprocessor_cls.length_names, SEQUENCE_LENGTH)
    return task_cls.preprocessor_cls(tokenizer, **{**lengths, **changes})


def tiny_task(task_cls: type, *, backbone=None, **changes):
    """Returns a task with random values in every variable and the family's preprocessor."""
    if "preprocessor" not in changes:
        changes["preprocessor"] = tiny_preprocessor(task_cls)
    known = argument_defaults(task_cls)
    arguments = {name: value for name, value in TASK_ARGUMENTS.items() if name in known}
    backbone = backbone or tiny_backbone(family_of_task(task_cls))
    task = randomised(task_cls(backbone, **{**arguments, **changes}))
    if task_cls.kind == "TextEmbedder":
        # It has no usual loss to train with.
        task.compile(loss="mse")
    return task


def family_of_task(task_cls: type) -> Family:
    """Returns the family that a task class is registered with."""
    return next(family for family in FAMILIES.values() if task_cls in family.tasks)


def has_padding_mask(family: Family) -> bool:
    """Tells whether the family's encoder is told what is padding; FNet computes on it as well."""
    return any(name.endswith("padding_mask") for name in family.backbone.input_names)


def names_of(inputs, kind: str) -> list[str]:
    """Returns the names of inputs of a kind, such as "token_ids": two for encoder and decoder."""
    return [name for name in inputs if name.endswith(kind)]


def main_task(family: Family) -> type:
    """Returns the task that a family is made for: the first that it names."""
    return family.tasks[0]


def has_classifier(family: Family) -> bool:
    """Tells whether there is a classifier of the family."""
    return any(task.kind == "TextClassifier" for task in family.tasks)


def randomised(model):
    """Gives every variable random values, those of norms and biases too; returns the model."""
    generator = np.random.default_rng(7)
    for variable in model.weights:
        values = generator.normal(scale=0.3, size=variable.shape)
        variable.assign(values + 1.0 if variable.path.endswith("gamma") else values)
    return model


def random_inputs(family: Family, lengths, tokens: int | None = None) -> dict[str, np.ndarray]:
    """Returns inputs of the backbone: one row of random ids for each length, padded.

    Args:
        family: The family.
        lengths: Number of tokens of each row.
        tokens: Length of the padded rows; that of the longest by default.
    """
    generator = np.random.default_rng(3)
    tokens = tokens or max(lengths)
    shape = (len(lengths), tokens)
    mask = (np.arange(tokens) < np.array(lengths)[:, None]).astype("int32")
    # The first ids are special tokens; RoBERTa's padding is 1.
    token_ids = generator.integers(5, _vocabulary_size(family.name), shape)
    inputs = {
        "token_ids": np.where(mask, token_ids, 1).astype("int32"),
        "segment_ids": (generator.integers(0, 2, shape) * mask).astype("int32"),
        "padding_mask": mask,
    }
    return {name: inputs[_plain(name)].copy() for name in family.backbone.input_names}


def _plain(name: str) -> str:
    """The name of an input without that of a half."""
    return name.removeprefix("encoder_").removeprefix("decoder_")


def task_inputs(task_cls: type) -> dict[str, np.ndarray]:
    """Returns a batch of two rows, as a task without a preprocessor takes it."""
    inputs = random_inputs(family_of_task(task_cls), [8, 5])
    if task_cls.kind == "MaskedLM":
        inputs["mask_positions"] = np.array([[1, 4], [2, 2]], "int32")
    for name in task_cls.preprocessor_cls.own_inputs():
        inputs[name] = (np.arange(8) < np.array([[8], [5]])).astype("int32")
    return inputs


def task_labels(task_cls: type, tokens: int = 8) -> np.ndarray:
    """Returns labels for `task_inputs`, or for rows of another number of tokens."""
    labels = {
        "MaskedLM": np.array([[5, 6], [7, 7]]),
        "TextClassifier": np.array([2, 0]),
        "TextEmbedder": np.zeros((2, SIZES["hidden_dim"]), "float32"),
        "QuestionAnswerer": np.array([[0, 3], [2, 4]]),
        "Seq2SeqLM": np.full((2, 8), 6),
        "TokenClassifier": np.arange(2 * tokens).reshape(2, tokens) % 3,
        "CausalLM": np.full((2, 8), 6),
    }
    return labels[task_cls.kind]


def token_vectors(backbone, inputs) -> np.ndarray:
    """Returns the vectors of all tokens as NumPy."""
    return keras.ops.convert_to_numpy(backbone.token_vectors(backbone(inputs)))


def outputs_of(model, inputs) -> dict[str, np.ndarray]:
    """Returns the outputs of a model by name, as NumPy."""
    outputs = model(inputs)
    outputs = outputs if isinstance(outputs, dict) else {"output": outputs}
    return {name: keras.ops.convert_to_numpy(value) for name, value in outputs.items()}


def assert_same_outputs(model, other, inputs, *, atol=1e-5):
    """Asserts that two models give the same numbers."""
    ours, theirs = outputs_of(model, inputs), outputs_of(other, inputs)
    assert ours.keys() == theirs.keys()
    for name, values in ours.items():
        np.testing.assert_allclose(values, theirs[name], rtol=0, atol=atol, err_msg=name)


@functools.cache
def _vocabulary_size(family_name: str) -> int:
    return tiny_tokenizer(FAMILIES[family_name]).vocabulary_size()


def _special_tokens(tokenizer_cls: type) -> list[str]:
    """Start, padding, end, as fairseq numbers them, then the others; the mask is not among them."""
    roles = tokenizer_cls.special_tokens_by_role
    first = [roles[role] for role in ("start", "pad", "end")]
    return [
        token for token in dict.fromkeys([*first, *roles.values()]) if token != roles.get("mask")
    ]


def _word_piece_arguments(tokenizer_cls: type):
    roles = tokenizer_cls.special_tokens_by_role
    specials = [roles["pad"], "[UNK]", roles["start"], roles["end"], roles["mask"]]
    return {"vocabulary": [*specials, *WORDS, "##s", "."], "lowercase": True}


def _byte_pair_arguments(tokenizer_cls: type):
    letters = sorted(set("".join(WORDS)))
    merges, merged = [], []
    for word in (*(f"Ġ{word}" for word in WORDS), *WORDS):
        done = word[0]
        for letter in word[1:]:
            merges.append(f"{done} {letter}")
            done += letter
            merged.append(done)
    tokens = [*_special_tokens(tokenizer_cls), "<unk>", "Ġ", *letters, *dict.fromkeys(merged)]
    tokens.append(tokenizer_cls.special_tokens_by_role.get("mask", "<mask>"))
    return {
        "vocabulary": {token: i for i, token in enumerate(tokens)},
        "merges": list(dict.fromkeys(merges)),
    }


def _sentence_piece_arguments(tokenizer_cls: type):
    return {"proto": _trained_proto(tokenizer_cls)}


@functools.cache
def _trained_proto(tokenizer_cls: type) -> bytes:
    roles = tokenizer_cls.special_tokens_by_role
    # fairseq replaces the first three pieces, whose ids are sentencepiece's defaults.
    pieces = {
        "pad_id": 0,
        "bos_id": 1,
        "eos_id": 2,
        "unk_id": 3,
        "pad_piece": roles["pad"],
        "bos_piece": roles["start"],
        "eos_piece": roles["end"],
        "unk_piece": "[UNK]",
    }
    appended = (None, "<mask>", *tokenizer_cls.appended_tokens)
    model = io.BytesIO()
    options = {
        "vocab_size": 60,
        "hard_vocab_limit": False,
        **({} if tokenizer_cls.has_fairseq_ids else pieces),
        **({} if roles.get("mask") in appended else {"control_symbols": [roles["mask"]]}),
        **TRAINING.get(tokenizer_cls.__name__, {}),
    }
    sentencepiece.SentencePieceTrainer.train(
        # Words that occur often, and not only in one place, become pieces.
        sentence_iterator=iter([*TEXTS, *WORDS] * 50),
        model_writer=model,
        normalization_rule_name="identity",
        num_threads=1,
        minloglevel=2,
        **options,
    )
    return model.getvalue()
