"""Tags, spans, words and windows: plain Python, without a model."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clozework import models
from clozework.errors import ConfigError, InputError
from clozework.tasks.entities import AGGREGATIONS, entities_in
from clozework.tasks.tags import TagScheme, WordTag, join_words, span_tags, word_starts, word_tags
from clozework.tasks.windows import joined_windows, windows_over
from tests.contract.families import TASKS, tiny_preprocessor
from tests.nasty_texts import nasty_texts

IOB2 = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
BILOU = [*IOB2, "L-PER", "U-PER", "L-LOC", "U-LOC"]
TOKENIZERS = {
    name: tiny_preprocessor(TASKS[name]).tokenizer
    for name in ("BertTokenClassifier", "RobertaTokenClassifier", "XLMRobertaTokenClassifier")
}


def entities(tags, names=IOB2, **options):
    """Returns the entities of a text of one-letter words with the given tags."""
    text = " ".join("a" * len(tags))
    offsets = [(2 * i, 2 * i + 1) for i in range(len(tags))]
    probabilities = np.eye(len(names))[[names.index(tag) for tag in tags]] * 0.75
    options = {"starts": [True] * len(tags), "aggregation": "first", **options}
    found = entities_in(text, offsets, probabilities, names=names, **options)
    assert all(text[e.start : e.end] == e.text for e in found)
    return [(e.label, e.start // 2, (e.end + 1) // 2) for e in found]


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("B-PER I-PER O", [("PER", 0, 2)]),
        ("B-PER B-PER I-PER", [("PER", 0, 1), ("PER", 1, 3)]),
        ("I-PER I-PER", [("PER", 0, 2)]),
        ("B-PER I-LOC", [("PER", 0, 1), ("LOC", 1, 2)]),
        ("B-PER O I-PER", [("PER", 0, 1), ("PER", 2, 3)]),
        ("B-PER I-PER L-PER U-PER", [("PER", 0, 3), ("PER", 3, 4)]),
        ("B-PER L-PER I-PER", [("PER", 0, 2), ("PER", 2, 3)]),
        ("O", []),
    ],
)
def test_tags_are_joined_whatever_the_scheme(tags, expected):
    assert entities(tags.split(), BILOU) == expected


def test_plain_labels_are_joined_where_neighbours_are_equal():
    names = ["O", "PER", "B-side", "E-mail"]
    tags = ["PER", "PER", "O", "E-mail", "E-mail"]
    assert entities(tags, names) == [("PER", 0, 2), ("E-mail", 3, 5)]
    assert entities(tags, names, aggregation="words")[:2] == [("PER", 0, 1), ("PER", 1, 2)]


def test_a_word_has_the_tag_of_its_first_token():
    tags = ["B-PER", "B-LOC", "O", "B-LOC"]
    starts = [True, False, True, False]
    assert entities(tags, starts=starts) == [("PER", 0, 2)]
    assert entities(tags, starts=starts, aggregation="simple") == [
        ("PER", 0, 1),
        ("LOC", 1, 2),
        ("LOC", 3, 4),
    ]


def test_the_score_is_the_mean_of_the_parts():
    probabilities = np.array([[0.1, 0.9], [0.4, 0.6]])
    (found,) = entities_in(
        "a b",
        [(0, 1), (2, 3)],
        probabilities,
        names=["O", "X"],
        starts=[True] * 2,
        aggregation="first",
    )
    assert found.score == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (IOB2, "B-PER I-PER I-PER"),
        (BILOU, "B-PER I-PER L-PER"),
        (["O", "PER"], "PER PER PER"),
        (["O", "I-PER"], "I-PER I-PER I-PER"),
    ],
)
def test_a_span_is_written_in_the_scheme_of_the_names(names, expected):
    assert TagScheme(names).tags("PER", 3) == expected.split()


def test_a_span_of_one_word_has_a_tag_of_its_own_in_bilou():
    assert TagScheme(BILOU).tags("PER", 1) == ["U-PER"]
    assert TagScheme(IOB2).tags("PER", 1) == ["B-PER"]


def test_words_are_runs_of_letters_and_single_characters_where_there_are_no_spaces():
    text = "u.S. naïve नमस्ते 東京 3rd"
    offsets = [(i, i + 1) for i in range(len(text)) if text[i] != " "]
    starts = [
        i for (i, _), is_start in zip(offsets, word_starts(text, offsets), strict=True) if is_start
    ]
    assert [text[i] for i in starts] == ["u", ".", "S", ".", "n", "न", "東", "京", "3"]


def test_a_token_that_covers_nothing_begins_no_word():
    assert word_starts("ab", [(0, 0), (0, 2), (0, 2)]) == [False, True, False]


def test_spans_may_begin_within_a_word_and_cover_punctuation():
    scheme = TagScheme(["O", "B-LOC", "I-LOC"])
    offsets = [(0, 1), (1, 3), (3, 4), (4, 8)]
    tags = list(span_tags("xAB.city", offsets, [(1, 8, "LOC")], scheme))
    assert tags == [(0, "O"), (1, "B-LOC"), (2, "I-LOC"), (3, "I-LOC")]


@pytest.mark.parametrize(
    ("spans", "message"),
    [
        ([(0, 9, "X")], r"Span \(0, 9, 'X'\) is none of a text of 4 characters"),
        ([(2, 2, "X")], "is none of a text"),
        ([(0, 2, "O")], "what is in no span is 'O'"),
        ([(0, 2, 5)], "is none of a text"),
        ([(0, 2, "X"), (1, 3, "X")], r"Span \(1, 3, 'X'\) overlaps another one"),
        ([(3, 4, "X")], "covers no token: there is ' '"),
        (["B-X"], r"must be spans, .* give the text as a list of words. Received: 'B-X'"),
        ([(0.5, 2, "X")], "must be spans"),
    ],
)
def test_spans_that_cannot_be_are_refused(spans, message):
    with pytest.raises(InputError, match=message):
        list(span_tags("ab  ", [(0, 1), (1, 2)], spans, TagScheme(["O"])))


def test_words_without_a_token_have_no_tag():
    words = [WordTag(0, 1, "A"), WordTag(2, 3, "B"), WordTag(4, 6, "C")]
    assert list(word_tags([(0, 1), (4, 4), (4, 5), (5, 6)], words)) == [(0, "A"), (2, "C")]


def test_lists_of_words_become_texts():
    texts, labels = join_words([["a", "bc"], []], np.array([[1, 2], []], dtype=object))
    assert texts == ["a bc", ""]
    assert labels == [[WordTag(0, 1, 1), WordTag(2, 4, 2)], []]
    assert join_words(["a bc"], [[(0, 1, "X")]]) == (["a bc"], [[(0, 1, "X")]])


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ([["a", "b"]], [["X"]], "Text 0 has 2 words, but its tags are"),
        ([["a", "b"]], ["XY"], "Text 0 has 2 words, but its tags are 'XY'"),
        ([["a"], ["b"]], [["X"]], "x holds 2 lists of words, but y has 1 entries"),
        ([["a"], "b"], [["X"], ["X"]], r"x\[1\] is 'b' .*, while x\[0\] is a list of words"),
        ([["a", 5]], [["X", "X"]], r"x\[0\]\[1\] is 5 .*, but each word must be a string"),
    ],
)
def test_words_and_tags_that_do_not_fit_are_refused(x, y, message):
    with pytest.raises(InputError, match=message):
        join_words(x, y)


@given(
    lengths=st.lists(st.integers(0, 40), max_size=4),
    room=st.integers(1, 12),
    overlap=st.integers(0, 11),
)
def test_windows_hold_every_token_and_give_each_once(lengths, room, overlap):
    if overlap >= room:
        with pytest.raises(ConfigError, match=f"Windows of {room} tokens cannot overlap by"):
            windows_over(lengths, room, overlap)
        return
    windows = windows_over(lengths, room, overlap)
    assert all(0 < w.stop - w.start <= room for w in windows)
    outputs = [np.arange(w.start, w.stop)[:, None] + 100.0 * w.text for w in windows]
    for text, values in enumerate(joined_windows(windows, outputs, lengths)):
        assert values.ravel().tolist() == [100 * text + i for i in range(lengths[text])]


def test_a_token_counts_where_it_is_farther_from_the_edge():
    windows = windows_over([10], room=6, overlap=2)
    (values,) = joined_windows(windows, [np.zeros((6, 1)), np.ones((6, 1))], [10])
    assert values.ravel().tolist() == [0] * 5 + [1] * 5


@given(text=st.text(max_size=40), seed=st.integers(0, 2**16))
@settings(max_examples=50, deadline=None)
def test_an_entity_is_where_it_says_in_any_text(text, seed):
    assert_entities_are_where_they_say(text, np.random.default_rng(seed))


def test_an_entity_is_where_it_says_in_nasty_texts():
    for i, text in enumerate(nasty_texts(300)):
        assert_entities_are_where_they_say(text, np.random.default_rng(i))


def assert_entities_are_where_they_say(text, random):
    for tokenizer in TOKENIZERS.values():
        offsets = tokenizer.encode([text])[0].offsets
        probabilities = random.dirichlet(np.ones(len(IOB2)), len(offsets))
        options = {"names": IOB2, "starts": word_starts(text, offsets)}
        for aggregation in AGGREGATIONS:
            found = entities_in(text, offsets, probabilities, aggregation=aggregation, **options)
            assert all(text[e.start : e.end] == e.text != "" for e in found)
            places = [place for e in found for place in (e.start, e.end)]
            if aggregation != "simple":
                assert places == sorted(places)


def test_every_tokenizer_kind_is_there():
    assert {type(t).__bases__[0].__name__ for t in TOKENIZERS.values()} == {
        "WordPieceTokenizer",
        "BytePairTokenizer",
        "SentencePieceTokenizer",
    }
    assert models.TokenClassifier.kind == "TokenClassifier"
