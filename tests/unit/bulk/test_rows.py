"""Rows of files of every kind, and what is said of files that cannot be read."""

import json

import pytest

from clozework.bulk import open_rows, text_column
from clozework.errors import InputError

ROWS = [{"text": "A fine film.", "stars": "5"}, {"text": 'A "bore",\nand long', "stars": "1"}]


def values(path):
    return [dict(row.values) for row in open_rows(path).rows()]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", 'text,stars\nA fine film.,5\n"A ""bore"",\nand long",1\n'),
        ("a.csv", '\ufefftext;stars\r\nA fine film.;5\r\n\r\n"A ""bore"",\nand long";1\r\n'),
        ("a.tsv", 'text\tstars\nA fine film.\t5\n"A ""bore"",\nand long"\t1'),
        ("a.jsonl", "\n\n".join(map(json.dumps, ROWS))),
    ],
)
def test_rows_are_read(tmp_path, name, content):
    (tmp_path / name).write_bytes(content.encode())
    file = open_rows(tmp_path / name)
    assert file.columns == ("text", "stars")
    assert values(tmp_path / name) == ROWS
    assert [row.number for row in file.rows()] == [1, 2]


@pytest.mark.parametrize("kind", ["parquet", "arrow", "stream"])
def test_tables_of_arrow_are_read(tmp_path, kind):
    pa = pytest.importorskip("pyarrow")
    table = pa.Table.from_pylist(ROWS)
    path = tmp_path / ("a.parquet" if kind == "parquet" else "a.arrow")
    if kind == "parquet":
        pytest.importorskip("pyarrow.parquet").write_table(table, path)
    else:
        new = pa.ipc.new_stream if kind == "stream" else pa.ipc.new_file
        with new(str(path), table.schema) as writer:
            writer.write_table(table)
    file = open_rows(path)
    assert (file.columns, file.num_rows) == (("text", "stars"), 2)
    assert values(path) == ROWS
    rows = file.rows()
    next(rows)
    assert file.share_read() == 0.5


def test_lines_are_texts(tmp_path):
    (tmp_path / "a.txt").write_text("one\n\nthree", encoding="utf-8")
    assert values(tmp_path / "a.txt") == [{"text": "one"}, {"text": ""}, {"text": "three"}]
    (tmp_path / "a.jsonl").write_text('"one"\n', encoding="utf-8")
    assert values(tmp_path / "a.jsonl") == [{"text": "one"}]


@pytest.mark.parametrize(
    ("name", "content", "problem", "seen"),
    [
        ("a.csv", b"text,n\na,1,2\n", "it has 3 fields, but the header has 2", {"fields"}),
        ("a.csv", b"text,n\ncaf\xe9,1\n", "it is not in UTF-8", {"text", "n"}),
        ("a.txt", b"caf\xe9\n", "it is not in UTF-8", {"text"}),
        ("a.jsonl", b'{"text": \n', "it is no JSON", {"line"}),
        ("a.jsonl", b"[1]\n", "it is no object, and no text", {"line"}),
        ("a.jsonl", b'{"text": "\\ud800"}\n', "it is not in UTF-8", {"text"}),
    ],
)
def test_a_row_that_cannot_be_used_says_why(tmp_path, name, content, problem, seen):
    (tmp_path / name).write_bytes(content)
    (row,) = open_rows(tmp_path / name).rows()
    assert row.problem.startswith(problem)
    assert set(row.values) == seen
    json.dumps(dict(row.values), ensure_ascii=False).encode("utf-8")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "'a.csv' has no header"),
        ("a.csv", b"text,n\n", "'a.csv' has no rows"),
        ("a.csv", b"text,text\na,b\n", "names a column twice: 'text'"),
        ("a.csv", b'text,n\n"never closed,1\n', "from row 1 on"),
        ("a.jsonl", b"\n\n", "'a.jsonl' has no rows"),
        ("a.parquet", b"text", "'a.parquet' is damaged, or of another kind"),
        ("a.arrow", b"text", "'a.arrow' is damaged, or of another kind"),
        (
            "a.xlsx",
            b"text",
            "is of no kind that can be read. Its name has to end with one of: .csv",
        ),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        list(open_rows(tmp_path / name).rows())


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"There is no file '.*a\.csv'"):
        open_rows(tmp_path / "a.csv")


def test_the_column_of_texts_is_found_or_asked_for(tmp_path):
    (tmp_path / "a.csv").write_text("id,text\n1,a\n", encoding="utf-8")
    (tmp_path / "b.csv").write_text("review\na\n", encoding="utf-8")
    (tmp_path / "c.csv").write_text("id,review\n1,a\n", encoding="utf-8")
    one, only, several = (open_rows(tmp_path / f"{name}.csv") for name in "abc")
    assert text_column(one, None) == "text"
    assert text_column(only, None) == "review"
    assert text_column(several, "review") == "review"
    with pytest.raises(InputError, match="Say which one holds the texts: 'id', 'review'"):
        text_column(several, None)
    with pytest.raises(InputError, match="has no column 'texts'. It has: 'id', 'text'"):
        text_column(one, "texts")
