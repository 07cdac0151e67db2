"""A verb on every row: in order, none lost or doubled, the same bytes after a kill."""

import csv
import json
from pathlib import Path

import pytest

from clozework.bulk import jobs, results, run_job
from clozework.errors import ConfigError, InputError


class Killed(BaseException):
    """What stands for the end of the process."""


def lengths(texts):
    return [len(text) for text in texts]


def as_fields(length):
    return {"length": length}


@pytest.fixture(autouse=True)
def few_rows_at_once(monkeypatch):
    monkeypatch.setattr(jobs, "_ROWS_AT_ONCE", 4)


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "texts.csv"
    rows = [f"{i},text {'x' * i}" for i in range(23)]
    path.write_text("\n".join(["id,text", *rows]) + "\n", encoding="utf-8")
    return path


def dying(after):
    """Returns a verb that kills the process at a call."""
    calls = []

    def verb(texts):
        calls.append(texts)
        if len(calls) == after:
            raise Killed
        return lengths(texts)

    return verb


@pytest.mark.parametrize("kind", ["jsonl", "csv", "tsv", "parquet"])
def test_each_row_gets_its_result_in_order(source, tmp_path, kind):
    target = tmp_path / f"out.{kind}"
    summary = run_job(lengths, source, target, as_fields=as_fields)
    assert (summary.num_written, summary.num_rejected, summary.rejected) == (23, 0, None)
    if kind == "jsonl":
        rows = [json.loads(line) for line in target.read_text("utf-8").splitlines()]
    elif kind == "parquet":
        rows = pytest.importorskip("pyarrow.parquet").read_table(target).to_pylist()
    else:
        with target.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream, delimiter="\t" if kind == "tsv" else ","))
    assert [row["id"] for row in rows] == [str(i) for i in range(23)]
    assert [int(row["length"]) for row in rows] == [5 + i for i in range(23)]
    assert {path.name for path in tmp_path.iterdir()} == {source.name, target.name}


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
@pytest.mark.parametrize("after", [1, 2, 6])
def test_a_job_that_was_killed_gives_the_same_bytes(source, tmp_path, kind, after):
    whole, target = tmp_path / f"whole.{kind}", tmp_path / f"out.{kind}"
    run_job(lengths, source, whole, as_fields=as_fields)
    with pytest.raises(Killed):
        run_job(dying(after), source, target, as_fields=as_fields)
    assert not target.exists()
    # What was on its way when the process ended.
    with (tmp_path / f"out.{kind}.partial").open("ab") as stream:
        stream.write(b'{"id": "99", "te')
    run_job(lengths, source, target, as_fields=as_fields, is_resumed=True)
    assert target.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("seconds_between", [0.0, 1e9])
def test_what_was_not_kept_yet_is_done_again(source, tmp_path, monkeypatch, seconds_between):
    whole, target = tmp_path / "whole.csv", tmp_path / "out.csv"
    run_job(lengths, source, whole, as_fields=as_fields)
    monkeypatch.setattr(results, "_SECONDS_BETWEEN", seconds_between)

    def killed(self, *_error):
        # The process has ended: what it wrote is there, and nothing more is said of it.
        for stream in self._streams:
            stream.close()

    with monkeypatch.context() as patch:
        patch.setattr(results.Results, "__exit__", killed)
        with pytest.raises(Killed):
            run_job(dying(4), source, target, as_fields=as_fields)
    num_read = json.loads((tmp_path / "out.csv.journal").read_text("utf-8"))["whole"]["num_read"]
    assert num_read == (12 if seconds_between == 0 else 0)
    run_job(lengths, source, target, as_fields=as_fields, is_resumed=True)
    assert target.read_bytes() == whole.read_bytes()


def test_rows_that_cannot_be_used_stop_the_job_or_are_kept_apart(tmp_path):
    source, target = tmp_path / "texts.jsonl", tmp_path / "out.jsonl"
    lines = [{"text": "a"}, {"text": " "}, {"text": 3}, {"other": "b"}, {"text": "no"}]
    source.write_text("\n".join(map(json.dumps, lines)) + "\nnothing\n", encoding="utf-8")

    def problem_of(text):
        return "it is refused" if text == "no" else ""

    options = {"as_fields": as_fields, "problem_of": problem_of}
    with pytest.raises(
        InputError, match=r"Row 2 of 'texts\.jsonl' cannot be used: 'text' is empty"
    ):
        run_job(lengths, source, target, **options)
    summary = run_job(lengths, source, target, on_error="keep", is_resumed=True, **options)
    assert (summary.num_written, summary.num_rejected) == (1, 5)
    assert [json.loads(line) for line in target.read_text("utf-8").splitlines()] == [
        {"text": "a", "length": 1}
    ]
    assert summary.rejected is not None
    kept = [json.loads(line) for line in Path(summary.rejected).read_text("utf-8").splitlines()]
    assert [row["row"] for row in kept] == [2, 3, 4, 5, 6]
    assert [row["problem"].split(":")[0] for row in kept] == [
        "'text' is empty",
        "'text' is 3, which is no text",
        "it has no 'text'",
        "it is refused",
        "it is no JSON",
    ]


def test_results_do_not_take_the_place_of_columns(tmp_path):
    source, target = tmp_path / "a.csv", tmp_path / "out.jsonl"
    source.write_text("text,label\na,good\n", encoding="utf-8")
    run_job(lambda texts: ["bad"], source, target, as_fields=lambda label: {"label": label})
    assert json.loads(target.read_text("utf-8")) == {
        "text": "a",
        "label": "good",
        "predicted_label": "bad",
    }


def test_progress_comes_with_speed_and_time_left(source, tmp_path):
    seen = []
    target = tmp_path / "out.csv"
    run_job(lengths, source, target, as_fields=as_fields, on_progress=seen.append)
    assert [progress.num_rows for progress in seen] == [4, 8, 12, 16, 20, 23]
    assert seen[-1].share == 1
    assert seen[-1].seconds_left == 0
    assert all(progress.rows_per_second > 0 for progress in seen)


def test_nothing_is_written_over_and_another_job_is_not_gone_on_with(source, tmp_path):
    target = tmp_path / "out.csv"
    with pytest.raises(Killed):
        run_job(dying(3), source, target, as_fields=as_fields, about={"model": "one"})
    with pytest.raises(ConfigError, match="was left by an earlier run. Go on with it"):
        run_job(lengths, source, target, as_fields=as_fields)
    with pytest.raises(ConfigError, match="another one: model was 'one'"):
        run_job(lengths, source, target, as_fields=as_fields, about={}, is_resumed=True)
    run_job(lengths, source, target, as_fields=as_fields, about={"model": "one"}, is_resumed=True)
    before = target.read_bytes()
    with pytest.raises(ConfigError, match="is there already; the job is done"):
        run_job(lengths, source, target, as_fields=as_fields, is_resumed=True)
    with pytest.raises(ConfigError, match="is there already. Delete it, or name another file"):
        run_job(lengths, source, target, as_fields=as_fields)
    assert target.read_bytes() == before


def test_what_an_earlier_run_left_has_to_be_whole(source, tmp_path):
    target = tmp_path / "out.csv"
    with pytest.raises(Killed):
        run_job(dying(3), source, target, as_fields=as_fields)
    (tmp_path / "out.csv.partial").write_bytes(b"")
    with pytest.raises(InputError, match="has lost what an earlier run wrote"):
        run_job(lengths, source, target, as_fields=as_fields, is_resumed=True)
    (tmp_path / "out.csv.journal").write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match=r"'.*journal' is damaged"):
        run_job(lengths, source, target, as_fields=as_fields, is_resumed=True)


def test_options_that_cannot_be_are_refused(source, tmp_path):
    with pytest.raises(ConfigError, match="'stop' or 'keep', not 'skip'"):
        run_job(lengths, source, tmp_path / "a.csv", as_fields=as_fields, on_error="skip")
    with pytest.raises(ConfigError, match="of no kind that can be written"):
        run_job(lengths, source, tmp_path / "a.xlsx", as_fields=as_fields)


def test_several_columns_come_as_tuples(tmp_path):
    source, target = tmp_path / "pairs.csv", tmp_path / "out.csv"
    source.write_text("a,b\none,two\nthree,\nfive,six\n", encoding="utf-8")
    seen = []

    def joined(pairs):
        seen.extend(pairs)
        return [" ".join(pair) for pair in pairs]

    summary = run_job(
        joined,
        source,
        target,
        as_fields=lambda text: {"both": text},
        column=["a", "b"],
        on_error="keep",
    )
    assert seen == [("one", "two"), ("five", "six")]
    assert (summary.num_written, summary.num_rejected) == (2, 1)
    assert target.read_text("utf-8").splitlines()[1] == "one,two,one two"


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("moment", ["_write_parquet", "replace", "unlink 1", "unlink 2"])
def test_a_kill_at_the_very_end_loses_nothing(source, tmp_path, monkeypatch, kind, moment):
    whole, target = tmp_path / f"whole.{kind}", tmp_path / f"out.{kind}"
    run_job(lengths, source, whole, as_fields=as_fields)
    name, _, number = moment.partition(" ")
    calls = []

    def dies(*arguments, **options):
        calls.append(arguments)
        if len(calls) == int(number or 1):
            raise Killed
        return usual(*arguments, **options)

    place = results if name.startswith("_") else Path
    usual = getattr(place, name)
    if name == "replace":
        # The journal is replaced as well.
        usual = Path.replace

        def dies(path, other):
            if Path(other) == target:
                raise Killed
            return usual(path, other)

    with monkeypatch.context() as patch:
        patch.setattr(place, name, dies)
        if kind == "parquet" or name != "_write_parquet":
            with pytest.raises(Killed):
                run_job(lengths, source, target, as_fields=as_fields)
        else:
            run_job(lengths, source, target, as_fields=as_fields)
    if target.exists():
        with pytest.raises(ConfigError, match="is there already; the job is done"):
            run_job(lengths, source, target, as_fields=as_fields, is_resumed=True)
    else:
        run_job(lengths, source, target, as_fields=as_fields, is_resumed=True)
    assert target.read_bytes() == whole.read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {source.name, whole.name, target.name}


def test_an_interrupt_within_a_step_keeps_all_or_nothing_of_it(source, tmp_path, monkeypatch):
    whole, target = tmp_path / "whole.csv", tmp_path / "out.csv"
    run_job(lengths, source, whole, as_fields=as_fields)
    with monkeypatch.context() as patch:
        # When the results are encoded, and perhaps written, and the rest is not.
        patch.setattr(results, "_as_json_lines", lambda rows: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            run_job(lengths, source, target, as_fields=as_fields)
    run_job(lengths, source, target, as_fields=as_fields, is_resumed=True)
    assert target.read_bytes() == whole.read_bytes()
