"""Directories that are written whole or not at all."""

import json
import os
import random
import re
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from clozework.errors import PresetError, WeightsError
from clozework.presets import staging
from clozework.presets.files import LocalFiles
from clozework.presets.h5_weights import read_h5, write_h5
from clozework.presets.handle import open_preset
from clozework.presets.manifest import read_manifest, verify_manifest
from clozework.presets.staging import restore_interrupted, staged_directory

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


def contents(directory):
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(params=["exchange", "two renames"])
def both_ways(request, monkeypatch):
    """The way of Linux, and that of other systems."""
    if request.param == "two renames":
        monkeypatch.setattr(staging, "_renameat2", lambda: None)


@pytest.fixture
def preset(tmp_path):
    with staged_directory(tmp_path / "preset") as directory:
        write_preset(directory)
    return tmp_path / "preset"


# --- Saving


def test_a_directory_appears_whole(tmp_path):
    with staged_directory(tmp_path / "a" / "b" / "preset") as directory:
        write_preset(directory)
        assert not (tmp_path / "a" / "b" / "preset").exists()
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["preset"]
    verify_manifest(LocalFiles(tmp_path / "a" / "b" / "preset"))


def test_home_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    with staged_directory("~/preset") as directory:
        write_preset(directory)
    assert (tmp_path / "preset" / "config.json").is_file()


@pytest.mark.usefixtures("both_ways")
def test_an_old_preset_is_replaced_and_other_files_stay(preset):
    (preset / "notes").mkdir()
    (preset / "notes" / "mine.txt").write_text("mine")
    (preset / "link").symlink_to("notes")
    (preset / "task.json").write_text("{}")
    with staged_directory(preset) as directory:
        write_preset(directory, 1)
    assert LocalFiles(preset).read_json("config.json") == {"value": 1}
    assert (preset / "notes" / "mine.txt").read_text() == "mine"
    assert (preset / "link").readlink() == Path("notes")
    assert not (preset / "task.json").exists()
    assert [path.name for path in preset.parent.iterdir()] == ["preset"]
    verify_manifest(LocalFiles(preset))


@pytest.mark.usefixtures("both_ways")
def test_an_empty_directory_is_filled(tmp_path):
    with staged_directory(tmp_path / "preset") as directory:
        write_preset(directory)
    assert LocalFiles(tmp_path / "preset").has("config.json")


def test_one_part_of_a_preset_can_be_replaced(preset):
    old = contents(preset)
    with staged_directory(preset, replaces=["assets/tokenizer/*"]) as directory:
        (directory / "tokenizer.json").write_text("{}")
    new = contents(preset)
    assert set(old) - set(new) == {"assets/tokenizer/vocabulary.txt"}
    assert set(new) - set(old) == {"tokenizer.json"}
    assert set(read_manifest(LocalFiles(preset))) == set(new) - {"manifest.json"}
    verify_manifest(LocalFiles(preset))


def test_damage_to_a_file_that_stays_is_not_covered_up(preset):
    (preset / "config.json").write_text("{}")
    with staged_directory(preset, replaces=[]) as directory:
        (directory / "tokenizer.json").write_text("{}")
    with pytest.raises(PresetError, match=r"'config.json' of preset .* has 2 bytes, not 12"):
        verify_manifest(LocalFiles(preset))


def test_files_are_copied_where_there_are_no_hard_links(preset, monkeypatch):
    (preset / "mine.txt").write_text("mine")
    monkeypatch.setattr(os, "link", lambda *_, **__: (_ for _ in ()).throw(OSError("no links")))
    with staged_directory(preset) as directory:
        write_preset(directory, 1)
    assert (preset / "mine.txt").read_text() == "mine"


def test_a_link_to_a_directory_stays_a_link(preset, tmp_path):
    (tmp_path / "link").symlink_to(preset)
    with staged_directory(tmp_path / "link") as directory:
        write_preset(directory, 1)
    assert (tmp_path / "link").is_symlink()
    assert LocalFiles(preset).read_json("config.json") == {"value": 1}


def test_weights_that_are_mapped_stay_readable_while_they_are_replaced(preset):
    values = read_h5(LocalFiles(preset), "model.weights.h5")
    with staged_directory(preset) as directory:
        write_h5(directory, "model.weights.h5", {key: -values[key] for key in values}, {})
    np.testing.assert_array_equal(values["layers/dense/vars/0"], WEIGHTS["layers/dense/vars/0"])
    renewed = read_h5(LocalFiles(preset), "model.weights.h5")
    np.testing.assert_array_equal(renewed["layers/dense/vars/0"], -WEIGHTS["layers/dense/vars/0"])


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_leaves_everything_as_it_was(preset, error):
    old = contents(preset)

    def save():
        with staged_directory(preset) as directory:
            write_preset(directory, 1)
            raise error("on the way")

    with pytest.raises(error, match="on the way"):
        save()
    assert contents(preset) == old
    assert [path.name for path in preset.parent.iterdir()] == ["preset"]


def test_weights_that_cannot_be_read_back_are_not_put_in_place(preset):
    old = contents(preset)

    def save():
        with staged_directory(preset) as directory:
            (directory / "model.weights.h5").write_bytes(b"cut short")

    with pytest.raises(WeightsError, match=r"'model.weights.h5': it is damaged"):
        save()
    assert contents(preset) == old


def save_to(place):
    with staged_directory(place) as directory:
        write_preset(directory)


def test_a_file_is_not_replaced(tmp_path):
    (tmp_path / "preset").write_text("mine")
    with pytest.raises(PresetError, match=r"is a file. Give a directory to save to"):
        save_to(tmp_path / "preset")
    assert (tmp_path / "preset").read_text() == "mine"


def test_the_current_directory_is_not_replaced(tmp_path, monkeypatch):
    (tmp_path / "inside").mkdir()
    monkeypatch.chdir(tmp_path / "inside")
    for place in (".", ".."):
        with pytest.raises(PresetError, match="is or holds the current directory"):
            save_to(place)
    assert list(tmp_path.iterdir()) == [tmp_path / "inside"]


def test_a_file_system_is_not_replaced():
    with pytest.raises(PresetError, match="is where a file system starts"):
        save_to("/")


@pytest.mark.parametrize("place", [None, "", 3])
def test_what_names_no_directory_is_refused(place):
    with pytest.raises(PresetError, match=f"{place!r} cannot name a directory. Give the path"):
        save_to(place)


def test_a_place_that_cannot_be_written_is_reported(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(PresetError, match="cannot be written"):
        save_to(tmp_path / "file" / "preset")


@pytest.mark.parametrize("code", [1, 28])
def test_an_exchange_that_fails_is_reported(preset, monkeypatch, code):
    old = contents(preset)
    monkeypatch.setattr(staging, "_renameat2", lambda: lambda *_: -1)
    monkeypatch.setattr(staging.ctypes, "get_errno", lambda: code)
    with pytest.raises(PresetError, match=rf"cannot be replaced: {os.strerror(code)}"):
        save_to(preset)
    assert contents(preset) == old


def test_an_exchange_that_is_not_supported_becomes_two_renames(preset, monkeypatch):
    monkeypatch.setattr(staging, "_renameat2", lambda: lambda *_: -1)
    monkeypatch.setattr(staging.ctypes, "get_errno", lambda: staging.errno.EINVAL)
    with staged_directory(preset) as directory:
        write_preset(directory, 1)
    assert LocalFiles(preset).read_json("config.json") == {"value": 1}


def test_a_rename_that_fails_leaves_the_old_state(preset, monkeypatch):
    old = contents(preset)
    rename = Path.rename

    def fail(path, target):
        if path.suffix == ".staging":
            raise OSError("the disk is gone")
        return rename(path, target)

    monkeypatch.setattr(staging, "_renameat2", lambda: None)
    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(PresetError, match="stays as it was: the disk is gone"):
        save_to(preset)
    assert contents(preset) == old


# --- Killed processes


SAVE_FOREVER = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    sys.modules["clozework.presets"] = type(sys)("clozework.presets")
    sys.modules["clozework.presets"].__path__ = [sys.argv[3]]
    from clozework.presets import staging
    if sys.argv[2] == "two renames":
        staging._renameat2 = lambda: None
    value = int(sys.argv[4])
    print("ready", flush=True)
    while True:
        value += 1
        with staging.staged_directory(sys.argv[1]) as directory:
            for name in ("config.json", "metadata.json", "task.json"):
                (directory / name).write_text('{"value": %d}' % value)
    """
)


def kill_while_saving(place, way, rounds, seed):
    """Starts a process that saves without end, kills it at any moment, and looks; repeatedly."""
    generator = random.Random(seed)
    package = str(Path(staging.__file__).parent)
    value = 0
    for _ in range(rounds):
        command = [sys.executable, "-c", SAVE_FOREVER, str(place), way, package, str(value)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout.readline() == b"ready\n"
            time.sleep(generator.uniform(0.0, 0.08))
            process.kill()
        if not place.exists() and not list(place.parent.glob(".*.old")):
            continue  # killed before the first state was there
        files = open_preset(place)
        verify_manifest(files)
        values = {files.read_json(name)["value"] for name in files.names() if "mani" not in name}
        assert len(values) == 1
        assert values.pop() >= value
        value = files.read_json("config.json")["value"]
    return value


@pytest.mark.skipif(sys.platform == "win32", reason="the interrupted state needs POSIX renames")
@pytest.mark.parametrize("way", ["exchange", "two renames"])
def test_a_killed_process_leaves_the_old_state_or_the_new(tmp_path, way):
    place = tmp_path / "preset"
    assert kill_while_saving(place, way, rounds=13, seed=0) > 0
    with staged_directory(place) as directory:
        write_preset(directory)
    assert [path.name for path in tmp_path.iterdir()] == ["preset"], "leftovers were not removed"


def dead_process():
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def hidden_like(path, kind, process):
    name = staging._hidden(path, kind).name
    return path.with_name(re.sub(r"-\d+-", f"-{process}-", name))


def test_an_interrupted_replacement_is_undone_when_it_is_opened(preset):
    old = contents(preset)
    preset.rename(hidden_like(preset, "old", dead_process()))
    assert open_preset(preset).read_json("config.json") == {"value": 0}
    assert contents(preset) == old


def test_a_replacement_that_is_going_on_is_waited_for(preset, monkeypatch):
    monkeypatch.setattr(staging, "_PATIENCE", 0.05)
    preset.rename(hidden_like(preset, "old", os.getpid()))
    start = time.monotonic()
    restore_interrupted(preset)
    assert time.monotonic() - start >= 0.05
    assert preset.is_dir()


def test_two_who_restore_do_not_disturb_each_other(preset, monkeypatch):
    hidden = hidden_like(preset, "old", dead_process())
    preset.rename(hidden)
    monkeypatch.setattr(Path, "rename", lambda *_: (_ for _ in ()).throw(OSError("taken")))
    restore_interrupted(preset)
    assert hidden.is_dir()


def test_only_what_killed_processes_left_is_removed(preset):
    left = [hidden_like(preset, kind, dead_process()) for kind in ("staging", "old")]
    in_use = hidden_like(preset, "staging", os.getppid())
    elsewhere = preset.with_name(f".preset.elsewhere-{dead_process()}-01234567.staging")
    for path in (*left, in_use, elsewhere):
        path.mkdir()
    with staged_directory(preset) as directory:
        write_preset(directory)
    assert sorted(path for path in preset.parent.iterdir() if path != preset) == sorted(
        [in_use, elsewhere]
    )


def test_a_missing_directory_without_old_state_stays_missing(tmp_path):
    restore_interrupted(tmp_path / "nowhere" / "preset")
    assert not (tmp_path / "nowhere").exists()
