"""`clozework convert`."""

import pytest

TEXT = "the [MASK] and earth"


@pytest.mark.parametrize("to", ["keras", "transformers"])
def test_the_converted_model_answers_alike(clozework, preset, tmp_path, to):
    result = clozework("convert", preset, tmp_path / "there", "--to", to)
    assert (result.code, result.out) == (0, "")
    assert result.err.startswith(f"Wrote a BertMaskedLM to {tmp_path / 'there'} (")
    assert clozework("info", tmp_path / "there", "--json").json["format"] == to
    expected, found = (
        clozework("fill", TEXT, "--preset", directory, "--json").json[0]["masks"][0]["candidates"]
        for directory in (preset, tmp_path / "there")
    )
    assert [c["token"] for c in found] == [c["token"] for c in expected]
    assert [c["probability"] for c in found] == pytest.approx(
        [c["probability"] for c in expected], rel=1e-5
    )


def test_the_format_must_be_said(clozework, preset, tmp_path):
    result = clozework("convert", preset, tmp_path / "there")
    assert result.code == 2
    assert "--to" in result.err


def test_a_destination_that_is_a_file_is_refused(clozework, preset, tmp_path):
    (tmp_path / "file").touch()
    assert clozework("convert", preset, tmp_path / "file", "--to", "keras").code == 2


def test_an_unknown_source_leaves_nothing_behind(clozework, tmp_path):
    result = clozework("convert", tmp_path / "nothing", tmp_path / "there", "--to", "keras")
    assert result.code == 1
    assert list(tmp_path.iterdir()) == []
