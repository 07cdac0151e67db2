"""Texts in rows: none is lost, little room is, and shapes are few."""

import numpy as np
import pytest

from clozework.data import FIRST_TOKENS, plan_batch, plan_steps
from tests.unit.data.packing import assert_apart, computed, realistic_lengths


def test_each_text_lies_in_one_step_and_in_a_place_of_its_own():
    lengths = realistic_lengths(500)
    steps = plan_steps(lengths, tokens_per_step=1024, longest_row=512)
    for step in steps:
        assert_apart(step)
        assert step.lengths == tuple(lengths[text] for text in step.texts)
    assert sorted(text for step in steps for text in step.texts) == list(range(500))


def test_next_to_no_room_is_lost():
    lengths = realistic_lengths(1024)
    steps = plan_steps(lengths, tokens_per_step=1024, longest_row=512)
    assert computed(steps) <= 1.06 * sum(lengths)


def test_rows_of_large_steps_are_no_longer_than_usual_unless_a_text_is():
    lengths = realistic_lengths(4096)
    steps = plan_steps(lengths, tokens_per_step=16384, longest_row=512, longest_usual_row=256)
    assert {step.row_length for step in steps} == {256, 512}
    for step in steps:
        assert step.row_length == 256 or max(step.lengths) > 256
        assert step.num_rows * step.row_length <= 16384


def test_a_step_that_is_filled_has_the_shape_of_a_full_one():
    full, rest = plan_steps([64] * 20, tokens_per_step=1024)
    filled = rest.filled(1024)
    assert (filled.num_rows, filled.slots_shape) == (full.num_rows, full.slots_shape)
    arrays = {
        "token_ids": np.arange(1, 20 * 64 + 1).reshape(20, 64),
        "padding_mask": np.ones((20, 64), int),
    }
    for name, values in rest.pack(arrays).items():
        longer = filled.pack(arrays)[name]
        np.testing.assert_array_equal(longer[: rest.num_rows], values)
        if name != FIRST_TOKENS:
            assert not longer[rest.num_rows :].any()


def test_shapes_are_at_most_twelve():
    shapes = set()
    for seed in range(300):
        generator = np.random.default_rng(seed)
        lengths = generator.integers(1, generator.integers(2, 513), generator.integers(1, 60))
        steps = plan_steps(lengths.tolist(), tokens_per_step=1024, longest_row=512)
        shapes |= {(step.num_rows, step.row_length, step.slots_shape) for step in steps}
    assert len(shapes) <= 12


def test_steps_of_any_shape_have_no_row_too_many():
    lengths = realistic_lengths(90)
    steps = plan_steps(lengths, tokens_per_step=1024, longest_row=512, has_open_shapes=True)
    for step in steps:
        assert_apart(step)
        assert set(step.rows) == set(range(step.num_rows))
    assert sorted(text for step in steps for text in step.texts) == list(range(90))
    few = plan_steps(lengths, tokens_per_step=1024, longest_row=512)
    assert computed(steps) < computed(few)


def test_a_step_is_full_where_no_row_could_join_it():
    full, rest = plan_steps([64] * 20, tokens_per_step=1024)
    assert full.is_full(1024)
    assert not rest.is_full(1024)
    # Rows that do not fill a step, of which no more have room.
    steps = plan_steps([300] * 3, tokens_per_step=1024, longest_row=300)
    assert [step.is_full(1024) for step in steps] == [True]
    [longer] = plan_steps([2000], tokens_per_step=1024)
    assert longer.is_full(1024)
    # All texts in one short row.
    [short] = plan_steps([5, 6], tokens_per_step=1024)
    assert not short.is_full(1024)


def test_large_steps_have_fewer_and_longer_rows():
    lengths = realistic_lengths(4096)
    steps = plan_steps(lengths, tokens_per_step=16384, longest_row=512)
    assert {step.row_length for step in steps} == {512}
    assert {step.num_rows for step in steps} <= {32, 16, 8, 4}
    assert computed(steps) <= 1.06 * sum(lengths)


def test_a_text_alone_has_a_row_of_its_length():
    [step] = plan_steps([20], tokens_per_step=1024, longest_row=512)
    assert (step.num_rows, step.row_length) == (1, 32)


def test_very_short_texts_all_find_a_place():
    steps = plan_steps([1] * 300, tokens_per_step=64, longest_row=16)
    assert sum(len(step.texts) for step in steps) == 300
    for step in steps:
        assert_apart(step)


@pytest.mark.parametrize("longest_row", [7, 24, 512, None])
def test_rows_are_no_longer_than_the_model_can_read(longest_row):
    lengths = [7, 3, 1, 7, 2]
    for step in [
        *plan_steps(lengths, tokens_per_step=16, longest_row=longest_row),
        plan_batch(lengths, longest_row=longest_row),
    ]:
        assert step.row_length <= (longest_row or 256)
        assert_apart(step)


def test_packed_inputs_hold_the_tokens_of_each_text():
    arrays = {
        "token_ids": np.array([[5, 6, 0], [7, 0, 0], [8, 9, 4]]),
        "padding_mask": np.array([[1, 1, 0], [1, 0, 0], [1, 1, 1]]),
        "mask_positions": np.array([[1, 0], [0, 0], [2, 1]]),
    }
    batch = plan_batch([2, 1, 3])
    packed = batch.pack(arrays)
    flat_ids, numbers = packed["token_ids"].ravel(), packed["padding_mask"].ravel()
    for text, first in enumerate(packed[FIRST_TOKENS]):
        is_own = numbers == text + 2
        expected = arrays["token_ids"][text][arrays["padding_mask"][text] == 1]
        np.testing.assert_array_equal(flat_ids[is_own], expected)
        np.testing.assert_array_equal(
            packed["mask_positions"][text], first + arrays["mask_positions"][text]
        )


def test_slots_of_a_step_belong_to_rows():
    arrays = {
        "token_ids": np.arange(1, 121).reshape(3, 40),
        "padding_mask": np.ones((3, 40), int),
        "mask_positions": np.array([[3], [4], [5]]),
    }
    [step] = plan_steps([20, 40, 20], tokens_per_step=80, longest_row=40, shortest_text=10)
    packed = step.pack(arrays)
    assert (step.num_rows, step.row_length, step.slots_shape) == (2, 40, (2, 4))
    assert (step.texts, step.slots) == ((1, 0, 2), (0, 4, 5))
    # Slots without a text point at the first token of their row.
    np.testing.assert_array_equal(packed[FIRST_TOKENS], [[0, 0, 0, 0], [40, 60, 40, 40]])
    np.testing.assert_array_equal(packed["padding_mask"], [[2] * 40, [6] * 20 + [7] * 20])
    np.testing.assert_array_equal(packed["mask_positions"].ravel()[[0, 4, 5]], [4, 43, 65])


def test_long_rows_have_no_more_slots_than_usual_ones():
    steps = plan_steps([500, 300, 250, *[4] * 90], tokens_per_step=1024, longest_row=512)
    assert {step.row_length for step in steps} == {128, 256, 512}
    assert {step.slots_shape[1] for step in steps} == {32}


def test_values_of_tokens_come_back_as_they_went():
    values = np.arange(12).reshape(3, 4)
    batch = plan_batch([2, 4, 3])
    spread = batch.spread(values)
    for text, length in enumerate([2, 4, 3]):
        np.testing.assert_array_equal(batch.take(spread, text, axis=1), values[text, :length])
