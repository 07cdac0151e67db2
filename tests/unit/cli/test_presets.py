"""`clozework presets` and `clozework info`."""

import pytest

from clozework.presets import families


def test_all_built_in_presets_are_listed(clozework, no_network):
    listed = [record["name"] for record in clozework("presets", "--json").json]
    assert listed == [preset.name for family in families() for preset in family.presets]


def test_the_table_names_size_and_place(clozework):
    lines = clozework("presets").out.splitlines()
    assert lines[0].split()[:3] == ["name", "parameters", "weights"]
    demo = next(line for line in lines if line.startswith("deberta_v3_tiny_en_demo"))
    assert "embedded" in demo


def test_a_table_in_a_pipe_is_not_wrapped(clozework):
    assert len(clozework("presets").out.splitlines()) == 1 + len(
        clozework("presets", "--json").json
    )


@pytest.mark.parametrize("name", ["roberta", "RoBERTa"])
def test_one_family_alone(clozework, name):
    records = clozework("presets", "--family", name, "--json").json
    assert {record["family"] for record in records} == {"roberta"}


def test_an_unknown_family_is_refused_with_those_there_are(clozework):
    result = clozework("presets", "--family", "gpt")
    assert result.code == 2
    assert "There is no family 'gpt'. There is: bert, albert, bart" in result.err


def test_a_built_in_model_is_described_without_a_network(clozework, no_network):
    result = clozework("info", "roberta_base_en", "--json").json
    assert result["parameters"] == 124052736
    assert result["architecture"]["hidden_dim"] == 768
    assert {"RobertaMaskedLM", "RobertaTextClassifier"} < set(result["tasks"])
    assert len(result["handles"]) == 2


def test_a_directory_is_described_with_its_files(clozework, preset):
    lines = clozework("info", preset).out.splitlines()
    assert ["stored", "task", "BertMaskedLM"] in [line.split() for line in lines]
    assert any(line.startswith("  model.weights.h5 ") for line in lines)


def test_the_description_of_a_directory_is_for_machines_too(clozework, preset):
    result = clozework("info", preset, "--json").json
    assert (result["format"], result["task"]) == ("keras", "BertMaskedLM")
    assert result["files"]["config.json"] > 0
