"""Packing of tokens into rows; the examples are those of KerasHub's documentation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clozework.errors import ConfigError, InputError
from clozework.layers.packing import MultiSegmentPacker, StartEndPacker

PACKERS = (
    StartEndPacker(sequence_length=7, start_value=1, end_value=2),
    MultiSegmentPacker(sequence_length=8, start_value=101, end_value=102),
)


def test_one_sequence_with_start_and_end():
    packed = PACKERS[0]([5, 6, 7])
    assert packed.tolist() == [1, 5, 6, 7, 2, 0, 0]
    assert packed.dtype == np.int32


def test_a_batch_with_start_and_end():
    packer = StartEndPacker(sequence_length=6, start_value=1, end_value=2)
    packed = packer([[5, 6, 7], [8, 9, 10, 11, 12, 13, 14], []])
    assert packed.tolist() == [[1, 5, 6, 7, 2, 0], [1, 8, 9, 10, 11, 2], [1, 2, 0, 0, 0, 0]]


def test_tokens_with_several_start_values():
    packer = StartEndPacker(6, start_value=["</s>", "<s>"], end_value="</s>", pad_value="<pad>")
    assert packer([["this", "is", "fun"], ["awesome"]]) == [
        ["</s>", "<s>", "this", "is", "fun", "</s>"],
        ["</s>", "<s>", "awesome", "</s>", "<pad>", "<pad>"],
    ]
    left = StartEndPacker(3, padding_side="left")
    assert left(["a"]) == ["", "", "a"]


def test_padding_to_the_left_with_a_mask():
    packer = StartEndPacker(5, 1, 2, pad_value=9, padding_side="left", return_padding_mask=True)
    packed, mask = packer([[5], [5, 6, 7, 8]])
    assert packed.tolist() == [[9, 9, 1, 5, 2], [1, 5, 6, 7, 2]]
    assert mask.tolist() == [[False, False, True, True, True], [True] * 5]
    packed, mask = packer([5])
    assert packed.shape == mask.shape == (5,)


def test_options_of_a_call():
    packed = PACKERS[0]([5, 6], sequence_length=4, add_start_value=False)
    assert packed.tolist() == [5, 6, 2, 0]
    assert PACKERS[0]([5, 6], sequence_length=3, add_end_value=False).tolist() == [1, 5, 6]
    packer = MultiSegmentPacker(9, 1, 2, sep_value=3)
    ids, numbers = packer(([5], [6]), sequence_length=4, add_start_value=False, add_end_value=False)
    assert ids.tolist() == [5, 3, 6, 0]
    assert numbers.tolist() == [0, 0, 1, 0]


def test_two_segments():
    ids, numbers = PACKERS[1](([1, 2, 3, 4], [11, 12, 13, 14]))
    assert ids.tolist() == [101, 1, 2, 3, 102, 11, 12, 102]
    assert numbers.tolist() == [0, 0, 0, 0, 0, 1, 1, 1]


def test_a_separator_of_two_tokens():
    packer = MultiSegmentPacker(8, start_value=101, end_value=102, sep_value=[102, 102])
    ids, numbers = packer(([1, 2, 3, 4], [11, 12, 13, 14]))
    assert ids.tolist() == [101, 1, 2, 102, 102, 11, 12, 102]
    assert numbers.tolist() == [0, 0, 0, 0, 0, 1, 1, 1]


def test_the_first_segment_takes_all_it_can():
    packer = MultiSegmentPacker(8, 101, 102, truncate="waterfall")
    assert packer(([1, 2, 3, 4], [11, 12, 13, 14]))[0].tolist() == [101, 1, 2, 3, 4, 102, 11, 102]


def test_one_segment_needs_no_tuple():
    for inputs in ([[1, 2], [3]], ([[1, 2], [3]],), ([np.array([1, 2]), np.array([3])],)):
        ids, numbers = PACKERS[1](inputs)
        assert ids.tolist() == [[101, 1, 2, 102, 0, 0, 0, 0], [101, 3, 102, 0, 0, 0, 0, 0]]
        assert numbers.tolist() == [[0] * 8] * 2
    assert PACKERS[1](np.array([[1, 2], [3, 4]]))[0].shape == (2, 8)


def test_tokens_in_segments():
    packer = MultiSegmentPacker(6, "<s>", "</s>", pad_value="<pad>", padding_side="left")
    ids, numbers = packer((["a"], ["b"]))
    assert ids == ["<pad>", "<s>", "a", "</s>", "b", "</s>"]
    assert numbers.tolist() == [0, 0, 0, 0, 1, 1]


def test_an_empty_list_is_a_batch_and_an_empty_array_a_sequence():
    assert PACKERS[0]([]).shape == (0, 7)
    assert PACKERS[0](np.array([], "int32")).tolist() == [1, 2, 0, 0, 0, 0, 0]
    assert PACKERS[1](([], []))[0].shape == (0, 8)


@pytest.mark.parametrize("packer", PACKERS)
def test_configs_make_the_same_packer(packer):
    assert type(packer).from_config(packer.get_config()).get_config() == packer.get_config()


def test_config_keys_are_kerashubs():
    assert set(PACKERS[0].get_config()) == {
        *("name", "trainable", "dtype", "sequence_length", "start_value", "end_value"),
        *("pad_value", "return_padding_mask", "padding_side"),
    }
    assert set(PACKERS[1].get_config()) == {
        *("name", "trainable", "dtype", "sequence_length", "start_value", "end_value"),
        *("sep_value", "pad_value", "truncate", "padding_side"),
    }
    assert PACKERS[1].get_config()["sep_value"] is None


lengths = st.lists(st.integers(0, 12), min_size=1, max_size=4)


@given(lengths, st.integers(0, 30))
def test_round_robin_gives_a_token_to_each_in_turn(lengths, room):
    kept = [0] * len(lengths)
    while room and kept != lengths:
        for i, length in enumerate(lengths):
            if room and kept[i] < length:
                kept[i] += 1
                room -= 1
    specials = len(lengths) + 1
    packer = MultiSegmentPacker(sum(kept) + room + specials, 1, 2)
    ids, numbers = packer(tuple(np.full(length, 7) for length in lengths))
    assert np.bincount(numbers[ids == 7], minlength=len(lengths)).tolist() == kept


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: StartEndPacker(5, start_value=1.5), "start_value must be an id, a token or a lis"),
        (lambda: StartEndPacker(5, padding_side="top"), "padding_side must be one of left, right"),
        (lambda: MultiSegmentPacker(5, 1, 2, truncate="end"), "one of round_robin, waterfall, got"),
        (lambda: StartEndPacker(0)([1]), "sequence_length must be a whole number of at least 1"),
        (lambda: StartEndPacker("5")([1]), "must be a whole number of at least 1, got '5'"),
        (lambda: PACKERS[1](([1], [2]), 2), "sequence_length=2 has no room for the 3 start, separ"),
    ],
)
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ("text", "Expected one sequence of tokens or a batch of them, got str of rank 0. Tokenize"),
        (np.zeros((1, 1, 1)), "got ndarray of rank 3"),
        ([[1], [[2]]], r"Sequence 1 of the batch is \[\[2\]\], but it must be a flat list"),
        ([[1], 2], "Sequence 1 of the batch is 2, but it must be a flat list"),
        ((), "Got no segment to pack; pass a tuple of at least one"),
        (([[1], [2]], [[3]]), "same number of sequences, got 2 sequences, 1 sequences"),
        (([[1]], [3]), "same number of sequences, got 1 sequences, one unbatched sequence"),
    ],
)
def test_inputs_that_are_no_sequences_are_refused(inputs, message):
    with pytest.raises(InputError, match=message):
        PACKERS[1](inputs)
