"""`clozework classify`, `tag`, `embed` and other verbs: what each prints of a tiny model."""

import json

import pytest

from clozework import models
from tests.contract.families import TEXTS


def test_classes_come_with_percentages(clozework, saved):
    result = clozework("classify", TEXTS[0], "--preset", saved / "classify", "--top-k", "2")
    lines = result.out.splitlines()
    assert (result.code, lines[0], len(lines)) == (0, TEXTS[0], 4)
    assert all(line.endswith("%") for line in lines[2:])
    result = clozework("classify", "a", "--preset", saved / "classify", "--threshold", "1")
    assert result.out == "a\n\n  no class\n"


def test_classes_are_those_of_the_verb(clozework, saved):
    expected = models.TextClassifier.from_preset(saved / "classify").classify(TEXTS)
    result = clozework("classify", *TEXTS, "--preset", saved / "classify", "--chunk", "--json")
    assert [record["input"] for record in result.json] == TEXTS
    for record, labels in zip(result.json, expected, strict=True):
        assert [label["label"] for label in record["labels"]] == [one.label for one in labels]


def test_weights_may_be_read_in_another_precision(clozework, saved):
    arguments = ("embed", TEXTS[0], "--preset", saved / "embed", "--json")
    (exact,), (rounded,) = (
        clozework(*arguments, "--dtype", dtype).json for dtype in ("float32", "bfloat16")
    )
    assert exact["vector"] != rounded["vector"]
    assert rounded["vector"] == pytest.approx(exact["vector"], rel=0.1, abs=0.05)


def test_entities_come_with_label_and_score(clozework, saved):
    arguments = ("tag", "-", "--preset", saved / "tag", "--aggregation", "words")
    result = clozework(*arguments, input="the fox\n")
    lines = result.out.splitlines()
    assert lines[0] == "the fox"
    assert [line.split()[-1] for line in lines[2:]] == ["the", "fox"]
    (record,) = clozework(*arguments, "--json", input="the fox\n").json
    assert [entity["start"] for entity in record["entities"]] == [0, 4]
    assert clozework("tag", "", "--preset", saved / "tag").out == "\n\n  nothing\n"


def test_vectors_are_lines_of_numbers(clozework, saved, tmp_path):
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    arguments = ("embed", "--file", tmp_path / "texts.txt", "--preset", saved / "embed")
    lines = clozework(*arguments, "--truncate-dim", "3").out.splitlines()
    assert [len(line.split()) for line in lines] == [3, 3, 3]
    expected = models.TextEmbedder.from_preset(saved / "embed").embed(TEXTS)
    vectors = [record["vector"] for record in clozework(*arguments, "--json").json]
    for vector, row in zip(vectors, expected.tolist(), strict=True):
        assert vector == pytest.approx(row, abs=1e-6)


def test_answers_come_from_the_context(clozework, saved, tmp_path):
    (tmp_path / "context.txt").write_text(TEXTS[2], encoding="utf-8")
    arguments = ("answer", "the dog", "fox", "--preset", saved / "answer")
    of_file = clozework(*arguments, "--context-file", tmp_path / "context.txt")
    assert of_file.out == clozework(*arguments, "--context", TEXTS[2]).out
    assert of_file.out.splitlines()[0] == "the dog"
    records = clozework(
        *arguments, "--context", TEXTS[2], "--top-k", "99", "--can-be-absent", "--json"
    )
    for record in records.json:
        assert any(not one["text"] for one in record["answers"])
        assert all(TEXTS[2][one["start"] : one["end"]] == one["text"] for one in record["answers"])


@pytest.mark.parametrize("command", ["classify", "tag", "embed", "answer"])
def test_a_command_needs_a_text(clozework, command, saved):
    more = ("--context", "a") if command == "answer" else ()
    result = clozework(command, "--preset", saved / command, *more)
    assert (result.code, "Give a TEXT" in result.err) == (2, True)


def test_an_answer_needs_one_context(clozework, saved):
    result = clozework("answer", "a", "--preset", saved / "answer")
    assert (result.code, "--context or --context-file" in result.err) == (2, True)


def test_a_model_without_that_head_says_what_it_needs(clozework, preset):
    result = clozework("classify", "a", "--preset", preset)
    assert (result.code, "needs `num_classes`" in result.err) == (1, True)


def test_texts_come_in_the_order_of_their_scores(clozework, saved):
    arguments = ("rerank", "the fox", *TEXTS, "-m", saved / "rerank")
    expected = models.TextClassifier.from_preset(saved / "rerank").rerank("the fox", TEXTS)
    lines = clozework(*arguments).out.splitlines()
    assert [line.split(maxsplit=1)[1] for line in lines] == [one.text for one in expected]
    found = clozework(*arguments, "--top-k", "2", "--json").json
    assert [one["index"] for one in found] == [one.index for one in expected[:2]]


def test_generators_write(clozework, saved, tmp_path):
    arguments = ("-m", saved / "generate", "--max-length", "6", "--sampler", "greedy")
    model = models.CausalLM.from_preset(saved / "generate")
    model.compile(sampler="greedy")
    expected = model.generate(TEXTS[:1], max_length=6)
    assert clozework("generate", TEXTS[0], *arguments).out == f"{expected[0]}\n"
    (tmp_path / "a.txt").write_text(f"{TEXTS[0]}\n", encoding="utf-8")
    files = ("--input", tmp_path / "a.txt", "--output", tmp_path / "b.jsonl")
    assert clozework("generate", *arguments, *files).code == 0
    (row,) = map(json.loads, (tmp_path / "b.jsonl").read_text("utf-8").splitlines())
    assert row == {"text": TEXTS[0], "generated": expected[0]}
    arguments = ("-m", saved / "summarize", "--sampler", "greedy", "--json")
    found = clozework("summarize", TEXTS[0], *arguments).json
    model = models.Seq2SeqLM.from_preset(saved / "summarize")
    model.compile(sampler="greedy")
    summary = model.summarize(TEXTS[0])
    assert found == [{"input": TEXTS[0], "summary": summary}]
