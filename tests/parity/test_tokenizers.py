"""Ids equal to upstream's on 20,000 nasty texts of each kind, and what offsets promise.

Upstream is the Rust-backed tokenizers of `transformers` for WordPiece and byte-level BPE, and the
`sentencepiece` package for SentencePiece. The vocabularies are trained here, small, so that words
fall into many pieces; those that were published are in `test_real_tokenizers.py`.
"""

import dataclasses
import io
import re
import unicodedata
from collections import Counter

import pytest
import sentencepiece
import tokenizers
import transformers
from transformers.convert_slow_tokenizer import check_number_comma

from clozework.models.albert import AlbertTokenizer
from clozework.models.bert import BertTokenizer
from clozework.models.deberta_v3 import DebertaV3Tokenizer
from clozework.models.gemma import GemmaTokenizer
from clozework.models.modern_bert import ModernBertTokenizer
from clozework.models.roberta import RobertaTokenizer
from clozework.models.xlm_roberta import XLMRobertaTokenizer
from clozework.tokenizers import SentencePieceTokenizer, pipeline_words, pipelines
from clozework.tokenizers.piece_model import read_piece_model, write_piece_model
from tests.nasty_texts import nasty_texts

TEXTS = nasty_texts(20_000)
# Enough for variations of what the full number has been through.
FEWER_TEXTS = TEXTS[:2_000]
# In long texts, sums of scores are rounded so much that it shows.
LONG_TEXTS = [" ".join(TEXTS[i : i + 100]) for i in range(0, len(TEXTS), 100)]
CORPUS = nasty_texts(3_000, seed=1)
# Without rare characters, so that some are unknown.
COMMON = {c for c, n in Counter("".join(CORPUS)).items() if n >= 25}
COMMON_CORPUS = ["".join(c for c in text if c in COMMON) for text in CORPUS]


def assert_same_ids(ours, theirs, texts):
    """Compares rows of ids; shows the first texts on which they differ."""
    pairs = zip(texts, ours, theirs, strict=True)
    different = [(text, a, b) for text, a, b in pairs if list(a) != list(b)]
    assert not different, (len(different), different[:3])


def upstream_ids(tokenizer, texts, *, special_tokens_in_strings):
    tokenizer._tokenizer.encode_special_tokens = not special_tokens_in_strings
    encodings = tokenizer._tokenizer.encode_batch(texts, add_special_tokens=False)
    return [encoding.ids for encoding in encodings]


def trained_proto(**options):
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(COMMON_CORPUS),
        model_writer=written,
        character_coverage=1.0,
        hard_vocab_limit=False,
        minloglevel=2,
        **{"vocab_size": 1000, "num_threads": 2, **options},
    )
    return written.getvalue()


@pytest.fixture(scope="module")
def word_pieces():
    trainer = tokenizers.BertWordPieceTokenizer(lowercase=False)
    trainer.train_from_iterator(CORPUS, vocab_size=4000, show_progress=False)
    vocabulary = trainer.get_vocab()
    return sorted(vocabulary, key=vocabulary.__getitem__)


@pytest.fixture(scope="module")
def byte_pairs():
    trainer = tokenizers.ByteLevelBPETokenizer()
    trainer.train_from_iterator(
        CORPUS,
        vocab_size=1200,
        show_progress=False,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
    )
    return trainer.to_str()


@pytest.fixture(params=[2, 64])
def words_remembered_or_not(request, monkeypatch):
    """As on a machine with few cores, of texts with whatever words, or with many cores."""
    monkeypatch.setattr(pipelines, "_num_cores", lambda: request.param)
    monkeypatch.setattr(pipeline_words, "_LARGEST_NEW_SHARE", 1.0)


@pytest.mark.usefixtures("words_remembered_or_not")
@pytest.mark.parametrize("special_tokens_in_strings", [False, True])
@pytest.mark.parametrize("lowercase", [False, True])
def test_word_piece_ids_are_those_of_transformers(
    word_pieces, lowercase, special_tokens_in_strings
):
    upstream = transformers.BertTokenizer(
        vocab={token: i for i, token in enumerate(word_pieces)}, do_lower_case=lowercase
    )
    ours = BertTokenizer(word_pieces, lowercase=lowercase)
    options = {"special_tokens_in_strings": special_tokens_in_strings}
    assert_same_ids(
        ours.encode_ids(TEXTS, **options), upstream_ids(upstream, TEXTS, **options), TEXTS
    )


@pytest.mark.usefixtures("words_remembered_or_not")
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({"lowercase": True, "keep_accents": True}, {"strip_accents": False}),
        ({"strip_accents": True}, {"strip_accents": True, "do_lower_case": False}),
        ({"lowercase": True, "split_on_cjk": False}, {"tokenize_chinese_chars": False}),
    ],
)
def test_word_piece_options_are_those_of_transformers(word_pieces, ours, theirs):
    upstream = transformers.BertTokenizer(
        vocab={token: i for i, token in enumerate(word_pieces)}, **theirs
    )
    rows = upstream_ids(upstream, FEWER_TEXTS, special_tokens_in_strings=False)
    assert_same_ids(BertTokenizer(word_pieces, **ours).encode_ids(FEWER_TEXTS), rows, FEWER_TEXTS)


@pytest.mark.usefixtures("words_remembered_or_not")
@pytest.mark.parametrize("special_tokens_in_strings", [False, True])
@pytest.mark.parametrize("add_prefix_space", [False, True])
def test_byte_pair_ids_are_those_of_transformers(
    byte_pairs, tmp_path, add_prefix_space, special_tokens_in_strings
):
    (tmp_path / "tokenizer.json").write_text(byte_pairs, encoding="utf-8")
    ours = RobertaTokenizer.from_hugging_face_file(
        tmp_path / "tokenizer.json", add_prefix_space=add_prefix_space
    )
    upstream = transformers.RobertaTokenizer(
        vocab=ours.vocabulary,
        merges=[tuple(merge.split(" ")) for merge in ours.merges],
        add_prefix_space=add_prefix_space,
        # As every published RoBERTa has it; transformers 5 leaves it out of its defaults.
        mask_token=tokenizers.AddedToken("<mask>", lstrip=True, special=True, normalized=False),
    )
    options = {"special_tokens_in_strings": special_tokens_in_strings}
    assert_same_ids(
        ours.encode_ids(TEXTS, **options), upstream_ids(upstream, TEXTS, **options), TEXTS
    )


@pytest.fixture(scope="module")
def modern_bert_file(byte_pairs, tmp_path_factory):
    """A `tokenizer.json` with everything that ModernBERT's has."""
    tokenizer = tokenizers.Tokenizer.from_str(byte_pairs)
    tokenizer.normalizer = tokenizers.normalizers.NFC()
    tokenizer.add_tokens(["|||IP_ADDRESS|||", *(" " * n for n in range(24, 1, -1))])
    specials = ["<|padding|>", "<|endoftext|>", "[UNK]", "[CLS]", "[SEP]", "[PAD]"]
    mask = tokenizers.AddedToken("[MASK]", lstrip=True)
    tokenizer.add_special_tokens([*specials, mask])
    tokenizer.add_tokens(["[unused0]", "[unused1]"])
    path = tmp_path_factory.mktemp("modern_bert") / "tokenizer.json"
    tokenizer.save(str(path))
    return path


@pytest.mark.parametrize("special_tokens_in_strings", [False, True])
def test_modern_bert_ids_are_those_of_transformers(modern_bert_file, special_tokens_in_strings):
    ours = ModernBertTokenizer.from_hugging_face_file(modern_bert_file)
    upstream = transformers.PreTrainedTokenizerFast(tokenizer_file=str(modern_bert_file))
    options = {"special_tokens_in_strings": special_tokens_in_strings}
    indented = [text.replace(" ", " " * (2 + i % 30)) for i, text in enumerate(FEWER_TEXTS)]
    more = ["a   [MASK]\u0338 <|endoftext|>\u0338  [unused1]\u0301", "|||IP_ADDRESS||||  "]
    texts = [*FEWER_TEXTS, *indented, *more]
    # These are special to the file, and text to us.
    texts = [text for text in texts if not re.search("</?s>|<(pad|unk|mask)>", text)]
    assert_same_ids(
        ours.encode_ids(texts, **options), upstream_ids(upstream, texts, **options), texts
    )


def test_offsets_of_composed_characters_cover_their_marks(modern_bert_file):
    tokenizer = ModernBertTokenizer.from_hugging_face_file(modern_bert_file)
    for text in ("cafe\u0301 e\u0302\u0301, \u1112\u1161\u11ab", "e\u0301e\u0301 x\u0338!\u0338"):
        offsets = tokenizer.encode([text])[0].offsets
        covered = {i for start, end in offsets for i in range(start, end)}
        assert covered == {i for i, character in enumerate(text) if character != " "}, text


@pytest.fixture(scope="module")
def xlm_roberta_proto():
    return trained_proto()


@pytest.fixture(scope="module")
def deberta_proto():
    pieces = {"pad_piece": "[PAD]", "bos_piece": "[CLS]", "eos_piece": "[SEP]"}
    return trained_proto(
        byte_fallback=True, pad_id=0, bos_id=1, eos_id=2, unk_id=3, unk_piece="[UNK]", **pieces
    )


@pytest.fixture(scope="module")
def gemma_proto():
    return trained_proto(
        model_type="bpe",
        byte_fallback=True,
        normalization_rule_name="identity",
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        user_defined_symbols=[
            *("<mask>", "\n", "\n\n", "<b>"),
            *(length * "\u2581" for length in range(2, 32)),
        ],
        pad_id=0,
        eos_id=1,
        bos_id=2,
        unk_id=3,
        pad_piece="<pad>",
        eos_piece="<eos>",
        bos_piece="<bos>",
    )


def test_unigram_ids_are_those_of_sentencepiece_with_fairseqs_numbers(xlm_roberta_proto):
    upstream = sentencepiece.SentencePieceProcessor(model_proto=xlm_roberta_proto)
    rows = [[i + 1 if i else 3 for i in row] for row in upstream.encode(TEXTS)]
    assert_same_ids(XLMRobertaTokenizer(xlm_roberta_proto).encode_ids(TEXTS), rows, TEXTS)


def test_unigram_ids_with_bytes_are_those_of_sentencepiece(deberta_proto):
    upstream = sentencepiece.SentencePieceProcessor(model_proto=deberta_proto)
    ours = DebertaV3Tokenizer(deberta_proto)
    assert_same_ids(ours.encode_ids(TEXTS), upstream.encode(TEXTS), TEXTS)


def test_unigram_ids_of_long_texts_are_those_of_sentencepiece(deberta_proto):
    upstream = sentencepiece.SentencePieceProcessor(model_proto=deberta_proto)
    ours = DebertaV3Tokenizer(deberta_proto)
    assert_same_ids(ours.encode_ids(LONG_TEXTS), upstream.encode(LONG_TEXTS), LONG_TEXTS)


def test_sentence_piece_bpe_ids_are_those_of_sentencepiece(gemma_proto):
    upstream = sentencepiece.SentencePieceProcessor(model_proto=gemma_proto)
    ours = SentencePieceTokenizer(gemma_proto)
    assert_same_ids(ours.encode_ids(TEXTS), upstream.encode(TEXTS), TEXTS)


def test_a_model_of_pairs_is_restored_from_the_merge_rules_of_transformers(gemma_proto, tmp_path):
    (tmp_path / "tokenizer.model").write_bytes(gemma_proto)
    upstream = transformers.GemmaTokenizer.from_pretrained(tmp_path)
    upstream.save_pretrained(tmp_path)
    ours = GemmaTokenizer.from_hugging_face_file(tmp_path / "tokenizer.json")
    original, restored = read_piece_model(gemma_proto), read_piece_model(ours.proto)
    assert (restored.pieces, restored.types) == (original.pieces, original.types)
    assert_same_ids(ours.encode_ids(TEXTS), GemmaTokenizer(gemma_proto).encode_ids(TEXTS), TEXTS)
    # Two of these are one piece only where they came of spaces; theirs looks for them in the text
    # as it is written, the model itself in what became of it.
    texts = [text for text in TEXTS if "\u2581\u2581" not in text]
    options = {"special_tokens_in_strings": True}
    rows = ours.encode_ids(texts, **options)
    assert_same_ids(rows, upstream_ids(upstream, texts, **options), texts)
    assert upstream.decode(rows[7]) == ours.detokenize(rows[7])

    ours.to_hugging_face_file(tmp_path / "again.json")
    exported = tokenizers.Tokenizer.from_file(str(tmp_path / "again.json"))
    encodings = exported.encode_batch(texts)
    assert_same_ids(
        [e.ids for e in encodings], [[ours.start_token_id, *row] for row in rows], texts
    )


@pytest.mark.parametrize(
    "options",
    [
        {"model_type": "word"},
        {"model_type": "char", "user_defined_symbols": ["<mask>", "the"]},
        {"model_type": "bpe"},
        {"treat_whitespace_as_suffix": True},
        {"model_type": "word", "treat_whitespace_as_suffix": True},
        {"split_by_whitespace": False, "split_by_number": False},
        {"user_defined_symbols": ["<mask>", "[MASK]", "a b", "  ", "aa"]},
        {"normalization_rule_name": "nmt_nfkc_cf"},
        {"normalization_rule_name": "nfkc", "remove_extra_whitespaces": False},
        {"add_dummy_prefix": False, "byte_fallback": True},
    ],
    ids=str,
)
def test_sentence_piece_options_give_the_ids_of_sentencepiece(options):
    proto = trained_proto(**options)
    upstream = sentencepiece.SentencePieceProcessor(model_proto=proto)
    ours = SentencePieceTokenizer(proto)
    rows = ours.encode_ids(FEWER_TEXTS)
    assert_same_ids(rows, upstream.encode(FEWER_TEXTS), FEWER_TEXTS)
    assert_same_ids([e.ids for e in ours.encode(FEWER_TEXTS)], rows, FEWER_TEXTS)
    assert ours.detokenize(rows) == upstream.decode(rows)


@pytest.fixture(scope="module")
def albert_proto():
    pieces = {"pad_piece": "<pad>", "bos_piece": "[CLS]", "eos_piece": "[SEP]"}
    return trained_proto(
        pad_id=0, unk_id=1, bos_id=2, eos_id=3, control_symbols=["[MASK]"], **pieces
    )


@pytest.mark.parametrize("lowercase", [False, True])
@pytest.mark.parametrize("strip_accents", [False, True])
def test_rules_for_texts_are_those_of_transformers(albert_proto, lowercase, strip_accents):
    upstream = transformers.AlbertTokenizer(do_lower_case=lowercase, keep_accents=not strip_accents)
    texts = [upstream._tokenizer.normalizer.normalize_str(text) for text in FEWER_TEXTS]
    model = read_piece_model(albert_proto)
    scores = zip(model.pieces, model.scores, strict=True)
    scores = [score if check_number_comma(piece) else score - 100 for piece, score in scores]
    proto = write_piece_model(dataclasses.replace(model, scores=scores))
    rows = sentencepiece.SentencePieceProcessor(model_proto=proto).encode(texts)
    rules = {"lowercase": lowercase, "strip_accents": strip_accents, "uses_albert_rules": True}
    ours = AlbertTokenizer(albert_proto, **rules)
    assert_same_ids(ours.encode_ids(FEWER_TEXTS), rows, FEWER_TEXTS)
    assert_same_ids([e.ids for e in ours.encode(FEWER_TEXTS)], rows, FEWER_TEXTS)


def test_masks_in_texts_split_them_as_for_the_slow_tokenizer_of_transformers(xlm_roberta_proto):
    upstream = sentencepiece.SentencePieceProcessor(model_proto=xlm_roberta_proto)
    ours = XLMRobertaTokenizer(xlm_roberta_proto)
    numbers = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "<mask>": ours.mask_token_id}
    rows = []
    for text in FEWER_TEXTS:
        row = []
        for part in re.split("(<s>|<pad>|</s>|<unk>|<mask>)", text):
            ids = [i + 1 if i else 3 for i in upstream.encode(part)]
            row += [numbers[part]] if part in numbers else ids
        rows.append(row)
    ids = ours.encode_ids(FEWER_TEXTS, special_tokens_in_strings=True)
    assert_same_ids(ids, rows, FEWER_TEXTS)


def test_texts_are_those_of_sentencepiece(deberta_proto, gemma_proto):
    for proto in (deberta_proto, gemma_proto):
        upstream = sentencepiece.SentencePieceProcessor(model_proto=proto)
        rows = upstream.encode(FEWER_TEXTS)
        # Cut, so that some end inside a character.
        rows = [row[: i % 7 + 1] for i, row in enumerate(rows)]
        assert SentencePieceTokenizer(proto).detokenize(rows) == upstream.decode(rows)


def test_offsets_of_word_pieces_cover_the_pieces(word_pieces):
    tokenizer = BertTokenizer(word_pieces, lowercase=True)
    for text, encoding in zip(FEWER_TEXTS, tokenizer.encode(FEWER_TEXTS), strict=True):
        assert encoding.ids == tokenizer.encode_ids([text])[0]
        for token_id, (start, end) in zip(*encoding, strict=True):
            token = tokenizer.id_to_token(token_id).removeprefix("##")
            if token == "[UNK]":
                assert start < end
                continue
            assert token in without_accents(lowercase(text[start:end])), (text, token)


def lowercase(text):
    # Character by character: Python knows that a Greek word ends with another sigma.
    return "".join(map(str.lower, text))


def without_accents(text):
    decomposed = unicodedata.normalize("NFD", text)
    dropped = ("Mn", "Cf", "Cc", "Co")
    return "".join(
        c for c in decomposed if unicodedata.category(c) not in dropped and c != "\ufffd"
    )


def test_offsets_of_byte_pairs_cover_the_bytes(byte_pairs, tmp_path):
    (tmp_path / "tokenizer.json").write_text(byte_pairs, encoding="utf-8")
    tokenizer = RobertaTokenizer.from_hugging_face_file(tmp_path / "tokenizer.json")
    alphabet = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    for text, encoding in zip(FEWER_TEXTS, tokenizer.encode(FEWER_TEXTS), strict=True):
        assert encoding.ids == tokenizer.encode_ids([text])[0]
        for token_id, (start, end) in zip(*encoding, strict=True):
            token = tokenizer.id_to_token(token_id).strip("ĠĊĉčįĈ")
            covered = "".join(part for part, _ in alphabet.pre_tokenize_str(text[start:end]))
            assert token in covered or not token.strip("ÂâãĢĭļł"), (text, token)


@pytest.mark.parametrize("proto", ["xlm_roberta_proto", "deberta_proto", "gemma_proto"])
def test_offsets_of_sentence_pieces_cover_the_pieces(proto, request):
    tokenizer = SentencePieceTokenizer(request.getfixturevalue(proto))
    normalize = tokenizer._normalizer.normalize
    unk_token = tokenizer.id_to_token(tokenizer.token_to_id("no such token"))
    for text, encoding in zip(FEWER_TEXTS, tokenizer.encode(FEWER_TEXTS), strict=True):
        assert encoding.ids == tokenizer.encode_ids([text])[0]
        for token_id, (start, end) in zip(*encoding, strict=True):
            token = tokenizer.id_to_token(token_id)
            assert 0 <= start <= end <= len(text)
            piece = token.strip("\u2581")
            if token == unk_token or re.fullmatch("<0x..>", token):
                assert start < end or text[end - 1 : end] in ("", " ")
            elif piece:
                assert piece in normalize(text[start:end]), (text, token, start, end)
