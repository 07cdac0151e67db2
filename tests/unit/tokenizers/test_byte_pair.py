"""What is peculiar to byte-pair encoding."""

import gc
import json

import pytest

from clozework.errors import ConfigError, InputError, PresetError
from clozework.tokenizers import BytePairTokenizer
from tests.unit.tokenizers.families import BYTE_PAIRS, MERGES, BytePair


def test_rules_that_name_unknown_tokens_apply_as_in_the_original_code():
    # The custom vocabulary in KerasHub's documentation.
    vocabulary = {"<s>": 0, "<pad>": 1, "</s>": 2, "<mask>": 3, "a": 4, "Ġquick": 5, "Ġfox": 6}
    merges = ["Ġ q", "u i", "c k", "ui ck", "Ġq uick", "Ġ f", "o x", "Ġf ox"]
    tokenizer = BytePair(vocabulary, merges)
    assert tokenizer(["a quick fox", "a fox quick"]) == [[4, 5, 6], [4, 6, 5]]
    # What is left of a word has no ids.
    assert tokenizer("a qui fox").tolist() == [4, 6]
    assert tokenizer.encode(["a qui fox"])[0].offsets == [(0, 1), (6, 9)]
    assert tokenizer.vocabulary_size() == 7


def test_rules_that_lead_to_no_token_are_left_out():
    vocabulary = {"a": 0, "b": 1, "c": 2, "bc": 3}
    assert BytePairTokenizer(vocabulary, ["a b", "b c"])("abc").tolist() == [0, 3]


def test_the_mask_takes_the_space_before_it():
    tokenizer = BytePair(BYTE_PAIRS, MERGES)
    encoding = tokenizer.encode(["ab  <mask> fox<mask>"], special_tokens_in_strings=True)[0]
    assert encoding.ids == [6, 3, 13, 3]
    assert encoding.offsets == [(0, 2), (4, 10), (11, 14), (14, 20)]


def test_the_unknown_token_is_recognised_with_the_special_tokens():
    tokenizer = BytePair(BYTE_PAIRS, MERGES)
    assert tokenizer.encode_ids(["ab<unk>"], special_tokens_in_strings=True) == [[6, 14]]


def test_unsplittable_tokens_are_never_split():
    tokenizer = BytePairTokenizer(BYTE_PAIRS, MERGES, unsplittable_tokens=["<mask>"])
    assert tokenizer("ab<mask>").tolist() == [6, 3]
    assert tokenizer.get_config()["unsplittable_tokens"] == ["<mask>"]


def test_kerashubs_stored_default_counts_as_the_default():
    stored = ["</s>", "<pad>", "<s>", "<mask>"]
    tokenizer = BytePair(BYTE_PAIRS, MERGES, unsplittable_tokens=stored)
    assert tokenizer.encode_ids(["<mask>"]) != [[3]]
    assert tokenizer.get_config()["unsplittable_tokens"] == stored
    assert BytePair().get_config()["unsplittable_tokens"] == ["<s>", "<pad>", "</s>", "<mask>"]


def test_a_prefix_space_can_be_added():
    tokenizer = BytePairTokenizer(BYTE_PAIRS, MERGES, add_prefix_space=True)
    assert tokenizer(["fox", " fox"]) == [[13], [13]]
    assert tokenizer.detokenize([13]) == " fox"


def test_offsets_leave_out_the_space_and_cover_whole_characters():
    vocabulary = {"Ġ": 0, "â": 1, "Ĥ": 2, "¬": 3}
    encoding = BytePairTokenizer(vocabulary, []).encode(["x €"])[0]
    assert encoding.ids == [0, 1, 2, 3]
    assert encoding.offsets[1:] == [(2, 3)] * 3


def test_config_keys_are_kerashubs():
    config = BytePairTokenizer(BYTE_PAIRS, MERGES).get_config()
    assert list(config)[4:] == ["sequence_length", "add_prefix_space", "unsplittable_tokens"]


def test_vocabulary_and_rules_may_be_files(tmp_path):
    (tmp_path / "vocab.json").write_text(json.dumps(BYTE_PAIRS), encoding="utf-8")
    rules = "#version: 0.2\n" + "\n".join(MERGES) + "\n"
    (tmp_path / "merges.txt").write_text(rules, encoding="utf-8")
    tokenizer = BytePairTokenizer(str(tmp_path / "vocab.json"), tmp_path / "merges.txt")
    assert tokenizer.merges == MERGES
    assert tokenizer("ab fox").tolist() == [6, 13]


def test_rules_may_be_pairs():
    tokenizer = BytePairTokenizer(BYTE_PAIRS, [("a", "b")])
    assert tokenizer("ab").tolist() == [6]
    assert tokenizer.merges == ["a b"]


def test_a_vocabulary_is_read_without_a_search_for_garbage():
    searches = []

    def rules():
        searches.append(gc.isenabled())
        yield "a b"

    BytePairTokenizer(BYTE_PAIRS, rules())
    assert (searches, gc.isenabled()) == ([False], True)


def test_ids_may_be_of_any_type_of_integers():
    class Id(int):
        pass

    assert BytePairTokenizer({"a": Id(3)}, [])("a").tolist() == [3]


def test_ids_may_have_gaps():
    tokenizer = BytePairTokenizer({"a": 3, "b": 9}, [])
    assert tokenizer("ab").tolist() == [3, 9]
    assert tokenizer.get_vocabulary() == ["a", "b"]
    with pytest.raises(InputError, match="Id 4 at position 0 of sequence 0 is not in the vocab"):
        tokenizer.detokenize([4])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((BYTE_PAIRS, None), "Got vocabulary without merges; pass both or neither."),
        ((None, MERGES), "Got merges without vocabulary; pass both or neither."),
        ((["a"], []), "vocabulary must be a dict token -> id or the path of a JSON file"),
        (({"a": "0"}, []), r"A vocabulary maps str to int of at least 0, got \('a', '0'\)"),
        (({"a": 0, "b": 0}, []), "give each token an id of its own; some ids occur twice"),
        (({"a": 0}, 5), "merges must be a list of rules like 'a b' or the path"),
        (({"a": -1}, []), r"A vocabulary maps str to int of at least 0, got \('a', -1\)"),
        (({"a": 0}, ["ab"]), "A merge rule is two tokens with one space between, got 'ab'"),
        (({"a": 0}, [("a", "b c")]), "A merge rule is two tokens with one .*, got 'a b c'"),
        (({"a": 0}, [], None, False, ["[X]"]), "lacks the unsplittable tokens '\\[X\\]'. Add them"),
    ],
)
def test_what_cannot_be_is_refused(arguments, message):
    with pytest.raises(ConfigError, match=message):
        BytePairTokenizer(*arguments)


def test_a_vocabulary_file_that_is_no_json_is_named(tmp_path):
    path = tmp_path / "vocab.json"
    path.write_text("{", encoding="utf-8")
    with pytest.raises(PresetError, match=r"vocab.json' is not a JSON file: Expecting"):
        BytePairTokenizer(path, [])


def test_a_token_that_is_not_there_is_named():
    with pytest.raises(InputError, match=r"Token ' a' is not in the vocabulary. \(A space is writ"):
        BytePairTokenizer(BYTE_PAIRS, MERGES).token_to_id(" a")
