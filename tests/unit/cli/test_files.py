"""Verbs on files: `--input`, `--output` and what belongs to them."""

import json

import pytest

from clozework import models

TEXTS = ["the fox", "heaven and earth", "a quick brown fox"]


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "texts.csv"
    path.write_text("\n".join(["text", *TEXTS]) + "\n", encoding="utf-8")
    return path


def rounded(value):
    """Returns a structure with all its numbers to four places."""
    if isinstance(value, dict):
        return {name: rounded(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [rounded(inner) for inner in value]
    return pytest.approx(value, abs=1e-5) if isinstance(value, float) else value


def lines_of(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_a_table_of_texts_becomes_a_table_of_classes(clozework, saved, source, tmp_path):
    target = tmp_path / "out.csv"
    arguments = ("-m", saved / "classify", "--input", source, "--output", target)
    result = clozework("classify", *arguments)
    assert (result.code, result.out) == (0, "")
    assert result.err == f"3 rows were written to {target}.\n"
    header, *rows = target.read_text("utf-8").splitlines()
    assert header == "text,label,probability"
    expected = models.TextClassifier.from_preset(saved / "classify").classify(TEXTS)
    assert [row.split(",")[:2] for row in rows] == [
        [text, labels[0].label] for text, labels in zip(TEXTS, expected, strict=True)
    ]


@pytest.mark.parametrize(
    ("command", "field"), [("classify", "labels"), ("tag", "entities"), ("embed", "vector")]
)
def test_lines_of_json_have_all_that_is_asked_for(
    clozework, saved, source, tmp_path, command, field
):
    target = tmp_path / "out.jsonl"
    arguments = ("-m", saved / command, "--input", source, "--output", target, "--json")
    result = clozework(command, *arguments)
    assert result.json == {
        "output": str(target),
        "num_written": 3,
        "num_rejected": 0,
        "rejected": None,
    }
    of_texts = clozework(command, *TEXTS, "--preset", saved / command, "--json").json
    rows = lines_of(target)
    assert [row["text"] for row in rows] == TEXTS
    for row, one in zip(rows, of_texts, strict=True):
        assert rounded(row[field]) == rounded(one[field])


def test_rows_without_a_mask_are_kept_apart(clozework, preset, tmp_path):
    source, target = tmp_path / "texts.txt", tmp_path / "out.jsonl"
    source.write_text("the [MASK]\nthe heaven\n<mask> and earth\n", encoding="utf-8")
    arguments = ("-m", preset, "--input", source, "--output", target, "--on-error", "keep")
    result = clozework("fill", *arguments)
    assert "<mask> was read as [MASK]" in result.err
    assert f"1 rows could not be used: see {target}.rejected.jsonl." in result.err
    assert [len(row["masks"]) for row in lines_of(target)] == [1, 1]
    (kept,) = lines_of(tmp_path / "out.jsonl.rejected.jsonl")
    assert kept["problem"] == "it has no [MASK]"


def test_options_that_do_not_go_together_are_refused(clozework, saved, source, tmp_path):
    arguments = ("classify", "-m", saved / "classify", "--input", source)
    assert "--input and --output go together" in clozework(*arguments).err
    result = clozework(*arguments, "--output", tmp_path / "out.csv", "a text")
    assert "Give texts, or --input: not both" in result.err


def test_a_job_that_is_done_is_not_done_again(clozework, saved, source, tmp_path):
    arguments = ("classify", "-m", saved / "classify", "--input", source, "--output")
    assert clozework(*arguments, tmp_path / "out.csv", "--resume").code == 0
    result = clozework(*arguments, tmp_path / "out.csv", "--resume")
    assert result.code == 1
    assert "is there already; the job is done" in result.err


def test_questions_of_a_file_are_answered_from_one_context_or_from_their_own(
    clozework, saved, tmp_path
):
    source = tmp_path / "questions.csv"
    source.write_text(f"question,context\nwho?,{TEXTS[2]}\nwhat?,{TEXTS[1]}\n", encoding="utf-8")
    answerer = models.QuestionAnswerer.from_preset(saved / "answer")
    arguments = ("answer", "-m", saved / "answer", "--input", source)

    clozework(*arguments, "--output", tmp_path / "own.jsonl")
    expected = answerer.answer(["who?", "what?"], [TEXTS[2], TEXTS[1]])
    found = [line["answers"][0]["text"] for line in lines_of(tmp_path / "own.jsonl")]
    assert found == [answers[0].text for answers in expected]

    clozework(*arguments, "--output", tmp_path / "one.csv", "--context", TEXTS[2])
    header, *rows = (tmp_path / "one.csv").read_text("utf-8").splitlines()
    assert header == "question,context,answer_text,answer_start,answer_end,answer_score"
    expected = answerer.answer(["who?", "what?"], TEXTS[2])
    assert [row.split(",")[2] for row in rows] == [answers[0].text for answers in expected]

    result = clozework(*arguments, "--output", tmp_path / "x.csv", "--context-column", "other")
    assert (result.code, "has no column 'other'" in result.err) == (1, True)


def test_a_question_without_room_for_a_context_is_kept_apart(clozework, saved, tmp_path):
    source = tmp_path / "questions.csv"
    source.write_text(f"question\nwho?\n{'who is it ' * 200}\n", encoding="utf-8")
    arguments = ("--input", source, "--output", tmp_path / "a.csv", "--on-error", "keep")
    result = clozework("answer", "-m", saved / "answer", "--context", TEXTS[2], *arguments)
    assert (result.code, "1 rows could not be used" in result.err) == (0, True)
