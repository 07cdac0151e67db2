import pytest

from clozework.reading_ahead import read_ahead


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
