"""The manifest of a preset, and the damage that it finds."""

import json
import shutil

import numpy as np
import pytest

from clozework.errors import ClozeworkWarning, PresetError, WeightsError
from clozework.presets import manifest
from clozework.presets.files import LocalFiles, MemoryFiles
from clozework.presets.h5_weights import read_h5, write_h5
from clozework.presets.handle import open_preset
from clozework.presets.manifest import checked_by_manifest, verify_manifest
from clozework.presets.staging import staged_directory
from clozework.presets.tensor_files import write_safetensors

WEIGHTS = {
    "layers/dense/vars/0": np.arange(100, dtype=np.float32),
    "layers/dense/vars/1": np.arange(50, dtype=np.float32) + 1000,
}


def write_preset(directory, value=0):
    (directory / "assets" / "tokenizer").mkdir(parents=True)
    (directory / "assets" / "tokenizer" / "vocabulary.txt").write_text(f"token {value}")
    (directory / "config.json").write_text(json.dumps({"value": value}))
    (directory / "metadata.json").write_text("{}")
    write_h5(directory, "model.weights.h5", WEIGHTS, {})


@pytest.fixture
def preset(tmp_path):
    with staged_directory(tmp_path / "preset") as directory:
        write_preset(directory)
    return tmp_path / "preset"


def test_the_manifest_lists_files_and_tensors(preset):
    write_safetensors(preset / "x", {})
    content = json.loads((preset / "manifest.json").read_text())
    assert sorted(content["files"]) == [
        "assets/tokenizer/vocabulary.txt",
        "config.json",
        "metadata.json",
        "model.weights.h5",
    ]
    entry = content["files"]["model.weights.h5"]
    assert entry["size"] == (preset / "model.weights.h5").stat().st_size
    assert sorted(entry["tensors"]) == sorted(WEIGHTS)
    begin, end, digest = entry["tensors"]["layers/dense/vars/0"]
    assert end - begin == 400
    assert len(digest) == 64


def damage(path, change):
    content = bytearray(path.read_bytes())
    path.write_bytes(change(content))


def flip(content, pattern):
    content[content.index(pattern)] ^= 1
    return content


def test_an_altered_tensor_is_named(preset):
    pattern = np.float32([1003, 1004]).tobytes()
    damage(preset / "model.weights.h5", lambda content: flip(content, pattern))
    message = "'model.weights.h5' .* was altered .* damaged tensors: 'layers/dense/vars/1'"
    files = checked_by_manifest(open_preset(preset))
    with pytest.raises(WeightsError, match=message):
        read_h5(files, "model.weights.h5")


def test_a_file_cut_short_names_its_tensors(preset):
    begin = json.loads((preset / "manifest.json").read_text())["files"]["model.weights.h5"][
        "tensors"
    ]["layers/dense/vars/1"][0]
    damage(preset / "model.weights.h5", lambda content: content[: begin + 10])
    message = r"has \d+ bytes, not \d+ since it was saved; damaged tensors: 'layers/dense/vars/1'\."
    with pytest.raises(WeightsError, match=message):
        verify_manifest(LocalFiles(preset))


def test_many_damaged_tensors_are_counted(tmp_path):
    with staged_directory(tmp_path / "preset") as directory:
        write_safetensors(
            directory / "model.safetensors", {f"tensor_{i}": np.ones(3) for i in range(9)}
        )
    damage(tmp_path / "preset" / "model.safetensors", lambda content: content[: -9 * 24])
    with pytest.raises(WeightsError, match=r"'tensor_4' and 4 more. Get the file anew"):
        verify_manifest(LocalFiles(tmp_path / "preset"))


def test_damage_beside_the_tensors_is_found(preset):
    damage(preset / "model.weights.h5", lambda content: content + b"\0")
    with pytest.raises(WeightsError, match="no tensor's values were touched"):
        verify_manifest(LocalFiles(preset))


def test_a_config_that_was_edited_says_what_to_do(preset):
    (preset / "config.json").write_text('{"value": 9}')
    with pytest.raises(
        PresetError, match=r"'config.json' .* delete manifest.json if the change is"
    ):
        checked_by_manifest(LocalFiles(preset)).read_json("config.json")


@pytest.mark.parametrize(
    ("name", "kind"), [("model.weights.h5", WeightsError), ("config.json", PresetError)]
)
def test_a_missing_file_is_found(preset, name, kind):
    (preset / name).unlink()
    files = checked_by_manifest(LocalFiles(preset))
    assert files.has(name)
    with pytest.raises(kind, match=f"File '{name}' of preset .* is missing, though its manifest"):
        files.path(name)


def test_files_are_compared_once_and_only_when_used(preset, monkeypatch):
    compared = []
    compare = manifest._compare
    monkeypatch.setattr(
        manifest, "_compare", lambda *args: (compared.append(args[1]), compare(*args))
    )
    files = checked_by_manifest(LocalFiles(preset))
    for _ in range(2):
        files.read_json("config.json")
    assert compared == ["config.json"]


def test_files_beside_the_manifest_are_handed_out(preset):
    (preset / "README.md").write_text("mine")
    files = checked_by_manifest(LocalFiles(preset))
    assert files.read_text("README.md") == "mine"
    assert not files.has("task.json")
    assert files.size("README.md") == 4
    assert files.names() == LocalFiles(preset).names()


def test_a_preset_that_another_program_wrote_anew_is_not_compared(preset):
    (preset / "metadata.json").write_text('{"keras_hub_version": "0.32.0"}')
    (preset / "config.json").write_text('{"value": 9}')
    with pytest.warns(ClozeworkWarning, match=r"was written by another program after its manifest"):
        files = checked_by_manifest(LocalFiles(preset))
    assert files.read_json("config.json") == {"value": 9}


def test_a_preset_without_manifest_is_as_it_is():
    files = MemoryFiles({"config.json": "{}"})
    assert checked_by_manifest(files) is files
    verify_manifest(files)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"version": 2, "files": {}}, "is of version 2, not 1. Update Clozework"),
        ({"version": 1, "files": []}, "is of version 1"),
        ({"version": 1, "files": {"a": 3}}, "is damaged at 'a'"),
        ({"version": 1, "files": {"a": {"size": "3", "sha256": ""}}}, "is damaged at 'a'"),
        (
            {"version": 1, "files": {"a": {"size": 3, "sha256": "", "tensors": {"b": [1]}}}},
            "is damaged at 'a'",
        ),
        (
            {"version": 1, "files": {"a": {"size": 3, "sha256": "", "tensors": []}}},
            "is damaged at 'a'",
        ),
    ],
)
def test_a_damaged_manifest_is_named(content, message):
    with pytest.raises(PresetError, match=rf"The manifest.json of preset toy {message}"):
        checked_by_manifest(MemoryFiles({"manifest.json": content}, name="toy"))


def test_a_manifest_cannot_lead_out_of_the_preset():
    entry = {"size": 1, "sha256": ""}
    files = MemoryFiles({"manifest.json": {"version": 1, "files": {"../x": entry}}})
    with pytest.raises(PresetError, match="is not the name of a file inside a preset"):
        verify_manifest(files)


def test_a_preset_with_a_damaged_manifest_can_be_saved_over(preset):
    (preset / "manifest.json").write_text("[]")
    with staged_directory(preset) as directory:
        write_preset(directory, 1)
    verify_manifest(LocalFiles(preset))


def test_a_copy_of_a_preset_is_as_good_as_the_preset(preset, tmp_path):
    shutil.copytree(preset, tmp_path / "copy")
    verify_manifest(LocalFiles(tmp_path / "copy"))
