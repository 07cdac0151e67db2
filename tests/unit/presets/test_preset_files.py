"""Files of presets in directories and in memory."""

import json

import pytest

from clozework.errors import PresetError, PresetNotFoundError
from clozework.presets.files import LocalFiles, MemoryFiles, check_file_name


@pytest.mark.parametrize(
    "name",
    ["", "/etc/passwd", "../x", "a/../b", "a//b", "./a", "a/", "c:x", "a\\b", "a\0", "a\n", "a|b"],
)
def test_names_that_lead_elsewhere_are_refused(name, tmp_path):
    for act in (check_file_name, LocalFiles(tmp_path).has, MemoryFiles({}).path):
        with pytest.raises(PresetError, match="is not the name of a file inside a preset"):
            act(name)


def test_names_in_any_language_are_accepted():
    assert check_file_name("assets/mots clés.txt") == "assets/mots clés.txt"


def test_a_directory_lists_its_files(tmp_path):
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "vocabulary.txt").touch()
    (tmp_path / "config.json").touch()
    assert LocalFiles(tmp_path).names() == ["assets/vocabulary.txt", "config.json"]


def test_a_folder_is_no_file(tmp_path):
    (tmp_path / "config.json").mkdir()
    assert not LocalFiles(tmp_path).has("config.json")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(PresetNotFoundError, match=rf"'{tmp_path}' has no file 'config.json'"):
        LocalFiles(tmp_path).path("config.json")


def test_links_out_of_a_preset_are_refused(tmp_path):
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "preset").mkdir()
    (tmp_path / "preset" / "vocabulary.txt").symlink_to(tmp_path / "secret")
    with pytest.raises(PresetError, match=r"is a link to .* outside the preset"):
        LocalFiles(tmp_path / "preset").path("vocabulary.txt")


def test_links_within_a_preset_and_to_a_preset_are_followed(tmp_path):
    (tmp_path / "preset").mkdir()
    (tmp_path / "preset" / "config.json").write_text("{}")
    (tmp_path / "preset" / "same.json").symlink_to("config.json")
    (tmp_path / "link").symlink_to(tmp_path / "preset")
    assert LocalFiles(tmp_path / "link").read_json("same.json") == {}


def test_a_snapshot_of_a_hugging_face_cache_is_a_directory_like_others(tmp_path):
    snapshot = tmp_path / "snapshots" / "0123"
    snapshot.mkdir(parents=True)
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "4567").write_text("{}")
    (snapshot / "config.json").symlink_to("../../blobs/4567")
    assert LocalFiles(snapshot).read_json("config.json") == {}


def test_memory_holds_bytes_texts_and_objects():
    files = MemoryFiles({"a/b": b"\xff", "text": "é", "object": {"x": [1]}}, name="toy")
    assert files.path("a/b").read_bytes() == b"\xff"
    assert files.read_text("text") == "é"
    assert files.read_json("object") == {"x": [1]}
    assert files.names() == ["a/b", "object", "text"]
    assert repr(files) == "<MemoryFiles toy>"


def test_memory_leaves_no_file_behind():
    files = MemoryFiles({"a": b""})
    path = files.path("a")
    del files
    assert not path.exists()


def test_text_that_is_not_utf_8_is_refused():
    with pytest.raises(PresetError, match=r"'merges.txt' of preset toy is not text in UTF-8"):
        MemoryFiles({"merges.txt": b"\xff\xfe"}, name="toy").read_text("merges.txt")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "Expecting property name"),
        ("[]", "holds a list, not an object"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a": 1, "a": 2}', "the key 'a' stands twice"),
        ('{"a": ' + "1" * 5000 + "}", "Exceeds the limit"),
    ],
)
def test_json_that_is_no_object_is_refused(content, reason):
    with pytest.raises(PresetError, match=f"'config.json' of preset toy is not the .*{reason}"):
        MemoryFiles({"config.json": content}, name="toy").read_json("config.json")


def test_json_that_is_far_too_large_is_not_read(tmp_path):
    with (tmp_path / "config.json").open("wb") as stream:
        stream.truncate(2**40)
    with pytest.raises(PresetError, match=f"it has {2**40} bytes"):
        LocalFiles(tmp_path).read_json("config.json")


def test_json_may_hold_what_python_writes():
    content = json.dumps({"a": float("inf")})
    assert MemoryFiles({"config.json": content}).read_json("config.json") == {"a": float("inf")}
