"""The batches of peers that know no texts."""

from benchmarks.workers.padded_batches import batches_of

LENGTHS = [3, 9, 1, 5]


def test_batches_of_a_size_come_in_the_order_of_the_texts():
    batches = batches_of(LENGTHS, {"is_sorted": False, "batch_size": 3})
    assert list(batches) == [[0, 1, 2], [3]]


def test_a_token_budget_counts_the_padding_of_like_lengths():
    batches = batches_of(LENGTHS, {"is_sorted": True, "budget": 10})
    assert list(batches) == [[1], [3, 0], [2]]


def test_a_text_beyond_the_budget_has_a_batch_of_its_own():
    assert list(batches_of([20, 2], {"is_sorted": True, "budget": 10})) == [[0], [1]]
