"""Safetensors, and the choice among the weight files of transformers."""

import contextlib
import json
import struct
import tracemalloc
from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clozework.errors import PresetNotFoundError, WeightsError
from clozework.presets import stored_tensors
from clozework.presets.files import LocalFiles, MemoryFiles
from clozework.presets.tensor_files import open_tensors, read_safetensors, write_safetensors

TENSORS = {
    "a.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "b.bias": np.array([1.5, -2.0], dtype=ml_dtypes.bfloat16),
    "c.scalar": np.array(7, dtype=np.int64),
    "d.empty": np.zeros((0, 4), np.float16),
    "e.flags": np.array([True, False, True]),
    "f.eighth": np.array([0.5], dtype=ml_dtypes.float8_e4m3fn),
}


def encode(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def one(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"x": {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}}


def load(content):
    tensors = open_tensors(MemoryFiles({"model.safetensors": content}))
    return {name: tensors[name] for name in tensors}


def assert_same_tensors(actual, expected):
    assert set(actual) == set(expected)
    for name, value in expected.items():
        assert actual[name].dtype == value.dtype, name
        assert actual[name].shape == value.shape, name
        assert actual[name].tobytes() == value.tobytes(), name


def test_what_is_written_is_read(tmp_path):
    write_safetensors(tmp_path / "model.safetensors", TENSORS)
    assert_same_tensors(open_tensors(LocalFiles(tmp_path)), TENSORS)


@pytest.mark.parametrize("shape", [(0, 4), (1, 7), (21, 5), (300, 40)])
@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16, np.int8])
@pytest.mark.parametrize("bytes_read", [1, 100, 2**19])
def test_a_matrix_is_turned_while_it_is_read(tmp_path, monkeypatch, shape, dtype, bytes_read):
    monkeypatch.setattr(stored_tensors, "_BYTES_READ", bytes_read)
    matrix = np.random.default_rng(0).integers(0, 100, shape).astype(dtype)
    tensors = {"before": np.zeros(3, np.float32), "matrix": matrix}
    write_safetensors(tmp_path / "model.safetensors", tensors)
    entry = open_tensors(LocalFiles(tmp_path)).entries["matrix"]

    for stored in (entry, replace(entry, read_rows=None)):
        turned = stored.read_turned()
        np.testing.assert_array_equal(turned, matrix.T)
        assert turned.dtype == dtype
        assert turned.flags.c_contiguous
        assert turned.ctypes.data % 64 == 0 or not turned.size


def test_a_matrix_is_turned_without_a_second_copy_of_it(tmp_path):
    matrix = np.ones((1000, 1000), np.float32)
    write_safetensors(tmp_path / "model.safetensors", {"matrix": matrix})
    entry = open_tensors(LocalFiles(tmp_path)).entries["matrix"]
    tracemalloc.start()
    entry.read_turned()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.5 * matrix.nbytes


def test_what_we_write_safetensors_reads(tmp_path):
    # Its NumPy side knows no 8-bit floats.
    tensors = {name: value for name, value in TENSORS.items() if name != "f.eighth"}
    write_safetensors(tmp_path / "model.safetensors", tensors)
    assert_same_tensors(safetensors.numpy.load_file(tmp_path / "model.safetensors"), tensors)
    with safetensors.safe_open(tmp_path / "model.safetensors", "np") as file:
        assert file.metadata() == {"format": "pt"}


def test_what_safetensors_writes_we_read(tmp_path):
    safetensors.numpy.save_file(TENSORS, tmp_path / "model.safetensors")
    assert_same_tensors(open_tensors(LocalFiles(tmp_path)), TENSORS)


def test_arrays_in_other_orders_are_written_plainly(tmp_path):
    odd = {"t": np.arange(6.0).reshape(2, 3).T, "big": np.arange(3, dtype=">i4")}
    write_safetensors(tmp_path / "model.safetensors", odd, metadata={"format": "np"})
    loaded = open_tensors(LocalFiles(tmp_path))
    np.testing.assert_array_equal(loaded["t"], odd["t"])
    np.testing.assert_array_equal(loaded["big"], odd["big"])


def test_a_type_that_cannot_be_stored_is_refused(tmp_path):
    with pytest.raises(WeightsError, match="Tensor 'x' has type complex128"):
        write_safetensors(tmp_path / "x", {"x": np.zeros(1, np.complex128)})


def test_values_are_mapped_and_read_only(tmp_path):
    write_safetensors(tmp_path / "model.safetensors", TENSORS)
    value = open_tensors(LocalFiles(tmp_path))["a.weight"]
    assert not value.flags.owndata
    assert not value.flags.writeable
    assert value.flags.aligned


def test_entries_describe_tensors_without_reading(tmp_path):
    write_safetensors(tmp_path / "model.safetensors", TENSORS)
    tensors = open_tensors(LocalFiles(tmp_path))
    entry = tensors.entries["a.weight"]
    assert (entry.shape, entry.dtype, entry.file) == ((2, 3), np.float32, "model.safetensors")
    assert repr(tensors) == "<StoredTensors: 6>"
    assert "a.weight" in tensors
    assert "nothing" not in tensors


DAMAGED = {
    "no header": (b"1234567", "it has 7 bytes and is cut short"),
    "absurd header": (b"\xff" * 8, "claims .* it is no safetensors file"),
    "header beyond the end": (struct.pack("<Q", 99) + b"{}", "its header has 99 bytes"),
    "no JSON": (encode(b"{"), "its header is not valid"),
    "no UTF-8": (encode(b'{"\xff": 1}'), "its header is not valid"),
    "deep JSON": (encode(b"[" * 100_000), "its header is not valid"),
    "repeated name": (encode(b'{"x": 1, "x": 2}'), "a tensor is named twice"),
    "no object": (encode([]), "its header is not an object"),
    "no entry": (encode({"x": 3}), "tensor 'x': its entry in the header is not an object"),
    "unknown type": (encode(one(dtype="F128")), "tensor 'x': its type 'F128' is none of BOOL"),
    "negative shape": (encode(one(shape=(-1,))), r"tensor 'x': \[-1\] is not a shape"),
    "shape of floats": (encode(one(shape=(1.0,))), r"tensor 'x': \[1.0\] is not a shape"),
    "endless shape": (encode(one(shape=[1] * 99)), "tensor 'x': .* is not a shape"),
    "no offsets": (encode(one(offsets=(1,))), r"tensor 'x': \[1\] are not two offsets"),
    "reversed offsets": (encode(one(offsets=(8, 0))), "tensor 'x': .* are not two offsets"),
    "too few bytes": (encode(one(offsets=(0, 4)), b"1234"), r"4 bytes .* shape \[2\] of type F32"),
    "cut short": (encode(one(), b"1234"), "tensor 'x': it ends at byte .*, but the file has"),
    "ten terabytes": (
        encode(one(shape=(10**13,), offsets=(0, 4 * 10**13))),
        "tensor 'x': it ends at byte",
    ),
    "overflow": (encode(one(shape=(2**40, 2**40))), "8 bytes are stored for shape"),
    "a hole": (encode(one(offsets=(4, 12)), b"1" * 12), "starts at byte 4 of the data, not at 0"),
    "bytes left over": (encode(one(), b"1" * 12), "4 bytes belong to no tensor"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_files_are_named(case):
    content, message = DAMAGED[case]
    with pytest.raises(WeightsError, match=f"'model.safetensors'.*{message}"):
        load(content)


def test_tensors_that_overlap_are_refused():
    header = {**one(), "y": one(offsets=(4, 12))["x"]}
    with pytest.raises(WeightsError, match="tensor 'y': it starts at byte 4 of the data, not at 8"):
        load(encode(header, b"1" * 12))


def test_an_empty_file_is_cut_short():
    with pytest.raises(WeightsError, match="it has 0 bytes and is cut short"):
        load(b"")


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_damage_is_an_error_of_ours_or_other_values(data, tmp_path):
    write_safetensors(tmp_path / "model.safetensors", TENSORS)
    content = bytearray((tmp_path / "model.safetensors").read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(WeightsError):
        load(bytes(content[: data.draw(st.integers(0, len(content)))]))


# --- Shards


def write_shards(directory, weight_map):
    for shard in set(weight_map.values()):
        own = {name: TENSORS[name] for name, file in weight_map.items() if file == shard}
        write_safetensors(directory / shard, own)
    index = {"metadata": {"total_size": 1}, "weight_map": weight_map}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))


def test_shards_are_one_mapping(tmp_path):
    names = list(TENSORS)
    weight_map = {name: f"model-{i % 2}.safetensors" for i, name in enumerate(names)}
    write_shards(tmp_path, weight_map)
    tensors = open_tensors(LocalFiles(tmp_path))
    assert_same_tensors(tensors, TENSORS)
    assert tensors.entries[names[1]].file == "model-1.safetensors"


def test_a_missing_shard_is_not_found(tmp_path):
    write_shards(tmp_path, {"a.weight": "model-1.safetensors"})
    (tmp_path / "model-1.safetensors").unlink()
    with pytest.raises(PresetNotFoundError, match=r"has no file 'model-1.safetensors'"):
        open_tensors(LocalFiles(tmp_path))


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ({}, "it has no 'weight_map'"),
        ({"weight_map": []}, "it has no 'weight_map'"),
        ({"weight_map": {"x": 3}}, "tensor 'x': 3 is not the name of a file"),
        ({"weight_map": {"x": "../x"}}, "is not the name of a file inside a preset"),
        ({"weight_map": {"x": "model.bin"}}, "tensor 'x': it is not there, though"),
    ],
)
def test_a_damaged_index_is_named(index, message):
    files = {"model.safetensors.index.json": index, "model.bin": encode({})}
    with pytest.raises(ValueError, match=message):
        open_tensors(MemoryFiles(files))


def test_safetensors_go_before_pickles():
    files = {"model.safetensors": encode(one(), b"1" * 8), "pytorch_model.bin": b"never read"}
    assert list(open_tensors(MemoryFiles(files))) == ["x"]


def test_a_preset_without_weights_says_what_was_expected():
    with pytest.raises(PresetNotFoundError, match=r"Expected one of: model.safetensors, model\."):
        open_tensors(MemoryFiles({"config.json": "{}"}, name="toy"))


def test_one_file_can_be_read_alone(tmp_path):
    write_safetensors(tmp_path / "other.safetensors", TENSORS)
    assert set(read_safetensors(LocalFiles(tmp_path), "other.safetensors")) == set(TENSORS)
