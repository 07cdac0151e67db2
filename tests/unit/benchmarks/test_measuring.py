"""What is said about repeated measurements."""

import numpy as np
import pytest

from benchmarks import rounds
from benchmarks.comparisons import Comparison, Peer
from benchmarks.measuring import Figure, Measured, difference, figure_of, ratios


def test_a_figure_is_a_median_with_its_spread():
    assert figure_of([3.0, 1.0, 2.0, 9.0]) == Figure(2.5, 1.0, 9.0)


def test_ratios_are_taken_round_by_round():
    # The second round was slow for both.
    ours = Measured("ours", work=10, seconds=[1.0, 4.0, 1.0])
    peer = Measured("peer", work=20, seconds=[4.0, 16.0, 2.0])
    assert ratios(ours, peer) == Figure(2.0, 1.0, 2.0)


def test_rounds_of_two_are_compared_with_their_own():
    ours = Measured("ours", work=10, seconds=[1.0, 2.0, 4.0, 8.0])
    peer = Measured("peer", work=10, seconds=[12.0, 24.0], seconds_of_first=[4.0, 8.0])
    assert ratios(ours, peer) == Figure(3.0, 3.0, 3.0)


def test_peers_that_do_not_fit_together_are_measured_in_pairs(monkeypatch):
    rounds_of = iter([[1.0, 2.0], [4.0, 8.0]])

    def measured_together(comparison, repetitions, cache):
        own = Measured(comparison.peers[0].name, work=1, seconds=next(rounds_of))
        return [own, Measured(comparison.peers[1].name, work=1, seconds=[9.0, 9.0])]

    monkeypatch.setattr(rounds, "_measured_together", measured_together)
    peers = tuple(Peer(name, job=lambda: None, work=1) for name in ("ours", "one", "other"))
    comparison = Comparison("title", "texts", peers, "ours", "text", is_in_pairs=True)
    ours, one, other = rounds.measure(comparison, 2, cache=None)
    assert (ours.name, ours.seconds) == ("ours", [1.0, 2.0, 4.0, 8.0])
    assert (one.name, one.seconds_of_first) == ("one", [1.0, 2.0])
    assert (other.name, other.seconds_of_first) == ("other", [4.0, 8.0])


def test_floats_differ_by_their_largest_distance():
    reference = np.array([[0.0], [2.0], [7.0]])
    assert difference(np.array([[0.0], [2.5]]), reference) == "5.0e-01 of 1.0e+00"


def test_logits_are_compared_by_their_classes_too():
    reference = np.array([[0.0, 1.0], [1.0, 0.0]])
    assert difference(reference[:, ::-1], reference).endswith(", 0.0% same class")
    assert difference(reference, reference) == "0.0e+00 of 5.0e-01, 100.0% same class"


def test_tokens_and_texts_are_counted_where_they_are_equal():
    assert difference(np.array([1, 2, 3, 4]), np.array([1, 2, 3, 5])) == "75.00% equal"
    assert difference(np.array(["a", "b"]), np.array(["a", "c"])) == "50.00% equal"


def test_another_shape_is_said():
    assert difference(np.zeros((2, 3)), np.eye(2, 4)) == "shape (2, 3), not (2, 4)"


def test_outputs_that_do_not_depend_on_the_texts_are_no_reference():
    with pytest.raises(ValueError, match="gives the same 3 times"):
        difference(np.ones((3, 2)), np.ones((3, 2)))
