"""Which backend Keras gets, and what is left behind on the disk."""

import importlib.util
import json
import os
import subprocess
import sys

import pytest

from clozework import chosen_backend as backend
from clozework.errors import ConfigError, MissingPackageError


@pytest.fixture
def installation(monkeypatch, tmp_path):
    """A fresh home, no Keras imported, and the packages that the test says."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("KERAS_BACKEND", "")
    monkeypatch.delitem(sys.modules, "keras", raising=False)

    def install(*packages: str) -> None:
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name: object() if name in packages else None
        )

    return install


def pin(directory, name: str) -> None:
    (directory / "keras.json").write_text(json.dumps({"backend": name}))


def pinned(directory) -> str:
    return json.loads((directory / "keras.json").read_text())["backend"]


def test_jax_goes_before_torch(installation):
    installation("torch", "jax", "jaxlib", "tensorflow")
    assert backend.prepare_backend().backend == "jax"
    assert os.environ["KERAS_BACKEND"] == "jax"


def test_torch_is_taken_where_jax_is_missing(installation, tmp_path):
    installation("torch", "tensorflow")
    assert backend.prepare_backend().backend == "torch"
    assert pinned(tmp_path) == "torch"


def test_the_environment_variable_goes_before_all(installation, monkeypatch, tmp_path):
    installation("torch", "jax", "jaxlib")
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    assert backend.prepare_backend() == backend.BackendChoice(
        "torch", "the environment variable KERAS_BACKEND says so"
    )
    # Keras would pin TensorFlow here for every later import, whatever the variable says.
    assert pinned(tmp_path) == "jax"


def test_the_users_config_goes_before_our_preference(installation, tmp_path):
    installation("torch", "jax", "jaxlib")
    pin(tmp_path, "torch")
    choice = backend.prepare_backend()
    assert choice.backend == "torch"
    assert str(tmp_path / "keras.json") in choice.reason


def test_a_config_that_pins_a_missing_backend_is_neither_trusted_nor_changed(
    installation, tmp_path
):
    installation("torch", "jax", "jaxlib")
    pin(tmp_path, "tensorflow")
    choice = backend.prepare_backend()
    assert choice.backend == "jax"
    assert "'tensorflow' in" in choice.reason
    assert pinned(tmp_path) == "tensorflow"


@pytest.mark.parametrize("content", ["", "[]", '{"backend": 3}', "{"])
def test_a_broken_config_counts_as_none(installation, tmp_path, content):
    installation("jax", "jaxlib")
    (tmp_path / "keras.json").write_text(content)
    assert backend.prepare_backend().backend == "jax"


def test_nothing_is_chosen_or_written_where_no_backend_is_installed(installation, tmp_path):
    installation()
    assert backend.prepare_backend().backend is None
    assert os.environ["KERAS_BACKEND"] == ""
    assert not (tmp_path / "keras.json").exists()


def test_keras_that_is_imported_keeps_its_backend():
    import keras

    choice = backend.prepare_backend()
    assert choice.backend == keras.backend.backend()


def test_importing_the_package_imports_no_framework():
    code = (
        "import sys, clozework; "
        "print(*sorted({'keras', 'jax', 'torch', 'tensorflow', 'numpy'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.split() == []


@pytest.mark.parametrize("name", ["tensorflow", "nonsense"])
def test_a_backend_that_is_not_installed_is_named(name):
    result = subprocess.run(
        [sys.executable, "-c", "from clozework import models"],
        env={**os.environ, "KERAS_BACKEND": name},
        capture_output=True,
        text=True,
    )
    assert f"MissingPackageError: The backend '{name}', chosen because" in result.stderr
    assert "choose another with the environment variable KERAS_BACKEND" in result.stderr


def test_no_backend_at_all_is_said():
    nothing = backend.BackendChoice(None, "neither JAX nor PyTorch is installed")
    with pytest.raises(MissingPackageError, match="No backend is installed. Install one: pip"):
        backend.require_backend(nothing)


@pytest.mark.parametrize("content", ["[]", "3"])
def test_a_config_that_keras_cannot_take_is_named(content, tmp_path):
    (tmp_path / "keras.json").write_text(content)
    result = subprocess.run(
        [sys.executable, "-c", "from clozework import models"],
        env={**os.environ, "KERAS_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert f"ConfigError: Keras cannot be imported: its config {tmp_path}" in result.stderr
    assert f"keras.json holds {content}, not an object such as" in result.stderr


def test_a_config_that_keras_cannot_take_is_refused(installation, tmp_path):
    installation("jax", "jaxlib")
    (tmp_path / "keras.json").write_text("[]")
    with pytest.raises(ConfigError, match=r"Keras cannot be imported: .* Correct the file, or del"):
        backend.require_backend(backend.prepare_backend())
