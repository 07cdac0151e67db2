"""Files of `torch.save`, read without PyTorch and without running anything."""

import contextlib
import functools
import io
import pickle
import pickletools
import struct
import subprocess
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clozework import presets
from clozework.errors import WeightsError
from clozework.presets.files import MemoryFiles
from clozework.presets.tensor_files import open_tensors

torch = pytest.importorskip("torch")
FORMATS = pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])
NAME = "pytorch_model.bin"


def save(content, *, is_zip=True):
    stream = io.BytesIO()
    torch.save(content, stream, _use_new_zipfile_serialization=is_zip)
    return stream.getvalue()


def load(content):
    tensors = open_tensors(MemoryFiles({NAME: content}))
    return {name: tensors[name] for name in tensors}


def zip_of(records, **options):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", **options) as archive:
        for name, content in records.items():
            archive.writestr(name, content)
    return stream.getvalue()


def records_of(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def with_pickle(content):
    """A zip file of PyTorch with another pickle in it, and a storage of 24 bytes."""
    if not isinstance(content, bytes):
        content = pickle.dumps(content, 2)
    return zip_of({"archive/data.pkl": content, "archive/data/0": bytes(24)})


class Called:
    """Pickles as a call of a name with arguments."""

    def __init__(self, name, *arguments):
        self.module, _, self.name = name.rpartition(".")
        self.arguments = arguments


class Named(Called):
    """Pickles as a name."""


class Persistent(tuple):
    """Pickles as a persistent id."""


class _Pickler(pickle._Pickler):
    """Writes any name, whether it exists or not."""

    def save(self, obj, save_persistent_id=True):
        if isinstance(obj, Named | Called):
            self.write(pickle.GLOBAL + f"{obj.module}\n{obj.name}\n".encode())
            if type(obj) is Called:
                super().save(obj.arguments)
                self.write(pickle.REDUCE)
        elif isinstance(obj, Persistent):
            super().save(tuple(obj))
            self.write(pickle.BINPERSID)
        else:
            super().save(obj, save_persistent_id)


def dump(obj):
    stream = io.BytesIO()
    _Pickler(stream, 2).dump(obj)
    return stream.getvalue()


def storage(kind="torch.FloatStorage", key="0", count=6):
    return Persistent(("storage", Named(kind), key, "cpu", count))


def tensor(stored=None, offset=0, shape=(2, 3), strides=(3, 1)):
    stored = storage() if stored is None else stored
    arguments = (stored, offset, shape, strides, False, Called("collections.OrderedDict"))
    return Called("torch._utils._rebuild_tensor_v2", *arguments)


# --- What PyTorch writes


def assert_same_as_torch(loaded, expected):
    assert set(loaded) == set(expected)
    for name, value in expected.items():
        value = value.detach()
        assert str(value.dtype) == f"torch.{loaded[name].dtype.name}", name
        assert loaded[name].shape == tuple(value.shape), name
        as_bytes = value.contiguous().flatten().view(torch.uint8).numpy().tobytes()
        assert np.ascontiguousarray(loaded[name]).tobytes() == as_bytes, name


@FORMATS
def test_a_state_dict_is_read(is_zip):
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    state = model.state_dict()
    assert_same_as_torch(load(save(state, is_zip=is_zip)), state)


@FORMATS
@pytest.mark.parametrize(
    "dtype",
    [
        *("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8"),
        *("bool", "complex64", "complex128", "float8_e4m3fn", "float8_e5m2"),
        *("uint16", "uint32", "uint64"),
    ],
)
def test_every_type_is_read(dtype, is_zip):
    state = {"x": torch.tensor([[1, 0, 3], [4, 5, 6]]).to(getattr(torch, dtype))}
    assert_same_as_torch(load(save(state, is_zip=is_zip)), state)


@FORMATS
def test_views_share_their_storage(is_zip):
    base = torch.arange(24.0)
    state = {
        "base": base,
        "slice": base[5:9],
        "transposed": base.reshape(4, 6).T,
        "steps": base[::3],
        "scalar": base[7],
        "none": base[3:3],
        "channels_last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
    }
    assert_same_as_torch(load(save(state, is_zip=is_zip)), state)


def test_shared_storage_is_not_copied():
    base = torch.arange(24.0)
    loaded = load(save({"a": base, "b": base[2:]}))
    assert np.shares_memory(loaded["a"], loaded["b"])
    assert not loaded["a"].flags.writeable


@FORMATS
def test_parameters_and_what_stands_beside_them(is_zip):
    weight = torch.nn.Parameter(torch.ones(2))
    state = {
        "model": {"weight": weight},
        "epoch": 3,
        "names": ["a", ("b", None, 1.5, b"bytes")],
        "shape": torch.Size([2]),
        "device": torch.device("cpu"),
        "dtype": torch.float32,
        "empty": {},
    }
    assert_same_as_torch(load(save(state, is_zip=is_zip)), {"model.weight": weight})


def test_big_endian_files_are_read():
    records = records_of(save({"x": torch.tensor([1.5, 2.5]), "b": torch.ones(2).bfloat16()}))
    swapped = {
        name: np.frombuffer(content, "<f4").astype(">f4").tobytes()
        if name.endswith("/0")
        else np.frombuffer(content, "<u2").astype(">u2").tobytes()
        if name.endswith("/1")
        else b"big"
        if name.endswith("byteorder")
        else content
        for name, content in records.items()
    }
    loaded = load(zip_of(swapped))
    np.testing.assert_array_equal(loaded["x"], np.float32([1.5, 2.5]))
    np.testing.assert_array_equal(loaded["b"].astype(np.float32), np.float32([1, 1]))


@FORMATS
def test_pytorch_is_not_imported(is_zip, tmp_path):
    (tmp_path / NAME).write_bytes(save({"x": torch.ones(3)}, is_zip=is_zip))
    code = (
        "import sys; sys.modules['clozework.presets'] = type(sys)('clozework.presets');"
        "sys.modules['clozework.presets'].__path__ = [sys.argv[2]];"
        "from clozework.presets.files import LocalFiles;"
        "from clozework.presets.tensor_files import open_tensors;"
        "print(open_tensors(LocalFiles(sys.argv[1]))['x'].tolist(), 'torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(tmp_path), str(Path(presets.__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[1.0, 1.0, 1.0] False"


def test_old_pickles_hold_pairs_in_a_list():
    pairs = Called("collections.OrderedDict", [["x", tensor()]])
    assert load(with_pickle(dump(pairs)))["x"].shape == (2, 3)


def test_newer_protocols_are_read():
    stream = io.BytesIO()
    torch.save({"x": torch.ones(2), "y": [1, {2: 3}]}, stream, pickle_protocol=4)
    np.testing.assert_array_equal(load(stream.getvalue())["x"], np.ones(2))


# --- What is refused


@FORMATS
@pytest.mark.parametrize("name", ["os.system", "builtins.eval", "torch.load", "torch.hub.load"])
def test_a_name_that_is_no_tensor_is_never_run(name, is_zip):
    content = dump({"x": Called(name, "echo run")})
    content = with_pickle(content) if is_zip else legacy_with(content)
    with pytest.raises(WeightsError, match=f"names '{name}'.* Nothing in the file was run"):
        load(content)


def test_real_exploits_are_not_run(tmp_path):
    class Exploit:
        def __reduce__(self):
            return open, (str(tmp_path / "run"), "w")

    for protocol in range(2, 6):
        with pytest.raises(WeightsError, match=r"names 'io.open'.* Nothing in the file was run"):
            load(with_pickle(pickle.dumps({"x": Exploit()}, protocol)))
    assert not (tmp_path / "run").exists()


def test_a_name_among_values_cannot_be_called():
    with pytest.raises(WeightsError, match=r"names 'torch.FloatStorage'"):
        load(with_pickle(dump({"x": Called("torch.FloatStorage", 10**12)})))


REFUSED = {
    "not a dict": (dump([1]), "it holds a list, not named tensors"),
    "object": (pickle.dumps(OrderedDict, 4)[:-1] + b")\x81.", "NEWOBJ has no place"),
    "instance": (b"(ios\nsystem\n.", "INST has no place"),
    "no stop": (b"}", "pickle exhausted before seeing STOP"),
    "empty": (b"", "pickle exhausted"),
    "underflow": (b"0.", "takes more from its stack"),
    "no mark": (b"t.", "has no mark"),
    "popped mark": (b"(R.", "takes more from its stack"),
    "remembered mark": (b"(q\0.", "remembers a mark"),
    "unknown memo": (b"h\0.", "recalls what it never remembered"),
    "odd items": (b"}(Nu.", "sets a key without a value"),
    "nested key": (b"}(N\x85Nu.", "uses a tuple as a key"),
    "items of a list": (b"](NNu.", "has no dict where it needs one"),
    "bad stack global": (b"NN\x93.", "names something by other than strings"),
    "call of nothing": (b"NN\x85R.", "calls something that has no name"),
    "wrong arguments": (dump(Called("torch._utils._rebuild_tensor_v2")), "with wrong arguments"),
    "pairs": (dump(Called("collections.OrderedDict", [1])), "is not made of pairs"),
    "no pairs": (dump(Called("collections.OrderedDict", 1)), "with wrong arguments"),
    "keys": (dump(Called("collections.OrderedDict", [((), 1)])), "key that is no string"),
    "long text": (b"\x8d" + b"\xff" * 8 + b".", "damaged"),
    "strange escape": (b"ccol\\lections\nOrderedDict\n.", "a name is not well-formed: .*escape"),
    "long number": (b"I" + b"1" * 10_000 + b"\n.", "damaged"),
    "no storage": (dump({"x": tensor(3)}), "has no storage of a known type"),
    "unknown storage": (
        dump({"x": tensor(Persistent(("storage", "x", "0", "cpu", 1)))}),
        "not described as torch.save does",
    ),
    "storage of another library": (
        dump({"x": tensor(storage("torch.storage.UntypedStorage"))}),
        "has no storage of a known type",
    ),
    "type as storage": (
        dump({"x": tensor(storage("torch.float32"))}),
        "the storage type 'float32' is not known",
    ),
    "negative storage": (dump({"x": tensor(storage(count=-1))}), "-1 elements"),
    "view of a storage": (
        dump({"x": tensor(Persistent((*storage(), ("v", 0, 1))))}),
        "is a view of another",
    ),
    "two descriptions": (
        dump({"x": tensor(), "y": tensor(storage(count=3))}),
        "'0' is described in two ways",
    ),
    "untyped without type": (
        dump({"x": Called("torch._utils._rebuild_tensor_v3", *[storage()] * 6, None)}),
        "no storage, or no type",
    ),
    "untyped of unknown type": (
        dump(
            {"x": Called("torch._utils._rebuild_tensor_v3", *[storage()] * 6, Named("torch.bool"))}
        ),
        "the type 'torch.bool' is not known",
    ),
    "missing storage": (dump({"x": tensor(storage(key="9"))}), "'x': its storage '9' is not in"),
    "longer storage": (dump({"x": tensor(storage(count=7))}), "'x': 24 bytes are stored of 28"),
    "ten terabytes": (
        dump({"x": tensor(storage(count=10**13), 0, (10**13,), (1,))}),
        "'x': 24 bytes are stored of",
    ),
    "beyond its storage": (dump({"x": tensor(None, 1)}), r"'x': shape \(2, 3\) at offset 1 takes"),
    "long strides": (dump({"x": tensor(None, 0, (2, 3), (4, 1))}), "'x': shape .* takes more than"),
    "expanded": (dump({"x": tensor(None, 0, (10**6, 10**6), (0, 0))}), "'x': shape .* takes more"),
    "negative stride": (dump({"x": tensor(None, 5, (6,), (-1,))}), "shape and strides do not go"),
    "negative shape": (dump({"x": tensor(None, 0, (-1,), (1,))}), "shape and strides do not go"),
    "ranks": (dump({"x": tensor(None, 0, (2,), (1, 1))}), "shape and strides do not go"),
    "shape of text": (dump({"x": tensor(None, 0, "ab", "ab")}), "shape and strides do not go"),
    "negative offset": (dump({"x": tensor(None, -1)}), "its offset is not a position"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_pickles_of_anything_else_are_refused(case):
    content, message = REFUSED[case]
    with pytest.raises(WeightsError, match=f"(?s)'{NAME}'.*{message}"):
        load(with_pickle(content))


def test_an_unknown_storage_type_is_forbidden():
    with pytest.raises(WeightsError, match=r"names 'torch.QInt8Storage'"):
        load(with_pickle(dump({"x": tensor(storage("torch.QInt8Storage"))})))


def test_dictionaries_within_themselves_end():
    looped = {"x": tensor()}
    looped["again"] = looped
    assert set(load(with_pickle(dump(looped)))) == {"x"}


def test_deep_and_wide_sharing_takes_no_time():
    nested = {"x": tensor()}
    for _ in range(15):
        nested = {str(i): nested for i in range(50)}
    assert len(load(with_pickle(dump(nested)))) == 1


def test_deep_tuples_do_not_overflow():
    content = b"}X\x01\0\0\0aN" + b"\x85" * 200_000 + b"s."
    assert load(with_pickle(content)) == {}


# --- Damage


def test_an_altered_tensor_is_named():
    content = bytearray(save({"first": torch.zeros(100), "second": torch.full((100,), 2.0)}))
    content[content.index(np.float32([2, 2]).tobytes())] ^= 1
    tensors = open_tensors(MemoryFiles({NAME: bytes(content)}))
    np.testing.assert_array_equal(tensors["first"], np.zeros(100))
    with pytest.raises(WeightsError, match="tensor 'second': its bytes differ from their checksum"):
        tensors["second"]


def test_an_altered_list_of_tensors_is_found():
    content = save({"weight_name": torch.zeros(3)}).replace(b"weight_name", b"weight_nama", 1)
    with pytest.raises(WeightsError, match="list of tensors differs from its checksum"):
        load(content)


def test_a_file_that_is_cut_short_is_named():
    content = save({"x": torch.zeros(1000)})
    with pytest.raises(WeightsError, match=f"'{NAME}': it is damaged or cut short"):
        load(content[: len(content) // 2])


def test_a_legacy_file_that_is_cut_short_names_the_tensor():
    content = save(OrderedDict(first=torch.zeros(1000), second=torch.ones(1000)), is_zip=False)
    with pytest.raises(WeightsError, match=r"tensor '(first|second)': .* it is cut short"):
        load(content[:-500])
    with pytest.raises(WeightsError, match=r"its storage .* is damaged or cut short"):
        load(content[:-4100])


def test_another_zip_file_is_refused():
    with pytest.raises(WeightsError, match=r"a zip archive, but none that torch.save wrote"):
        load(zip_of({"word/document.xml": b""}))


def test_compressed_records_are_refused():
    content = records_of(save({"x": torch.zeros(1000)}))
    with pytest.raises(WeightsError, match=r"is compressed, which torch.save never does"):
        load(zip_of(content, compression=zipfile.ZIP_DEFLATED))


def test_a_record_whose_header_is_damaged_is_named():
    content = save({"x": torch.zeros(3)})
    at = content.index(b"PK\x03\x04", 10)
    with pytest.raises(WeightsError, match=r"its record .* is damaged"):
        load(content[:at] + b"XX" + content[at + 2 :])


def test_a_record_that_reaches_beyond_the_file_is_named():
    content = bytearray(save({"x": torch.zeros(3)}))
    entry = content.index(b"archive/data/0", content.index(b"PK\x01\x02")) - 46
    struct.pack_into("<II", content, entry + 20, 10**6, 10**6)
    with pytest.raises(WeightsError, match=r"its record 'archive/data/0' is cut short"):
        load(bytes(content))


@pytest.mark.parametrize("content", [b"", b"\x80\x02", b"not a model", bytes(100)])
def test_other_files_are_refused(content):
    with pytest.raises(WeightsError, match=r"it is empty|it is no file that torch.save wrote"):
        load(content)


def legacy_with(root, system=None, keys=()):
    parts = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True} if system is None else system]
    return b"".join(pickle.dumps(part, 2) for part in parts) + root + pickle.dumps(list(keys), 2)


def test_legacy_files_with_strange_parts_are_refused():
    with pytest.raises(WeightsError, match="it has no list of storages"):
        load(legacy_with(dump({}), system=[1]))
    with pytest.raises(WeightsError, match="it lists a storage that no tensor has"):
        load(legacy_with(dump({}), keys=["0"]))


def test_legacy_pickles_that_claim_much_take_no_memory():
    with pytest.raises(WeightsError, match="its list of tensors is damaged"):
        load(legacy_with(b"\x8d" + struct.pack("<Q", 2**50) + b"."))


@functools.cache
def undamaged(is_zip):
    # Saved once: old files name storages by their addresses, so that no two are equally long.
    return save({"x": torch.zeros(3), "y": {"z": torch.ones(4)}}, is_zip=is_zip)


@FORMATS
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_damage_is_an_error_of_ours_or_other_values(data, is_zip):
    content = bytearray(undamaged(is_zip))
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(WeightsError):
        load(bytes(content[: data.draw(st.integers(len(content) // 2, len(content)))]))


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from([op.code.encode("latin-1") for op in pickletools.opcodes] + [b"\0"]))
)
def test_any_operations_are_an_error_of_ours_or_nothing(operations):
    with contextlib.suppress(WeightsError):
        load(with_pickle(b"".join(operations) + b"."))
