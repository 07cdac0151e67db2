"""`clozework doctor`."""

import subprocess
import tomllib
from pathlib import Path

import pytest

import clozework as package
from clozework.chosen_backend import BackendChoice
from clozework.cli.printing import as_size

PYPROJECT = Path(__file__).parents[3] / "pyproject.toml"


@pytest.fixture
def choose(monkeypatch):
    """Makes it look as if a backend had been chosen."""

    def choose(backend, reason="the test says so"):
        monkeypatch.setattr(package, "backend_choice", BackendChoice(backend, reason))
        monkeypatch.setenv("KERAS_BACKEND", backend or "")

    return choose


def test_versions_choice_and_caches_are_reported(clozework, monkeypatch, tmp_path):
    monkeypatch.setenv("CLOZEWORK_CACHE", str(tmp_path))
    (tmp_path / "program").write_bytes(bytes(1234))
    report = clozework("doctor", "--json").json
    assert report["clozework"] == package.__version__
    assert report["backend"]["backend"] in report["backends"]
    assert report["backends"]["jax"]["devices"]
    assert report["caches"]["Clozework"] == {"path": str(tmp_path), "size": 1234}
    assert report["problem"] is None


def test_people_read_the_same(clozework, monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (tmp_path / "keras.json").write_text('{"backend": "tensorflow"}')
    result = clozework("doctor")
    assert result.code == 0
    assert f"{tmp_path / 'keras.json'} says 'tensorflow'" in result.out


def test_no_backend_at_all_ends_with_advice(clozework, choose):
    choose(None, "neither JAX nor PyTorch is installed")
    result = clozework("doctor")
    assert result.code == 1
    assert "none: neither JAX nor PyTorch is installed" in result.out
    assert result.err == "Error: No backend is installed. Install one: pip install jax\n"


def test_a_backend_that_keras_cannot_import_ends_with_advice(clozework, choose):
    choose("no_such_backend")
    result = clozework("doctor", "--json")
    assert result.code == 1
    assert "chosen because the test says so" in result.json["problem"]
    assert "KERAS_BACKEND" in result.err


def test_an_import_that_never_ends_is_given_up(clozework, monkeypatch):
    def run(*_, timeout, **__):
        raise subprocess.TimeoutExpired("python", timeout)

    monkeypatch.setattr(subprocess, "run", run)
    assert "did not finish within 120 seconds" in clozework("doctor").err


@pytest.fixture
def devices(monkeypatch):
    """Makes it look as if there were an NVIDIA GPU, and backends had some devices."""
    from clozework.cli import doctor

    def devices(*names, problem=None):
        probed = doctor._Probed("1.0", names, problem)
        monkeypatch.setattr(doctor, "_probe", lambda code: probed)
        monkeypatch.setattr(doctor.shutil, "which", lambda name: f"/usr/bin/{name}")

    return devices


@pytest.mark.parametrize(("backend", "device"), [("jax", "TFRT_CPU_0"), ("torch", "cpu")])
def test_a_gpu_that_the_backend_does_not_use_is_said(clozework, choose, devices, backend, device):
    choose(backend)
    devices(device)
    assert "pip install 'clozework[cuda]'" in clozework("doctor", "--json").json["unused_gpu"]
    assert f"for {backend} to compute there" in clozework("doctor").out


@pytest.mark.parametrize(
    ("backend", "names"),
    [("jax", ["cuda:0"]), ("torch", ["cpu", "NVIDIA H200"]), ("openvino", ["CPU"])],
)
def test_nothing_is_said_of_a_gpu_that_is_used_or_not_meant(
    clozework, choose, devices, backend, names
):
    choose(backend)
    devices(*names)
    assert clozework("doctor", "--json").json["unused_gpu"] is None


def test_nothing_is_said_of_a_gpu_where_the_backend_cannot_be_imported(clozework, choose, devices):
    choose("jax")
    devices(problem="it is broken")
    assert clozework("doctor", "--json").json["unused_gpu"] is None


def test_nothing_is_said_where_there_is_no_gpu(clozework, choose, devices, monkeypatch):
    from clozework.cli import doctor

    choose("jax")
    devices("TFRT_CPU_0")
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    assert clozework("doctor", "--json").json["unused_gpu"] is None


def test_every_extra_for_users_is_known_to_the_doctor():
    from clozework.cli.doctor import _OPTIONAL

    extras = tomllib.loads(PYPROJECT.read_text())["project"]["optional-dependencies"]
    assert {extra for extra, _ in _OPTIONAL.values()} == set(extras) - {"docs", "test"}


@pytest.mark.parametrize(
    ("num_bytes", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (5e12, "5000.0 GB")]
)
def test_sizes_are_written_for_people(num_bytes, text):
    assert as_size(int(num_bytes)) == text
