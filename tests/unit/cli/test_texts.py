"""Texts of commands: read when they are needed, printed when they are there."""

import io
import itertools
import json

import click
import pytest

from clozework.cli.printing import print_json, print_json_list
from clozework.cli.texts import given_texts, in_parts


def test_a_stream_without_end_is_answered_as_it_comes():
    read = []
    endless = (read.append(i) or str(i) for i in itertools.count())

    pairs = in_parts(lambda texts: [text * 2 for text in texts], endless, "Doubling")

    assert list(itertools.islice(pairs, 300)) == [(str(i), str(i) * 2) for i in range(300)]
    assert len(read) == 512


def test_lines_of_a_file_are_read_when_they_are_asked_for():
    class Noted(io.StringIO):
        num_lines = 0

        def __next__(self):
            self.num_lines += 1
            return super().__next__()

    file = Noted("a\n" * 100)
    texts = iter(given_texts(["first"], [file]))
    assert [next(texts), next(texts)] == ["first", "a"]
    assert file.num_lines == 1


def test_nothing_to_do_is_said_before_a_model_is_read():
    with pytest.raises(click.UsageError, match="Give a TEXT"):
        given_texts([], [io.StringIO("")])


@pytest.mark.parametrize("items", [[], [{"a": 1}], [{"a": "x\u2028y"}, {"b": [1, 2]}, "c"]])
def test_a_list_of_json_is_the_same_as_at_once(items, capsys):
    print_json_list(iter(items))
    piecewise = capsys.readouterr().out
    print_json(items)
    assert piecewise == capsys.readouterr().out
    assert json.loads(piecewise) == items
