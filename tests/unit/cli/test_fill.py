"""`clozework fill`."""

import pytest

from clozework.errors import ClozeworkWarning

TEXT = "the [MASK] and earth"


def test_the_filled_text_comes_first(clozework, preset):
    result = clozework("fill", TEXT, "--preset", preset, "--top-k", "3")
    assert result.code == 0
    lines = result.out.splitlines()
    assert lines[0].startswith("the ")
    assert lines[0].endswith(" and earth")
    assert [line[-1] for line in lines[2:]] == ["%"] * 3


def test_json_is_alone_on_stdout(clozework, preset):
    result = clozework("fill", TEXT, "[MASK] [MASK]", "--preset", preset, "--top-k", "2", "--json")
    assert [record["input"] for record in result.json] == [TEXT, "[MASK] [MASK]"]
    assert [len(record["masks"]) for record in result.json] == [1, 2]
    candidate = result.json[0]["masks"][0]["candidates"][0]
    assert result.json[0]["text"] == candidate["text"]
    assert 0 < candidate["probability"] < 1


def test_json_keeps_letters_as_they_are(clozework, preset):
    assert "größer" in clozework("fill", "größer [MASK]", "--preset", preset, "--json").out


def test_texts_come_from_arguments_the_standard_input_and_files(clozework, preset, tmp_path):
    (tmp_path / "texts.txt").write_text("[MASK] three\n[MASK] four\n", encoding="utf-8")
    result = clozework(
        *("fill", "[MASK] one", "-", "--file", tmp_path / "texts.txt"),
        *("--preset", preset, "--json"),
        input="[MASK] two\n",
    )
    inputs = [record["input"] for record in result.json]
    assert inputs == ["[MASK] one", "[MASK] two", "[MASK] three", "[MASK] four"]


def test_another_models_mask_is_translated_and_that_is_said(clozework, preset):
    result = clozework("fill", "the <mask> and <mask>", "--preset", preset, "--json")
    assert len(result.json[0]["masks"]) == 2
    assert result.json[0]["input"] == "the <mask> and <mask>"
    assert result.err == "<mask> was read as [MASK], which is the mask of this model.\n"


def test_another_models_mask_beside_the_models_own_is_text(clozework, preset):
    with pytest.warns(ClozeworkWarning, match="holds '<mask>', which is no mask to this model"):
        result = clozework("fill", "the [MASK] and <mask>", "--preset", preset, "--json")
    assert len(result.json[0]["masks"]) == 1


@pytest.mark.parametrize("text", ["no gap", ""])
def test_a_text_without_a_mask_is_named(clozework, preset, text):
    result = clozework("fill", TEXT, text, "--preset", preset)
    assert (result.code, result.out) == (1, "")
    assert result.err == (
        f"Error: Text 2 has no mask: {text!r}. Write [MASK] where a word is wanted.\n"
    )


def test_an_empty_line_is_a_text_without_a_mask(clozework, preset):
    result = clozework("fill", "-", "--preset", preset, input=f"{TEXT}\n\n{TEXT}\n")
    assert "Text 2 has no mask" in result.err


def test_a_line_ends_where_lines_end_and_nowhere_else(clozework, preset):
    result = clozework("fill", "-", "--preset", preset, "--json", input="a\u2028b [MASK]\x0bc\r\n")
    assert [record["input"] for record in result.json] == ["a\u2028b [MASK]\x0bc"]


@pytest.mark.parametrize("arguments", [[], ["-"]])
def test_no_text_at_all_is_a_mistake_of_usage(clozework, arguments):
    result = clozework("fill", *arguments, input="")
    assert result.code == 2
    assert "Give a TEXT" in result.err


def test_the_standard_input_is_read_once(clozework):
    result = clozework("fill", "-", "-", input=TEXT)
    assert result.code == 2
    assert "give `-` once" in result.err


def test_bytes_that_are_no_text_are_refused(clozework, preset, tmp_path):
    (tmp_path / "latin1.txt").write_bytes(b"[MASK] \xe4\n")
    result = clozework("fill", "--file", tmp_path / "latin1.txt", "--preset", preset)
    assert result.code == 1
    assert "is not text in UTF-8" in result.err


def test_more_candidates_than_tokens_are_refused(clozework, preset):
    result = clozework("fill", TEXT, "--preset", preset, "--top-k", "11")
    assert result.code == 1
    assert "`top_k` must be a whole number from 1 to 10. Received: 11" in result.err


def test_a_directory_without_a_model_is_refused(clozework, tmp_path):
    result = clozework("fill", TEXT, "--preset", tmp_path)
    assert result.code == 1
    assert "has no file 'config.json'" in result.err


def test_the_default_is_the_model_that_comes_with_the_package(clozework, no_network):
    text = "In the beginning God created the [MASK] and the earth."
    record = clozework("fill", text, "--json").json[0]
    assert record["masks"][0]["candidates"][0]["token"] == "heaven"
