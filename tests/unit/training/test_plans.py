"""What a file is for, which rows are kept, and what is said of files that cannot be used."""

import json

import pytest

from clozework.errors import ConfigError, InputError
from clozework.training import TrainingOptions, plan_training
from clozework.training.data import balanced_class_weights

FILMS = [(f"a {word} film {i}", "good" if i % 2 else "bad") for i, word in enumerate("abcdefgh")]


def csv_of(path, header, rows):
    path.write_text("\n".join([header, *(",".join(row) for row in rows)]), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("rows", "kind", "roles"),
    [
        ([{"text": "a b", "label": "x"}, {"text": "b c", "label": "y"}], "classify", None),
        (
            [{"id": str(i), "opinion": f"so long a text {i}", "stars": i % 2} for i in range(9)],
            "classify",
            {"text": "opinion", "label": "stars"},
        ),
        ([{"tokens": ["a"], "ner_tags": ["O"]}], "tag", {"tokens": "tokens", "tags": "ner_tags"}),
        ([{"question": "a?", "context": "a b", "answer": "b"}], "answer", None),
        ([{"query": "a b", "passage": "b"}], "embed", {"anchor": "query", "positive": "passage"}),
        ([{"article": "a b", "highlights": "b"}], "summarize", None),
        ([{"text": "a b c"}, {"text": "b c d"}], "fill", {"text": "text"}),
    ],
)
def test_what_a_table_is_for_follows_from_its_columns(tmp_path, rows, kind, roles):
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    training = plan_training(path)
    assert training.kind.name == kind
    if roles is not None:
        assert training.roles == roles


def test_columns_may_be_named(tmp_path):
    rows = [("1", "a film", "good", "x y"), ("2", "b film", "bad", "z w"), ("3", "c", "bad", "v")]
    path = csv_of(tmp_path / "a.csv", "id,text,label,other", rows)
    training = plan_training(path, columns={"text": "other"})
    assert training.roles == {"text": "other", "label": "label"}
    assert plan_training(path, task="fill").roles == {"text": "text"}
    with pytest.raises(InputError, match="There is no column 'stars'. There are: 'id', 'text'"):
        plan_training(path, columns={"label": "stars"})
    with pytest.raises(ConfigError, match="'classify' has no 'answer'. It takes: 'text', 'label'"):
        plan_training(path, task="classify", columns={"answer": "other"})
    with pytest.raises(ConfigError, match="no training for 'rank'. It is one of: 'tag'"):
        plan_training(path, task="rank")


def test_each_class_gives_its_share_and_the_choice_is_repeated(tmp_path):
    rows = [(f"text {i}", "rare" if i % 10 == 0 else "usual") for i in range(100)]
    path = csv_of(tmp_path / "a.csv", "text,label", rows)
    options = TrainingOptions(validation_share=0.2, seed=3)
    training = plan_training(path, options)
    kept = [rows[row][1] for row in training.split.validation]
    assert (kept.count("rare"), kept.count("usual")) == (2, 18)
    assert sorted(training.split.training + training.split.validation) == list(range(100))
    assert plan_training(path, options).split == training.split
    assert plan_training(path, TrainingOptions(seed=4)).split != training.split
    assert training.class_weight() == pytest.approx({"rare": 5.0, "usual": 5 / 9})
    assert plan_training(path, TrainingOptions(class_weights="none")).class_weight() is None


def test_the_same_text_is_not_trained_on_and_validated(tmp_path):
    rows = [(f"text {i % 5}", "ab"[i % 5 % 2]) for i in range(50)]
    training = plan_training(
        csv_of(tmp_path / "a.csv", "text,label", rows), TrainingOptions(validation_share=0.4)
    )
    texts = [
        {rows[row][0] for row in part}
        for part in (training.split.training, training.split.validation)
    ]
    assert not texts[0] & texts[1]
    assert "45 rows repeat the text of another one." in training.split.remarks


def test_classes_of_one_text_are_trained_on(tmp_path):
    rows = [*FILMS, ("a single one", "odd")]
    training = plan_training(csv_of(tmp_path / "a.csv", "text,label", rows))
    assert len(FILMS) in training.split.training
    assert "1 classes have a single text, which is trained on" in training.split.remarks[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "'a.csv' has no header"),
        ("text,label\n", "'a.csv' has no rows"),
        ("text,label\na film,good\nb film,good\n", "All rows are of one class, 'good'"),
        ("text,label\na film,1\nb film,\n,1\n", "1 cells of 'text' are empty"),
        ("text,label\na film,good,1\nb,bad,2\nc,bad\n", "2 rows of 'a.csv' cannot be used"),
        ("text|label\na film|x\nb film|y\n", None),
        ("text,label\na film,1\nb film,2\nc film,3\nd film,4\ne film,5\n", "are no classes"),
        ("a:b\nx:y\n", "has one column, 'a:b', and ':' stands in each of its rows"),
        ("a\nx\n", "None of the columns holds texts: 'a'. Is the delimiter another one"),
    ],
)
def test_files_that_cannot_be_used_are_explained(tmp_path, content, message):
    path = tmp_path / "a.csv"
    path.write_text(content, encoding="utf-8")
    if message is None:
        assert plan_training(path).kind.name == "classify"
        return
    with pytest.raises(InputError, match=message):
        plan_training(path)


def test_other_encodings_and_mixed_types_are_explained(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes("text,label\ncafé,x\nb,y\n".encode("latin-1"))
    with pytest.raises(InputError, match="row 1: it is not in UTF-8"):
        plan_training(path)
    path = tmp_path / "a.jsonl"
    rows = [{"text": "a", "label": 1}, {"text": "b", "label": "2"}, {"text": "c", "label": 1}]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    with pytest.raises(InputError, match="'label' holds texts and numbers"):
        plan_training(path)
    path.write_text('{"text": "a", "label": 1}\n{"text": "b"}\n', encoding="utf-8")
    with pytest.raises(InputError, match="row 2: it has no 'label'"):
        plan_training(path)


def test_answers_have_to_stand_in_their_context(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"question": "a?", "context": "a b", "answer": "c"}\n', encoding="utf-8")
    training = plan_training(path, TrainingOptions(validation_share=0.0))
    with pytest.raises(InputError, match="The answer of row 1, 'c', does not stand in its context"):
        training.run(tmp_path / "model")


def test_directories_of_datasets_are_read(tmp_path):
    datasets = pytest.importorskip("datasets")
    dataset = datasets.Dataset.from_dict({"text": ["a b", "c d"], "label": [0, 1]})
    dataset.save_to_disk(str(tmp_path / "one"))
    assert plan_training(tmp_path / "one").classes() == ["0", "1"]
    datasets.DatasetDict(train=dataset, test=dataset).save_to_disk(str(tmp_path / "two"))
    with pytest.raises(InputError, match="holds several splits: 'train', 'test'"):
        plan_training(tmp_path / "two")
    with pytest.raises(InputError, match="no directory that `datasets` saved"):
        plan_training(tmp_path)


def test_weights_let_all_classes_count_alike():
    labels = ["a"] * 6 + ["b"] * 3 + ["c"]
    weights = balanced_class_weights(labels)
    sums = {label: weights[label] * labels.count(label) for label in weights}
    assert len({round(total, 9) for total in sums.values()}) == 1
    assert sum(sums.values()) == pytest.approx(len(labels))


def written(path, rows):
    path.write_text("\n".join(["text,label", *rows]), encoding="utf-8")
    return path


def test_rows_to_validate_on_may_have_a_file_of_their_own(tmp_path):
    training = written(tmp_path / "a.csv", ["one,x", "two,y", "three,x"])
    validation = written(tmp_path / "b.csv", ["four,x", "two,x"])
    plan = plan_training(training, validation=validation)
    assert (plan.split.training, plan.split.validation) == ([0, 1, 2], [3, 4])
    assert plan.columns["text"][3:] == ["four", "two"]
    assert plan.lines()[-1] == "1 rows to validate on are among those to train on, too."
    assert f"--validation {validation}" in plan.command("model")


def test_a_label_that_is_only_validated_is_refused(tmp_path):
    training = written(tmp_path / "a.csv", ["one,x", "two,y"])
    validation = written(tmp_path / "b.csv", ["four,z", "five,x"])
    with pytest.raises(InputError, match="1 labels stand in the rows to validate on, and in none"):
        plan_training(training, validation=validation)


def test_another_file_needs_the_same_columns(tmp_path):
    training = written(tmp_path / "a.csv", ["one,x", "two,y"])
    (tmp_path / "b.csv").write_text("words,label\nfour,x\n", encoding="utf-8")
    with pytest.raises(InputError, match="no column 'text'. There are: 'words', 'label'"):
        plan_training(training, validation=tmp_path / "b.csv")


def test_ids_that_are_repeated_are_told(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("id,text,label\n1,one,x\n2,two,y\n1,three,x\n", encoding="utf-8")
    assert plan_training(path).lines()[-1].startswith("1 values of 'id' stand in several rows: '1'")


def test_another_delimiter_is_recognised(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("text~label\na fine film~good\na bore~bad\n", encoding="utf-8")
    with pytest.raises(InputError, match="one column, 'text~label', and '~' stands in each"):
        plan_training(path)


@pytest.mark.parametrize("has_negatives", [False, True])
def test_texts_that_do_not_belong_are_the_third_of_an_example(tmp_path, has_negatives):
    rows = [{"query": f"who {i}?", "positive": f"he {i}", "negative": f"it {i}"} for i in range(4)]
    if not has_negatives:
        rows = [{name: row[name] for name in ("query", "positive")} for row in rows]
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    plan = plan_training(path)
    assert plan.kind.name == "embed"
    assert plan.kind.examples(plan.columns)[0][0] == tuple(rows[0].values())


def test_a_third_text_that_is_not_always_there_is_left_out(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("query,positive,negative\na?,b,c\nd?,e,\n", encoding="utf-8")
    assert "negative" not in plan_training(path).roles


def test_a_line_without_columns_is_explained(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("{}\n", encoding="utf-8")
    with pytest.raises(InputError, match="None of the columns holds texts"):
        plan_training(path)
