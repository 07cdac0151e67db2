"""Reading of tokenizer.json."""

import base64
import json

import pytest
import tokenizers
from tokenizers import models, normalizers, pre_tokenizers

from clozework.errors import PresetError
from clozework.models.gemma import GemmaTokenizer
from clozework.tokenizers.piece_model import ModelType, PieceType, read_piece_model
from clozework.tokenizers.text_rules import TextRules
from tests.unit.tokenizers.families import (
    BYTE_PAIRS,
    MERGES,
    PIECES,
    WORD_PIECES,
    BytePair,
    SentencePiece,
    WordPiece,
    piece_model,
)


def word_piece(**options):
    vocabulary = {token: i for i, token in enumerate(WORD_PIECES)}
    tokenizer = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(**options)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def byte_pair(**options):
    merges = [tuple(merge.split(" ")) for merge in MERGES]
    tokenizer = tokenizers.Tokenizer(models.BPE(BYTE_PAIRS, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(**{"add_prefix_space": False, **options})
    return tokenizer


PAIRED = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "\n\n"]
PAIRED += [f"<0x{byte:02X}>" for byte in range(256)]
PAIRED += ["ab", "aa", "aab", "a", "b", "\u2581"]
RULES = [["a", "b"], ["a", "a"], ["a", "ab"], ["aa", "b"]]


def paired(rules=RULES, pieces=PAIRED):
    """A SentencePiece model of pairs, as `transformers` writes Gemma's."""
    model = models.BPE(
        {piece: i for i, piece in enumerate(pieces)},
        [tuple(rule) for rule in rules],
        unk_token="<unk>",
        fuse_unk=True,
        byte_fallback=True,
    )
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.normalizer = normalizers.Replace(" ", "\u2581")
    tokenizer.add_special_tokens(["<pad>", "<eos>", "<bos>", "<unk>"])
    tokenizer.add_tokens([tokenizers.AddedToken(t, normalized=False) for t in ("<mask>", "\n\n")])
    return tokenizer


def unigram(normalizer=None):
    vocabulary = [(piece, score) for piece, score, _ in PIECES]
    tokenizer = tokenizers.Tokenizer(models.Unigram(vocabulary, unk_id=1))
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always")]
    )
    tokenizer.add_special_tokens(["<pad>", "<unk>", "<s>", "</s>"])
    return tokenizer


@pytest.fixture
def stored(tmp_path):
    """Returns a function that stores a Rust tokenizer, with changes to its JSON."""

    def store(tokenizer, **changes):
        content = json.loads(tokenizer.to_str())
        for path, value in changes.items():
            *parents, last = path.split("__")
            place = content
            for parent in parents:
                place = place[parent]
            place[last] = value
        path = tmp_path / "tokenizer.json"
        path.write_text(json.dumps(content), encoding="utf-8")
        return path

    return store


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, (True, False, False, True)),
        ({"lowercase": False}, (False, False, False, True)),
        ({"strip_accents": False}, (True, False, True, True)),
        ({"lowercase": False, "strip_accents": False}, (False, False, False, True)),
        ({"lowercase": False, "strip_accents": True}, (False, True, False, True)),
        ({"handle_chinese_chars": False}, (True, False, False, False)),
    ],
)
def test_options_of_word_piece(stored, options, expected):
    upstream = word_piece(**options)
    ours = WordPiece.from_hugging_face_file(stored(upstream))
    assert (ours.lowercase, ours.strip_accents, ours.keep_accents, ours.split_on_cjk) == expected
    text = "The CAFÉ café 中国."
    assert ours(text).tolist() == upstream.encode(text).ids


def test_added_tokens_are_part_of_the_vocabulary(stored):
    upstream = word_piece()
    upstream.add_special_tokens(["[MASK]", "[NEW]"])
    ours = WordPiece.from_hugging_face_file(stored(upstream))
    assert ours.token_to_id("[NEW]") == len(WORD_PIECES)


def test_byte_pairs_are_read(stored):
    ours = BytePair.from_hugging_face_file(stored(byte_pair(add_prefix_space=True)))
    assert ours.add_prefix_space is True
    assert ours("fox ab").tolist() == BytePair(BYTE_PAIRS, MERGES)(" fox ab").tolist()
    # As the library wrote rules until 2024.
    path = stored(byte_pair(), model__merges=MERGES)
    assert BytePair.from_hugging_face_file(path).merges == MERGES


def test_tokens_added_to_byte_pairs_are_never_split(stored):
    upstream = byte_pair()
    upstream.add_special_tokens(["<s>", tokenizers.AddedToken("<mask>", lstrip=True)])
    upstream.add_tokens(["  ", "ox ox"])
    ours = BytePair.from_hugging_face_file(stored(upstream))
    assert ours.unsplittable_tokens == ["  ", "ox ox"]
    # Special tokens come first, and take the spaces before them along.
    for text in ("ab  ab", "fox ox ox", "fox  ox  ox", "ab   <mask>", "a  <s>  ox ox"):
        rows = ours.encode_ids([text], special_tokens_in_strings=True)
        assert rows == [upstream.encode(text).ids], text
    assert ours.detokenize(ours("ab  fox ox oxa")) == "ab  fox ox oxa"
    assert BytePair(ours.vocabulary, MERGES, unsplittable_tokens=["  "])("  fox  ").tolist() == [
        *(ours.vocabulary["  "], 8, 11, ours.vocabulary["  "])
    ]


def test_byte_pairs_are_written_and_read_again(tmp_path):
    class Composing(BytePair):
        unicode_form = "NFC"
        num_separators = 2

    vocabulary = {**BYTE_PAIRS, "Ã": 15, "\xa9": 16, "fo!": 17}
    ours = Composing(vocabulary, MERGES, unsplittable_tokens=["fo!"], add_prefix_space=True)
    path = tmp_path / "tokenizer.json"
    ours.to_hugging_face_file(path)
    again = Composing.from_hugging_face_file(path)
    assert (again.vocabulary, again.merges) == (vocabulary, MERGES)
    assert again.get_config() == ours.get_config()
    # An accent by itself, composed; the token ends behind it.
    encodings = [tokenizer.encode(["e\u0301fo!"])[0] for tokenizer in (ours, again)]
    assert encodings[0] == encodings[1] == ([7, 15, 16, 17], [(0, 0), (0, 2), (0, 2), (2, 5)])
    rows = tokenizers.Tokenizer.from_file(str(path)).encode_batch(["fox", ("ab", "fo!")])
    assert [(row.ids, row.type_ids) for row in rows] == [
        ([0, 13, 2], [0, 0, 0]),
        ([0, 7, 6, 2, 2, 17, 2], [0, 0, 0, 0, 0, 1, 1]),
    ]


def test_byte_pairs_with_rules_of_unknown_tokens_are_not_written(tmp_path):
    ours = BytePair({**BYTE_PAIRS, "abfox": 15}, [*MERGES, "f ox", "ab fox"])
    with pytest.raises(PresetError, match="name tokens that the vocabulary has not: 'fox'. Add"):
        ours.to_hugging_face_file(tmp_path / "tokenizer.json")


def test_an_added_token_that_takes_spaces_along_is_refused(stored):
    upstream = byte_pair()
    upstream.add_tokens([tokenizers.AddedToken("ox ox", rstrip=True)])
    with pytest.raises(PresetError, match="added token 'ox ox' with rstrip True; .* only False"):
        BytePair.from_hugging_face_file(stored(upstream))


def test_a_unigram_model_is_restored(stored, tmp_path, default_charsmap):
    path = stored(unigram(normalizers.Precompiled(default_charsmap)))
    ours = SentencePiece.from_hugging_face_file(path, sequence_length=9)
    assert ours.sequence_length == 9
    expected = read_piece_model(piece_model(charsmap=default_charsmap))
    assert read_piece_model(ours.proto) == expected
    ours.save_assets(tmp_path)
    loaded = SentencePiece()
    loaded.load_assets(tmp_path)
    assert loaded(["ﬁ ab\tfox"]) == SentencePiece(piece_model(charsmap=default_charsmap))(
        ["ﬁ ab\tfox"]
    )


def test_scores_of_a_unigram_model_are_those_of_its_file(stored):
    vocabulary = [[piece, score / 3] for piece, score, _ in PIECES]
    ours = SentencePiece.from_hugging_face_file(stored(unigram(), model__vocab=vocabulary))
    assert ours._model == read_piece_model(ours.proto)


def test_rules_for_the_text_are_read(stored):
    rules = {"lowercase": True, "strip_accents": True, "uses_albert_rules": True}
    steps = TextRules(**rules).steps
    ours = SentencePiece.from_hugging_face_file(stored(unigram(normalizers.Sequence(steps))))
    assert {name: ours.get_config()[name] for name in rules} == rules
    steps = TextRules(**{**rules, "strip_accents": False}).steps
    ours = SentencePiece.from_hugging_face_file(stored(unigram(normalizers.Sequence(steps))))
    assert (ours.lowercase, ours.strip_accents, ours.uses_albert_rules) == (True, False, True)


def test_what_is_written_is_read_again(tmp_path, default_charsmap):
    path = tmp_path / "tokenizer.json"
    model = piece_model([*PIECES, ("<mask>", 0.0, PieceType.CONTROL)], charsmap=default_charsmap)
    ours = SentencePiece(model, lowercase=True)
    ours.to_hugging_face_file(path)
    again = SentencePiece.from_hugging_face_file(path)
    assert read_piece_model(again.proto) == read_piece_model(ours.proto)
    assert again.get_config() == ours.get_config()
    rows = tokenizers.Tokenizer.from_file(str(path)).encode_batch(["FOX", ("ab", "a b")])
    assert [(row.ids, row.type_ids) for row in rows] == [
        ([2, 4, 8, 3], [0, 0, 0, 0]),
        ([2, 4, 7, 3, 4, 5, 4, 6, 3], [0, 0, 0, 0, 1, 1, 1, 1, 1]),
    ]


@pytest.mark.parametrize(
    "options", [{"model_type": ModelType.WORD}, {"add_dummy_prefix": False}], ids=str
)
def test_models_that_the_library_has_not_are_not_written(tmp_path, options):
    model = piece_model([*PIECES, ("<mask>", 0.0, PieceType.CONTROL)], **options)
    with pytest.raises(
        PresetError, match=r"of type '(word|unigram)' \(or with spaces treated othe"
    ):
        SentencePiece(model).to_hugging_face_file(tmp_path / "tokenizer.json")


@pytest.mark.parametrize("rules", [RULES, [" ".join(rule) for rule in RULES]], ids=["pairs", "old"])
def test_a_model_of_pairs_is_restored(stored, tmp_path, rules):
    upstream = paired()
    ours = GemmaTokenizer.from_hugging_face_file(stored(upstream, model__merges=rules))
    texts = ["aab b", "aaab", "\n\n<mask>é", "  a"]
    assert ours(texts) == [e.ids for e in upstream.encode_batch(texts)]
    assert ours.detokenize(ours(texts)) == texts
    ours.save_assets(tmp_path)
    again = GemmaTokenizer()
    again.load_assets(tmp_path)
    assert again(texts) == ours(texts)


def test_a_tab_in_place_of_its_byte_is_taken_for_it(stored):
    pieces = ["\t" if piece == "<0x09>" else piece for piece in PAIRED]
    upstream = paired(pieces=pieces)
    ours = GemmaTokenizer.from_hugging_face_file(stored(upstream))
    assert ours.get_vocabulary() == PAIRED
    assert ours(["a\ta"]) == [upstream.encode("a\ta").ids]


def test_tokens_added_behind_the_vocabulary_are_symbols(stored):
    upstream = paired()
    upstream.add_tokens([tokenizers.AddedToken("<turn>", normalized=False)])
    ours = GemmaTokenizer.from_hugging_face_file(stored(upstream))
    assert ours(["a<turn>b"]) == [upstream.encode("a<turn>b").ids]


@pytest.mark.parametrize(
    ("tokenizer", "changes", "message"),
    [
        (
            paired(RULES[:3]),
            {},
            "of the ways to make 'aab' some have no rule. Use the tokenizer.mo",
        ),
        (paired([*RULES, RULES[0]]), {"model__merges": [*RULES, RULES[0]]}, "'ab' do not stand to"),
        (paired(), {"model__vocab__ab": 999}, "its ids have gaps"),
        (paired(), {"model__unk_token": None}, "it has no token for what is unknown"),
        (paired(), {"model__merges": [["a"]]}, r"a rule is \['a'\]"),
        (paired(), {"model__byte_fallback": False}, "has model.byte_fallback False"),
        (paired(), {"model__ignore_merges": True}, "has model.ignore_merges True"),
        (paired(), {"normalizer": {"type": "NFC"}}, "has normalizer .*NFC"),
        (paired(), {"pre_tokenizer": {"type": "Digits"}}, "has pre_tokenizer .*Digits"),
    ],
)
def test_rules_that_no_model_of_pairs_has_are_refused(stored, tokenizer, changes, message):
    with pytest.raises(PresetError, match=message):
        GemmaTokenizer.from_hugging_face_file(stored(tokenizer, **changes))


def test_models_of_pairs_that_the_library_has_not_are_not_written(tmp_path):
    model = piece_model([*PIECES, ("<mask>", 0.0, PieceType.CONTROL)], model_type=ModelType.BPE)
    with pytest.raises(PresetError, match="of pairs that changes the text before it splits it, or"):
        SentencePiece(model).to_hugging_face_file(tmp_path / "tokenizer.json")


def test_fairseqs_numbers_are_taken_back(stored, default_charsmap):
    class Fairseq(SentencePiece):
        has_fairseq_ids = True

    pieces = [("<unk>", 0.0, PieceType.UNKNOWN), *PIECES[2:4], *PIECES[4:]]
    original = Fairseq(piece_model(pieces, charsmap=default_charsmap))
    scores = {piece: score for piece, score, _ in pieces}
    vocabulary = [[token, scores.get(token, 0.0)] for token in original.get_vocabulary()]
    path = stored(
        unigram(normalizers.Precompiled(default_charsmap)),
        model__vocab=vocabulary,
        model__unk_id=3,
    )
    restored = Fairseq.from_hugging_face_file(path)
    assert restored.get_vocabulary() == original.get_vocabulary()
    assert read_piece_model(restored.proto).pieces == [piece for piece, _, _ in pieces]
    with pytest.raises(PresetError, match=r"has model.vocab's first tokens"):
        Fairseq.from_hugging_face_file(stored(unigram()))


def test_transformers_5_leaves_the_map_of_deberta_out(stored, default_charsmap):
    steps = [
        normalizers.Replace(tokenizers.Regex(r"\s{2,}|[\n\r\t]"), " "),
        normalizers.NFC(),
        normalizers.Strip(left=False, right=True),
    ]
    ours = SentencePiece.from_hugging_face_file(stored(unigram(normalizers.Sequence(steps))))
    assert read_piece_model(ours.proto).charsmap == default_charsmap


def test_a_unigram_model_without_normaliser_has_no_map(stored):
    ours = SentencePiece.from_hugging_face_file(stored(unigram()))
    assert read_piece_model(ours.proto).charsmap == b""


def test_pieces_for_bytes_are_recognised(stored):
    vocabulary = [[piece, score] for piece, score, _ in PIECES]
    vocabulary += [[f"<0x{byte:02X}>", 0.0] for byte in range(256)]
    ours = SentencePiece.from_hugging_face_file(stored(unigram(), model__vocab=vocabulary))
    assert ours("é").tolist() == [4, len(PIECES) + 0xC3, len(PIECES) + 0xA9]


@pytest.mark.parametrize(
    ("cls", "make", "changes", "message"),
    [
        (WordPiece, word_piece, {"normalizer": {"type": "NFC"}}, "has normalizer 'NFC'; this tok"),
        (WordPiece, word_piece, {"normalizer__clean_text": False}, "normalizer.clean_text False"),
        (WordPiece, word_piece, {"pre_tokenizer": None}, "has pre_tokenizer None"),
        (WordPiece, word_piece, {"model__max_input_chars_per_word": 9}, "per_word 9; .* only 100"),
        (WordPiece, byte_pair, {}, "has model.type 'BPE'; this tokenizer takes only 'WordPiece'"),
        (WordPiece, word_piece, {"model": None}, "is not a tokenizer.json .*: it has no model.voc"),
        (BytePair, byte_pair, {"normalizer": {"type": "NFC"}}, "has normalizer 'NFC'"),
        (BytePair, byte_pair, {"pre_tokenizer": None}, "has pre_tokenizer None"),
        (BytePair, byte_pair, {"pre_tokenizer__use_regex": False}, "pre_tokenizer.use_regex False"),
        (BytePair, byte_pair, {"model__byte_fallback": True}, "has model.byte_fallback True"),
        (BytePair, byte_pair, {"model__ignore_merges": True}, "has model.ignore_merges True"),
        (SentencePiece, word_piece, {}, "'WordPiece'; .* takes only 'Unigram' or 'BPE'"),
        (SentencePiece, unigram, {"normalizer": {"type": "NFKD"}}, "normalizer .*NFKD"),
        (SentencePiece, unigram, {"pre_tokenizer": {"type": "Digits"}}, "pre_tokenizer .*Digits"),
    ],
)
def test_what_the_tokenizer_does_not_do_is_refused(stored, cls, make, changes, message):
    with pytest.raises(PresetError, match=message):
        cls.from_hugging_face_file(stored(make(), **changes))


def test_a_file_that_is_no_json_is_named(tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_text("{", encoding="utf-8")
    with pytest.raises(PresetError, match=r"tokenizer.json' is not a JSON file: Expecting"):
        WordPiece.from_hugging_face_file(path)


def test_the_map_of_characters_is_stored_as_base64(stored, default_charsmap):
    path = stored(unigram(normalizers.Precompiled(default_charsmap)))
    content = json.loads(path.read_text(encoding="utf-8"))
    charsmap = content["normalizer"]["precompiled_charsmap"]
    assert base64.b64decode(charsmap) == default_charsmap
