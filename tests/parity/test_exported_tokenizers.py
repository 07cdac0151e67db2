"""Tokens of `transformers` on the directories that we export, and ours on those it writes."""

import pytest
import sentencepiece
import transformers

from clozework import models
from clozework.presets import family_named
from tests.contract.families import tiny_backbone
from tests.parity.hugging_face_models import CONFIGS

TEXTS = [
    "The quick brown fox jumped.",
    "Café in Zürich, naïve!",
    "",
    "  two  spaces and 12,345 numbers",
    "fox<mask> [MASK] </s>",
    "日本語 text 🤖",
    "``The fox'' and a dog, 1,2",
]
PAIRS = [("The fox", "jumped over"), ("A", ""), ("naïve café", "the quick brown fox")]
# As ModernBERT's vocabulary has them.
ADDED = ["   ", "  ", "|||IP_ADDRESS|||", "[unused0]"]
RULES = ("lowercase", "strip_accents", "uses_albert_rules")
WORDS = "the quick brown fox jumped over a lazy dog in naive cafe and numbers text".split()
# Ids of SentencePiece models are compared in test_tokenizers.py.
FAMILIES = sorted({"bart", *(name for name in CONFIGS if "odd" not in name)})


def word_piece():
    characters = [chr(i) for i in range(33, 127)]
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = [f"##{character}" for character in characters if character.isalnum()]
    return list(dict.fromkeys([*specials, *WORDS, *characters, *pieces]))


def mpnet_pieces():
    names = {"[PAD]": "<pad>", "[CLS]": "<s>", "[SEP]": "</s>", "[MASK]": "<mask>"}
    return [names.get(token, token) for token in word_piece()]


def byte_pair():
    # The 256 bytes as characters, as GPT-2 writes them.
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [chr(256 + i) for i in range(256 - len(visible))]
    tokens = ["<s>", "<pad>", "</s>", "<unk>", *map(chr, visible), *hidden]
    merges = ["t h", "th e", "Ġ q", "f o", "fo x", "Ġ fox", "e d"]
    tokens += [merge.replace(" ", "") for merge in merges]
    return {token: i for i, token in enumerate([*tokens, "<mask>"])}, merges


def modern_byte_pair():
    vocabulary, merges = byte_pair()
    names = {"<s>": "[CLS]", "</s>": "[SEP]", "<pad>": "[PAD]", "<mask>": "[MASK]"}
    tokens = [{**names, "<unk>": "[UNK]"}.get(token, token) for token in vocabulary]
    return {token: i for i, token in enumerate([*tokens, *ADDED])}, merges


def sentence_piece(path, **specials) -> bytes:
    texts = [" ".join(WORDS[i:] + WORDS[:i]) for i in range(len(WORDS))] + TEXTS
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts * 4),
        model_prefix=str(path),
        vocab_size=70,
        minloglevel=2,
        **specials,
    )
    return path.with_suffix(".model").read_bytes()


@pytest.fixture(scope="module")
def fairseq_proto(tmp_path_factory):
    return sentence_piece(tmp_path_factory.mktemp("spm") / "spm", unk_id=0, bos_id=1, eos_id=2)


@pytest.fixture(scope="module")
def deberta_proto(tmp_path_factory):
    ids = {"pad_id": 0, "bos_id": 1, "eos_id": 2, "unk_id": 3}
    pieces = {"pad_piece": "[PAD]", "bos_piece": "[CLS]", "eos_piece": "[SEP]"}
    path = tmp_path_factory.mktemp("spm") / "spm"
    return sentence_piece(path, **ids, **pieces, unk_piece="[UNK]")


@pytest.fixture(scope="module")
def albert_proto(tmp_path_factory):
    ids = {"pad_id": 0, "unk_id": 1, "bos_id": 2, "eos_id": 3, "control_symbols": ["[MASK]"]}
    pieces = {"pad_piece": "<pad>", "bos_piece": "[CLS]", "eos_piece": "[SEP]"}
    return sentence_piece(tmp_path_factory.mktemp("spm") / "spm", **ids, **pieces)


@pytest.fixture(params=[*FAMILIES, "albert-rules", "f_net-rules"])
def exported(request, tmp_path, fairseq_proto, deberta_proto, albert_proto):
    """Our preprocessor, and the directory to which its task was exported."""
    name, _, rules = request.param.partition("-")
    rules = dict.fromkeys(RULES, True) if rules else {}
    tokenizer = {
        "albert": lambda: models.AlbertTokenizer(albert_proto, **rules),
        "bert": lambda: models.BertTokenizer(word_piece(), lowercase=True),
        "distil_bert": lambda: models.DistilBertTokenizer(word_piece()),
        "electra": lambda: models.ElectraTokenizer(word_piece(), lowercase=True),
        "f_net": lambda: models.FNetTokenizer(albert_proto, **rules),
        "modern_bert": lambda: models.ModernBertTokenizer(
            *modern_byte_pair(), unsplittable_tokens=ADDED
        ),
        "mpnet": lambda: models.MPNetTokenizer(mpnet_pieces(), lowercase=True),
        "roberta": lambda: models.RobertaTokenizer(*byte_pair()),
        "bart": lambda: models.BartTokenizer(*byte_pair()),
        "xlm_roberta": lambda: models.XLMRobertaTokenizer(fairseq_proto),
        "deberta_v3": lambda: models.DebertaV3Tokenizer(deberta_proto),
    }[name]()
    family = family_named(name)
    task_cls = next(task for task in family.tasks if task.kind == "TextClassifier")
    backbone = tiny_backbone(
        family,
        **{family.backbone.input_limits["token_ids"]: tokenizer.vocabulary_size()},
        max_sequence_length=64,
    )
    preprocessor = task_cls.preprocessor_cls(tokenizer, sequence_length=64)
    task_cls(backbone, num_classes=2, preprocessor=preprocessor).export_to_transformers(
        tmp_path / "exported"
    )
    return preprocessor, tmp_path / "exported"


def assert_same_rows(ours, theirs, x):
    texts = {"text": list(x[0]), "text_pair": list(x[1])} if isinstance(x, tuple) else {"text": x}
    # Those of ALBERT and FNet do not return all that there is.
    options = {"return_attention_mask": True, "return_token_type_ids": True}
    expected = theirs(**texts, **options, padding="max_length", max_length=64, return_tensors="np")
    rows = {name.removeprefix("encoder_"): values for name, values in ours(x).items()}
    assert rows["token_ids"].tolist() == expected["input_ids"].tolist()
    if "padding_mask" in rows:
        assert rows["padding_mask"].astype(int).tolist() == expected["attention_mask"].tolist()
    if "segment_ids" in rows:
        assert rows["segment_ids"].tolist() == expected["token_type_ids"].tolist()


def without_special_tokens(texts):
    """Texts in which nothing is a special token: upstream always recognises these."""
    return [text for text in texts if "<mask>" not in text]


def test_upstream_makes_the_same_rows_from_our_export(exported):
    ours, directory = exported
    theirs = transformers.AutoTokenizer.from_pretrained(directory)
    assert_same_rows(ours, theirs, without_special_tokens(TEXTS))
    assert_same_rows(ours, theirs, tuple(zip(*PAIRS, strict=True)))
    names = {"start": "cls", "end": "sep", "pad": "pad", "mask": "mask"}
    for role in ours.tokenizer.special_tokens_by_role.keys() & names.keys():
        name = names[role]
        ids = getattr(ours.tokenizer, f"{role}_token_id"), getattr(theirs, f"{name}_token_id")
        assert ids[0] == ids[1], role


def test_our_tokenizer_reads_tokenizer_json_alone(exported, tmp_path):
    ours, directory = exported
    theirs = transformers.AutoTokenizer.from_pretrained(directory)
    theirs.save_pretrained(tmp_path / "saved")
    config = (directory / "config.json").read_bytes()
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "config.json").write_bytes(config)
    (alone / "tokenizer.json").write_bytes((tmp_path / "saved" / "tokenizer.json").read_bytes())
    again = type(ours.tokenizer).from_preset(alone)
    texts = [*TEXTS, *(text for pair in PAIRS for text in pair)]
    assert again(texts) == ours.tokenizer(texts)
    for role in ("start", "end", "pad", "mask"):
        assert getattr(again, f"{role}_token_id") == getattr(ours.tokenizer, f"{role}_token_id")
