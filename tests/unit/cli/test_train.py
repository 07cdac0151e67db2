"""`clozework train`: two commands from a file to answers."""

import pytest


@pytest.fixture
def reviews(tmp_path):
    path = tmp_path / "reviews.csv"
    rows = [
        f"a {word} film number {i};{label}"
        for i in range(5)
        for label, word in (("good", "fine"), ("bad", "dull"))
    ]
    path.write_text("\n".join(["review;stars", *rows]), encoding="utf-8")
    return path


def test_two_commands_lead_from_a_file_to_answers(clozework, reviews, tmp_path):
    model, options = tmp_path / "model", ("--epochs", 1, "--sequence-length", 16)
    result = clozework("train", reviews, "-o", model, *options)
    assert result.code == 0
    assert "classify: text is 'review', label is 'stars'." in result.err
    assert "2 classes: bad, good." in result.err
    assert result.out.splitlines()[-1].startswith(f"{model}: ")
    answer = clozework("classify", "-m", model, "a fine film", "--json").json
    assert {label["label"] for label in answer[0]["labels"]} == {"good", "bad"}


def test_results_come_as_json(clozework, reviews, tmp_path):
    arguments = ("-o", tmp_path / "model", "--epochs", 1, "--sequence-length", 16, "--json")
    result = clozework("train", reviews, *arguments, "--column", "label=stars").json
    assert result["directory"] == str(tmp_path / "model")
    assert len(result["history"]["loss"]) == 1


def test_errors_say_what_to_do(clozework, reviews, tmp_path):
    result = clozework("train", reviews, "-o", tmp_path / "model", "--column", "label")
    assert "Write --column ROLE=NAME" in result.err
    result = clozework("train", reviews, "-o", tmp_path / "model", "--column", "label=x")
    assert result.code == 1
    assert "There is no column 'x'. There are: 'review', 'stars'" in result.err


def test_a_classifier_is_explained_evaluated_and_compared(clozework, reviews, tmp_path):
    model, options = tmp_path / "model", ("--epochs", 1, "--sequence-length", 16)
    clozework("train", reviews, "-o", model, *options)
    page = tmp_path / "why.html"
    result = clozework("explain", "-m", model, "a fine film", "--html", page)
    assert {line.split()[0] for line in result.out.splitlines()[2:]} == {"a", "fine", "film"}
    assert "<span" in page.read_text("utf-8")
    words = clozework("explain", "-m", model, "a fine film", "--json").json["words"]
    assert [word["word"] for word in words] == ["a", "fine", "film"]
    lines = clozework("evaluate", model, reviews).out.splitlines()
    assert lines[0].split() == ["class", "precision", "recall", "F1", "texts"]
    assert "% of 10 texts get the right class; the mean F1 of the classes is" in lines[-1]
    found = clozework("evaluate", model, reviews, "--column", "label=stars", "--json").json
    assert sum(one["support"] for one in found["classes"]) == 10
    # What a table looks like does not change what a classifier is for.
    other = tmp_path / "other.csv"
    other.write_text("title,text,label\nx,a fine film,good\ny,a dull one,bad\n", encoding="utf-8")
    assert "F1 of the classes" in clozework("evaluate", model, other).out
    result = clozework("compare", model, model, reviews)
    assert "+0.0%  difference" in result.out
    assert result.out.endswith("That may be chance.\n")
    assert clozework("compare", model, model, reviews, "--json").json["is_clear"] is False
