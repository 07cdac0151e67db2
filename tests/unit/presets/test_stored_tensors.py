"""Bytes of files, read when they are asked for."""

import pytest

from clozework.errors import WeightsError
from clozework.presets.stored_tensors import FileBytes


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "weights"
    file.write_bytes(bytes(range(100)))
    return file


def test_a_part_is_read_only_and_where_a_program_can_use_it(path):
    part = FileBytes(path, "weights")[3:90]
    assert part.tobytes() == bytes(range(3, 90))
    assert part.ctypes.data % 64 == 0
    assert not part.flags.writeable


def test_what_lies_behind_the_end_is_left_out(path):
    content = FileBytes(path, "weights")
    assert content.size == 100
    assert content[95:200].tobytes() == bytes(range(95, 100))
    assert content[200:300].size == 0


def test_a_file_that_was_replaced_is_still_read(path):
    content = FileBytes(path, "weights")
    path.unlink()
    path.write_bytes(bytes(100))
    assert content[:10].tobytes() == bytes(range(10))


def test_a_file_that_gets_shorter_is_named(path):
    content = FileBytes(path, "weights")
    with path.open("r+b") as stream:
        stream.truncate(50)
    with pytest.raises(WeightsError, match="Weights file 'weights'.*cut short while it was read"):
        content[40:60]
