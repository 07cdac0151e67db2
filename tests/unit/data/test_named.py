"""Texts with names, in every form that data comes in."""

import keras
import pandas as pd
import pytest

from clozework.data import make_dataset, named_texts
from clozework.errors import InputError

NAMES = ("source", "target")
COLUMNS = {"target": ["c", "d"], "source": ["a", "b"], "id": [7, 8]}
ROWS = [{"source": "a", "target": "c"}, {"source": "b", "target": "d"}]
EXPECTED = [("a", "c"), ("b", "d")]


class Rows(keras.utils.PyDataset):
    """Batches of one kind or another."""

    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    @property
    def num_batches(self):
        return len(self.batches)

    def __getitem__(self, index):
        return self.batches[index]


class Again:
    """A stream that can be read again and again."""

    def __iter__(self):
        return iter(ROWS)


FORMS = {
    "dict": lambda: COLUMNS,
    "table": lambda: pd.DataFrame(COLUMNS),
    "rows": lambda: ROWS,
    "generator of rows": lambda: (row for row in ROWS),
    "generator of batches": lambda: iter([COLUMNS]),
    "generator with labels": lambda: iter([(COLUMNS, [0, 1])]),
    "stream": Again,
    "PyDataset": lambda: Rows([COLUMNS]),
    "pairs": lambda: EXPECTED,
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_pairs_in_the_order_of_the_names(form):
    named = named_texts(FORMS[form](), NAMES)
    batches = make_dataset(named, preprocess=None, is_text=True)
    batch = next(iter(batches))
    assert batch[0] == EXPECTED
    assert len(batch) == (2 if form == "generator with labels" else 1)


def test_a_pydataset_is_told_of_its_epochs():
    told = []
    rows = Rows([COLUMNS])
    rows.on_epoch_begin = lambda: told.append("begin")
    rows.on_epoch_end = lambda: told.append("end")
    named = named_texts(rows, NAMES)
    named.on_epoch_begin()
    named.on_epoch_end()
    assert told == ["begin", "end"]
    assert named.num_batches == 1


def test_one_example_stays_one():
    assert named_texts({"source": "a", "target": "b"}, NAMES) == ("a", "b")


def test_missing_names_are_listed():
    message = r"'target' is missing among 'source', 'tagret'\. Expected a dict of 'source' and"
    with pytest.raises(InputError, match=message):
        named_texts({"source": ["a"], "tagret": ["b"]}, NAMES)
    with pytest.raises(InputError, match="'source' and 'target' is missing among no names"):
        named_texts({}, NAMES)


def test_a_string_beside_a_list_is_refused():
    with pytest.raises(InputError, match=r"A string stands beside something else, 'source': 'a'"):
        named_texts({"source": "a", "target": ["b"]}, NAMES)
