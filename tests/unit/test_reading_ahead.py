import threading

import pytest

from clozework.reading_ahead import map_ahead, read_ahead


def test_items_come_in_their_order():
    assert list(read_ahead(range(100))) == list(range(100))


def test_an_error_comes_where_the_item_would_have_come():
    def items():
        yield 1
        raise ValueError("no second one")

    ahead = read_ahead(items())
    assert next(ahead) == 1
    with pytest.raises(ValueError, match="no second one"):
        next(ahead)


@pytest.mark.parametrize("num_threads", [1, 3])
def test_values_come_in_the_order_of_their_items(num_threads):
    assert list(map_ahead(str, range(20), num_threads=num_threads)) == list(map(str, range(20)))


def test_threads_make_values_at_the_same_time():
    both_are_there = threading.Barrier(2, timeout=30)
    assert (
        list(map_ahead(lambda i: both_are_there.wait() >= 0, range(4), num_threads=2)) == [True] * 4
    )


def test_no_more_values_than_threads_are_ahead():
    begun = []
    ahead = map_ahead(begun.append, range(20), num_threads=2)
    for num_used in range(1, 18):
        next(ahead)
        assert len(begun) <= num_used + 2


def test_an_error_comes_where_the_value_would_have_come():
    ahead = map_ahead(lambda i: 1 // i, [1, 0], num_threads=2)
    assert next(ahead) == 1
    with pytest.raises(ZeroDivisionError):
        next(ahead)
