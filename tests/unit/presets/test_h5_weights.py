"""Keras's weight files: read and written, whole and in shards, and damaged."""

import contextlib
import json

import h5py
import keras
import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clozework.errors import ConfigError, PresetNotFoundError, WeightsError
from clozework.presets import h5_weights
from clozework.presets.files import LocalFiles
from clozework.presets.h5_weights import read_h5, write_h5

NAME = "model.weights.h5"
INDEX = "model.weights.json"
VALUES = {
    "layers/dense/vars/0": np.arange(12, dtype=np.float32).reshape(4, 3),
    "layers/dense/vars/1": np.array([1, 2, 3], dtype=ml_dtypes.bfloat16),
    "layers/dense_1/_inner/vars/0": np.array([[-1, 5]], dtype=np.int8),
    "layers/dense_1/vars/0": np.float16(2.5),
    "vars/0": np.zeros((0, 2), np.float64),
    "vars/1": np.array([True, False]),
}
NAMES = {"": "toy", "layers/dense": "hidden", "layers/dropout": "dropout"}


@pytest.fixture
def saved(tmp_path):
    write_h5(tmp_path, NAME, VALUES, NAMES)
    return tmp_path


def load(directory, name=NAME):
    tensors = read_h5(LocalFiles(directory), name)
    return {path: tensors[path] for path in tensors}


def toy_model():
    keras.utils.set_random_seed(0)
    layers = [
        keras.layers.Input((4,)),
        keras.layers.Dense(300, name="hidden"),
        keras.layers.Dropout(0.1),
        keras.layers.Dense(200, dtype="bfloat16"),
        keras.layers.Dense(100),
    ]
    return keras.Sequential(layers, name="toy")


def assert_same_values(actual, expected):
    assert set(actual) == set(expected)
    for path, value in expected.items():
        assert actual[path].dtype == value.dtype, path
        assert actual[path].shape == value.shape, path
        assert actual[path].tobytes() == value.tobytes(), path


def assert_same_weights(one, other):
    for mine, theirs in zip(one.weights, other.weights, strict=True):
        mine, theirs = (keras.ops.convert_to_numpy(weight.value) for weight in (mine, theirs))
        np.testing.assert_array_equal(mine.astype("float32"), theirs.astype("float32"))


# --- As Keras does


def test_what_is_written_is_read(saved):
    assert_same_values(load(saved), VALUES)


def test_names_of_layers_are_kept_where_keras_keeps_them(saved):
    with h5py.File(saved / NAME) as root:
        names = {path: root[path].attrs["name"] for path in ("vars", "layers/dense/vars")}
        assert names == {"vars": "toy", "layers/dense/vars": "hidden"}
        assert list(root["layers/dropout/vars"]) == []
        assert root["layers/dense/vars/1"].dtype == np.dtype("V2")
        assert root["layers/dense/vars/1"].attrs["dtype"] == "bfloat16"


@pytest.mark.parametrize("max_shard_size", [10, 130_000 / 2**30])
def test_keras_loads_what_we_write(tmp_path, max_shard_size):
    model = toy_model()
    model.save_weights(tmp_path / "keras.weights.h5")
    values = read_h5(LocalFiles(tmp_path), "keras.weights.h5")
    ordered = {path: values[path] for path in sorted(values)}
    files = write_h5(tmp_path, NAME, ordered, NAMES, max_shard_size=max_shard_size)
    assert len(files) == (1 if max_shard_size == 10 else 3)
    other = keras.models.clone_model(model)
    other.load_weights(tmp_path / files[0])
    assert_same_weights(model, other)


@pytest.mark.parametrize("max_shard_size", [None, 130_000 / 2**30])
def test_what_keras_writes_we_read(tmp_path, max_shard_size):
    model = toy_model()
    name = NAME if max_shard_size is None else INDEX
    model.save_weights(tmp_path / name, max_shard_size=max_shard_size)
    values = load(tmp_path)
    stored = [values[path] for path in ("layers/dense/vars/0", "layers/dense_1/vars/1")]
    for weight, value in zip((model.weights[0], model.weights[3]), stored, strict=True):
        expected = keras.ops.convert_to_numpy(weight.value)
        np.testing.assert_array_equal(expected.astype("float32"), value.astype("float32"))
    assert len(values) == 6


def test_a_layer_may_be_split_over_shards(tmp_path):
    values = {f"layers/dense/vars/{i}": np.full(100, i, np.float32) for i in range(5)}
    files = write_h5(tmp_path, NAME, values, {}, max_shard_size=900 / 2**30)
    shards = [f"model_{i:05}.weights.h5" for i in range(3)]
    assert files == [INDEX, *shards]
    assert json.loads((tmp_path / INDEX).read_text()) == {
        "metadata": {"total_size": 2000},
        "weight_map": {"/layers/dense/vars": shards},
    }
    assert_same_values(load(tmp_path), values)
    assert read_h5(LocalFiles(tmp_path), NAME).entries["layers/dense/vars/4"].file == shards[2]


def test_a_tensor_larger_than_a_shard_is_refused(tmp_path):
    with pytest.raises(
        ConfigError, match=r"max_shard_size is .* but the weights at 'vars/0' alone"
    ):
        write_h5(tmp_path, NAME, {"vars/0": np.zeros(100)}, {}, max_shard_size=799 / 2**30)


def test_files_of_older_keras_have_the_paths_of_today(tmp_path):
    with h5py.File(tmp_path / NAME, "w") as root:
        root["_layer_checkpoint_dependencies/dense/vars/0"] = np.ones(2, ">f4")
    assert_same_values(load(tmp_path), {"layers/dense/vars/0": np.ones(2, np.float32)})


def test_values_are_mapped_and_read_only(saved):
    value = read_h5(LocalFiles(saved), NAME)["layers/dense/vars/0"]
    assert not value.flags.owndata
    assert not value.flags.writeable


def test_files_are_closed_after_they_are_opened(saved):
    tensors = read_h5(LocalFiles(saved), NAME)
    with h5py.File(saved / NAME, "r+") as root:
        root.attrs["written"] = 1
    assert len(tensors) == len(VALUES)


def test_values_in_pieces_are_read(tmp_path):
    with h5py.File(tmp_path / NAME, "w") as root:
        root.create_dataset("vars/0", data=np.arange(100.0), chunks=(7,))
        half = np.ones(3, ml_dtypes.bfloat16).view("V2")
        root.create_dataset("vars/1", data=half, chunks=(3,)).attrs["dtype"] = "bfloat16"
    half = np.ones(3, ml_dtypes.bfloat16)
    assert_same_values(load(tmp_path), {"vars/0": np.arange(100.0), "vars/1": half})


def test_values_in_pieces_that_vanish_are_reported(tmp_path):
    with h5py.File(tmp_path / NAME, "w") as root:
        root.create_dataset("vars/0", data=np.arange(100.0), chunks=(100,))
    tensors = read_h5(LocalFiles(tmp_path), NAME)
    (tmp_path / NAME).write_bytes(b"")
    with pytest.raises(WeightsError, match="tensor 'vars/0': it cannot be read"):
        tensors["vars/0"]


def test_no_weights_are_not_found(tmp_path):
    with pytest.raises(PresetNotFoundError, match=f"neither '{NAME}' nor '{INDEX}' is there"):
        load(tmp_path)


# --- Damaged and hostile files


def test_a_file_that_is_cut_short_names_what_is_missing(tmp_path):
    values = {f"layers/dense_{i}/vars/0": np.full(1000, i, np.float32) for i in range(9)}
    write_h5(tmp_path, NAME, values, {})
    content = (tmp_path / NAME).read_bytes()
    (tmp_path / NAME).write_bytes(content[: len(content) - 5000])
    with pytest.raises(WeightsError, match=rf"'{NAME}', tensor 'layers/dense_\d.*(cut|damaged)"):
        load(tmp_path)


def test_a_file_whose_end_alone_is_missing_is_cut_short(tmp_path):
    with h5py.File(tmp_path / NAME, "w") as root:
        root["vars/0"] = np.ones(10)
        root.create_group("unused")
    content = (tmp_path / NAME).read_bytes()
    (tmp_path / NAME).write_bytes(content[:-1])
    with pytest.raises(WeightsError, match=f"'{NAME}'.*it is (cut short at|damaged)"):
        load(tmp_path)


def test_the_last_tensor_that_is_cut_short_is_named(tmp_path):
    with h5py.File(tmp_path / NAME, "w", libver="latest") as root:
        root["vars/0"] = np.ones(1000)
    content = (tmp_path / NAME).read_bytes()
    (tmp_path / NAME).write_bytes(content[:-100])
    with pytest.raises(WeightsError, match=r"'vars/0': it ends at byte \d+, but the file is cut"):
        load(tmp_path)


def test_a_damaged_file_cannot_ask_for_much_memory(tmp_path):
    (tmp_path / NAME).write_bytes(b"")
    with h5_weights._Padded(tmp_path / NAME) as padded, pytest.raises(OSError, match="at once"):
        padded.readinto(memoryview(bytearray(2**26 + 1)))


@pytest.mark.parametrize("content", [b"", b"no HDF5", b"\x89HDF\r\n\x1a\n" + bytes(200)])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(WeightsError, match=f"'{NAME}': it is damaged, or no HDF5 file"):
        load(tmp_path)


def make_soft_link(root, directory):
    root["vars/0"] = np.ones(2)
    root["vars/1"] = h5py.SoftLink("/vars/0")


def make_external_link(root, directory):
    with h5py.File(directory / "other.h5", "w") as other:
        other["x"] = np.ones(2)
    root["vars/0"] = h5py.ExternalLink("other.h5", "/x")


def make_external_storage(root, directory):
    (directory / "secret").write_bytes(bytes(16))
    root.create_dataset("vars/0", (2,), "f8", external=[("secret", 0, 16)])


def make_virtual(root, directory):
    layout = h5py.VirtualLayout((2,), "f8")
    layout[:] = h5py.VirtualSource("other.h5", "x", (2,))
    root.create_virtual_dataset("vars/0", layout)


def make_compressed(root, directory):
    root.create_dataset("vars/0", data=np.zeros(10**6), compression="gzip")


def make_unallocated(root, directory):
    root.create_dataset("vars/0", (10**13,), "f4")


def make_unallocated_chunks(root, directory):
    root.create_dataset("vars/0", (10**13,), "f4", chunks=(1000,))


def make_text(root, directory):
    root["vars/0"] = "text"


def make_compound(root, directory):
    root["vars/0"] = np.zeros(2, [("a", "f4"), ("b", "i4")])


def make_void(root, directory):
    root["vars/0"] = np.zeros(2, "V2")


def make_type(root, directory):
    root["vars/0"] = np.dtype("f4")


def make_circle(root, directory):
    root.create_group("layers/dense")
    root["layers/dense/again"] = root["layers"]


def make_deep(root, directory):
    root["/".join(["layers"] * 70) + "/0"] = np.ones(1)


HOSTILE = {
    make_soft_link: "'vars/1': it is a link",
    make_external_link: "'vars/0': it is a link",
    make_external_storage: "'vars/0': its values are in another file",
    make_virtual: "'vars/0': its values are in another file",
    make_compressed: "'vars/0': it is compressed",
    make_unallocated: "'vars/0': shape .* takes 40000000000000 bytes, but 0 are stored",
    make_unallocated_chunks: "'vars/0': shape .* takes 40000000000000 bytes, but 0 are stored",
    make_text: "'vars/0': shape .* of type object is no tensor",
    make_compound: "'vars/0': shape .* is no tensor",
    make_void: r"'vars/0': shape \(2,\) of type \|V2 is no tensor",
    make_type: "'vars/0': it is a link, or no tensor",
    make_circle: "'layers/dense/again': the groups of the file are nested without end",
    make_deep: "nested without end",
}


@pytest.mark.parametrize("make", HOSTILE, ids=lambda make: make.__name__)
def test_hostile_files_are_refused(make, tmp_path):
    with h5py.File(tmp_path / NAME, "w") as root:
        make(root, tmp_path)
    with pytest.raises(WeightsError, match=f"'{NAME}', tensor .*{HOSTILE[make]}"):
        load(tmp_path)


def test_a_file_that_is_cut_short_is_named(tmp_path):
    write_h5(tmp_path, NAME, {"vars/0": np.ones(50_000, "float32")}, {})
    content = (tmp_path / NAME).read_bytes()
    (tmp_path / NAME).write_bytes(content[:100_000])
    with pytest.raises(WeightsError, match=r"cut short|truncated"):
        load(tmp_path)


def test_a_block_before_the_file_is_refused(tmp_path):
    with h5py.File(tmp_path / NAME, "w", userblock_size=512) as root:
        root["vars/0"] = np.ones(2)
    with pytest.raises(WeightsError, match="foreign bytes stand before its beginning"):
        load(tmp_path)


def shards_of(tmp_path):
    values = {f"layers/dense_{i}/vars/0": np.full(100, i, np.float32) for i in range(3)}
    write_h5(tmp_path, NAME, values, {}, max_shard_size=500 / 2**30)
    return json.loads((tmp_path / INDEX).read_text())["weight_map"]


SHARDS = {
    "nothing": (lambda index: {}, "it has no 'weight_map'"),
    "a list": (lambda index: {"weight_map": [1]}, "it has no 'weight_map'"),
    "a number": (
        lambda index: {"weight_map": {**index, "/vars": 3}},
        "'/vars': its entry is not the name of a file",
    ),
    "no file": (
        lambda index: {"weight_map": {**index, "/vars": []}},
        "'/vars': its entry is not the name of a file",
    ),
    "a path": (
        lambda index: {"weight_map": {**index, "/vars": "../x.h5"}},
        "is not the name of a file inside a preset",
    ),
    "unlisted": (
        lambda index: {"weight_map": {**index, "/layers/dense_0/vars": "model_00001.weights.h5"}},
        "'layers/dense_0/vars': the file and the list in 'model.weights.json' differ",
    ),
    "missing": (
        lambda index: {"weight_map": {**index, "/vars": "model_00001.weights.h5"}},
        "'vars': the file and the list in 'model.weights.json' differ",
    ),
}


@pytest.mark.parametrize("case", SHARDS)
def test_a_damaged_index_of_shards_is_named(case, tmp_path):
    change, message = SHARDS[case]
    (tmp_path / INDEX).write_text(json.dumps(change(shards_of(tmp_path))))
    with pytest.raises(ValueError, match=message):
        load(tmp_path)


def test_a_tensor_in_two_shards_is_refused(tmp_path):
    index = shards_of(tmp_path)
    first, second = index["/layers/dense_0/vars"], index["/layers/dense_1/vars"]
    with h5py.File(tmp_path / second, "a") as root:
        root["layers/dense_0/vars/0"] = np.ones(100, np.float32)
    index["/layers/dense_0/vars"] = [first, second]
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": index}))
    with pytest.raises(WeightsError, match=f"'{second}', tensor .* it is in '{first}' as well"):
        load(tmp_path)


def test_a_missing_shard_is_not_found(tmp_path):
    shard = shards_of(tmp_path)["/layers/dense_1/vars"]
    (tmp_path / shard).unlink()
    with pytest.raises(PresetNotFoundError, match=f"has no file '{shard}'"):
        load(tmp_path)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_damage_is_an_error_of_ours_or_other_values(data, saved):
    content = bytearray((saved / NAME).read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    damaged = saved / "damaged"
    damaged.mkdir(exist_ok=True)
    length = data.draw(st.integers(len(content) // 2, len(content)))
    (damaged / NAME).write_bytes(content[:length])
    with contextlib.suppress(WeightsError):
        load(damaged)
