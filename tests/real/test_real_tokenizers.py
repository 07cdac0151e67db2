"""Ids equal to upstream's on 20,200 nasty texts with the vocabularies that were published."""

import pytest
import sentencepiece
import tokenizers
import transformers

from clozework.models.bert import BertTokenizer
from clozework.models.deberta_v3 import DebertaV3Tokenizer
from clozework.models.gemma import GemmaTokenizer
from clozework.models.roberta import RobertaTokenizer
from clozework.models.xlm_roberta import XLMRobertaTokenizer
from tests.nasty_texts import nasty_texts
from tests.parity.test_tokenizers import assert_same_ids, upstream_ids
from tests.real.files import real_file

pytestmark = pytest.mark.real
# Others than those of the tests with small vocabularies.
TEXTS = nasty_texts(20_000, seed=2)
TEXTS += [" ".join(TEXTS[i : i + 100]) for i in range(0, len(TEXTS), 100)]


@pytest.mark.parametrize("special_tokens_in_strings", [False, True])
@pytest.mark.parametrize("lowercase", [False, True])
def test_bert(lowercase, special_tokens_in_strings):
    path = real_file("bert/vocab.txt")
    upstream = transformers.BertTokenizer.from_pretrained(path.parent, do_lower_case=lowercase)
    options = {"special_tokens_in_strings": special_tokens_in_strings}
    rows = BertTokenizer(path, lowercase=lowercase).encode_ids(TEXTS, **options)
    assert_same_ids(rows, upstream_ids(upstream, TEXTS, **options), TEXTS)


@pytest.mark.parametrize("special_tokens_in_strings", [False, True])
def test_roberta(special_tokens_in_strings):
    paths = real_file("roberta/vocab.json"), real_file("roberta/merges.txt")
    mask = tokenizers.AddedToken("<mask>", lstrip=True, special=True, normalized=False)
    upstream = transformers.RobertaTokenizer.from_pretrained(paths[0].parent, mask_token=mask)
    options = {"special_tokens_in_strings": special_tokens_in_strings}
    rows = RobertaTokenizer(*paths).encode_ids(TEXTS, **options)
    assert_same_ids(rows, upstream_ids(upstream, TEXTS, **options), TEXTS)


def test_xlm_roberta():
    path = real_file("xlm_roberta/sentencepiece.bpe.model")
    upstream = sentencepiece.SentencePieceProcessor(model_file=str(path))
    rows = [[i + 1 if i else 3 for i in row] for row in upstream.encode(TEXTS)]
    assert_same_ids(XLMRobertaTokenizer(path).encode_ids(TEXTS), rows, TEXTS)


def test_deberta_v3():
    path = real_file("deberta_v3/spm.model")
    upstream = sentencepiece.SentencePieceProcessor(model_file=str(path))
    assert_same_ids(DebertaV3Tokenizer(path).encode_ids(TEXTS), upstream.encode(TEXTS), TEXTS)


def test_gemma():
    path = real_file("gemma/tokenizer.model")
    upstream = sentencepiece.SentencePieceProcessor(model_file=str(path))
    assert_same_ids(GemmaTokenizer(path).encode_ids(TEXTS), upstream.encode(TEXTS), TEXTS)


@pytest.mark.parametrize(
    ("upstream_cls", "cls", "name"),
    [
        (transformers.BertTokenizer, BertTokenizer, "bert/vocab.txt"),
        (transformers.RobertaTokenizer, RobertaTokenizer, "roberta/vocab.json"),
        (
            transformers.XLMRobertaTokenizer,
            XLMRobertaTokenizer,
            "xlm_roberta/sentencepiece.bpe.model",
        ),
        (transformers.DebertaV2Tokenizer, DebertaV3Tokenizer, "deberta_v3/spm.model"),
        (transformers.GemmaTokenizer, GemmaTokenizer, "gemma/tokenizer.model"),
    ],
)
def test_tokenizer_json_gives_the_same_as_the_vocabulary_files(upstream_cls, cls, name, tmp_path):
    path = real_file(name)
    upstream_cls.from_pretrained(path.parent).save_pretrained(tmp_path)
    files = [path, path.parent / "merges.txt"] if name.startswith("roberta") else [path]
    options = {"lowercase": True} if cls is BertTokenizer else {}
    ours = cls.from_hugging_face_file(tmp_path / "tokenizer.json")
    rows = cls(*files, **options).encode_ids(TEXTS)
    assert_same_ids(ours.encode_ids(TEXTS), rows, TEXTS)


def test_tokenizer_json_of_a_published_checkpoint():
    path = real_file("all_minilm_l6_v2/tokenizer.json")
    ours = BertTokenizer.from_hugging_face_file(path)
    upstream = tokenizers.Tokenizer.from_file(str(path))
    upstream.no_padding()
    upstream.no_truncation()
    encodings = upstream.encode_batch(TEXTS, add_special_tokens=False)
    rows = ours.encode_ids(TEXTS, special_tokens_in_strings=True)
    assert_same_ids(rows, [encoding.ids for encoding in encodings], TEXTS)
