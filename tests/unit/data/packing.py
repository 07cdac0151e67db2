"""Texts to pack, and what any packing has to satisfy."""

import numpy as np


def realistic_lengths(count, seed=0, median=40):
    """Number of tokens of texts as they are: most short, a few long."""
    lengths = np.random.default_rng(seed).lognormal(np.log(median), 0.9, count)
    return np.clip(lengths, 3, 512).astype(int).tolist()


def computed(steps):
    return sum(step.num_rows * step.row_length for step in steps)


def assert_apart(step):
    """No two texts share a place, and none goes over the end of a row."""
    used = np.zeros((step.num_rows, step.row_length), int)
    for row, start, length in zip(step.rows, step.starts, step.lengths, strict=True):
        assert start + length <= step.row_length
        used[row, start : start + length] += 1
    assert used.max() == 1
    assert len(step.slots) == len(set(step.slots)) == len(step.texts)
    assert max(step.slots) < np.prod(step.slots_shape)
    if len(step.slots_shape) == 2:
        assert step.rows == tuple(slot // step.slots_shape[1] for slot in step.slots)
