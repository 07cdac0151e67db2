"""Batches of training in rows: all texts have a place, little room is lost, shapes are few."""

import numpy as np
import pytest

from clozework.data import plan_batch
from tests.unit.data.packing import assert_apart, computed, realistic_lengths


def test_a_batch_keeps_the_order_of_its_texts():
    lengths = realistic_lengths(32)
    batch = plan_batch(lengths, longest_row=512)
    assert batch.texts == tuple(range(32))
    assert batch.slots == tuple(range(32))
    assert batch.slots_shape == (32,)
    assert batch.lengths == tuple(lengths)
    assert_apart(batch)


def shapes_of_batches(batches, longest_text):
    """Plans batches, checks that their texts have places, and returns the distinct shapes."""
    shapes = set()
    for lengths in batches:
        batch = plan_batch(lengths, longest_text=longest_text, longest_row=longest_text)
        assert_apart(batch)
        assert batch.lengths == tuple(lengths)
        shapes.add((batch.num_rows, batch.row_length))
    return shapes


def test_batches_of_training_lose_little_room():
    lengths = realistic_lengths(32 * 200)
    assert computed(planned(lengths, 32)) <= 1.16 * sum(lengths)


@pytest.mark.parametrize("longest_text", [7, 128, 256, 300, 512])
def test_batches_of_any_texts_have_twelve_shapes_at_most(longest_text):
    generator = np.random.default_rng(0)
    for num_texts in (1, 2, 3, 7, 8, 31, 32, 64):
        # Alike, mixed, all short but one, and of every total.
        batches = [[n] * num_texts for n in range(1, longest_text + 1, max(longest_text // 16, 1))]
        batches += [[longest_text] + [1] * (num_texts - 1), [longest_text] * num_texts]
        batches += [
            np.clip(
                generator.lognormal(generator.uniform(0, 6), generator.uniform(0, 2), num_texts),
                1,
                longest_text,
            )
            .astype(int)
            .tolist()
            for _ in range(60)
        ]
        assert len(shapes_of_batches(batches, longest_text)) <= 12


@pytest.mark.parametrize("growth", [1.6, 2.0])
@pytest.mark.parametrize("has_one_length", [False, True])
def test_batches_may_have_fewer_shapes(has_one_length, growth):
    options = {"longest_text": 512, "longest_row": 512, "has_one_length": has_one_length}
    shapes = {
        (batch.num_rows, batch.row_length)
        for seed in range(300)
        for median in (8, 40, 200)
        for batch in [plan_batch(realistic_lengths(32, seed, median), growth=growth, **options)]
    }
    assert 2 <= len(shapes) <= 6


def test_shapes_of_batches_depend_on_neither_order_nor_other_batches():
    lengths = realistic_lengths(32)
    shapes = shapes_of_batches([lengths, lengths[::-1], sorted(lengths)], 512)
    assert len(shapes) == 1


def test_rows_of_all_batches_may_have_one_length():
    for lengths in ([3], [5, 9, 30], [400, 300, 2], [512] * 9, realistic_lengths(32)):
        batch = plan_batch(lengths, longest_text=512, longest_row=512, has_one_length=True)
        assert batch.row_length == 512
        assert_apart(batch)


def test_rows_of_long_texts_are_not_the_longest_that_a_model_can_read():
    batch = plan_batch([600, 30, 700, 8], longest_text=8192, longest_row=8192)
    assert (batch.num_rows, batch.row_length) == (2, 1024)


def planned(lengths, size, usual_lengths=(), **options):
    """Returns the batches of texts in their order."""
    return [
        plan_batch(
            lengths[start : start + size],
            longest_text=512,
            longest_row=512,
            usual_lengths=usual_lengths,
            **options,
        )
        for start in range(0, len(lengths), size)
    ]


@pytest.mark.parametrize(
    ("size", "median", "most"), [(8, 40, 1.25), (32, 15, 1.15), (16, 200, 1.2), (64, 25, 1.15)]
)
def test_batches_of_texts_that_are_known_lose_less_room(size, median, most):
    lengths = realistic_lengths(size * 100, median=median)
    known = computed(planned(lengths, size, tuple(lengths[::8])))
    assert known <= most * sum(lengths)
    assert known <= 0.95 * computed(planned(lengths, size))


@pytest.mark.parametrize("size", [1, 2, 3, 8, 31, 32, 100])
@pytest.mark.parametrize("median", [1, 40, 500])
@pytest.mark.parametrize("has_one_length", [False, True])
def test_batches_of_texts_that_are_known_have_twelve_shapes_at_most(size, median, has_one_length):
    usual = tuple(realistic_lengths(200, seed=1, median=median))
    shapes = set()
    # Whatever comes then: also texts that are unlike those that were known.
    for other in (1, 10, 40, 160, 512, 3000):
        lengths = realistic_lengths(size * 20, median=other)
        for batch in planned(lengths, size, usual, has_one_length=has_one_length):
            assert_apart(batch)
            shapes.add((batch.num_rows, batch.row_length))
    assert len(shapes) <= 12
    assert len({length for _, length in shapes}) == 1 or not has_one_length


@pytest.mark.parametrize("has_one_length", [False, True])
@pytest.mark.parametrize(("size", "median", "most"), [(8, 40, 1.2), (32, 40, 1.1), (3, 300, 1.25)])
def test_a_batch_of_any_shape_has_no_row_too_many(size, median, most, has_one_length):
    lengths = realistic_lengths(size * 50, median=median)
    options = {"has_one_length": has_one_length, "has_open_shapes": True}
    batches = planned(lengths, size, **options)
    for batch in batches:
        assert_apart(batch)
        assert set(batch.rows) == set(range(batch.num_rows))
        assert batch.row_length == 512 or not has_one_length
    assert computed(batches) <= most * sum(lengths) or has_one_length


def test_a_batch_of_all_texts_that_are_known_loses_next_to_no_room():
    lengths = realistic_lengths(32)
    [batch] = planned(lengths, 32, tuple(lengths))
    assert computed([batch]) <= 1.1 * sum(lengths)


def test_a_text_alone_that_is_known_has_a_short_row():
    [batch] = planned([40], 1, (40,))
    assert (batch.num_rows, batch.row_length) == (1, 64)
