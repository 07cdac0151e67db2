"""Which backend Keras gets; none is imported for it."""

import importlib.util
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from clozework.errors import ConfigError, MissingPackageError

__all__ = [
    "BackendChoice",
    "configured_backend",
    "installed_backends",
    "keras_config_path",
    "prepare_backend",
    "require_backend",
]

_PREFERENCE = ("jax", "torch")
# Keras's name of a backend -> the packages without which it cannot be imported.
_PACKAGES = {
    "jax": ("jax", "jaxlib"),
    "torch": ("torch",),
    "tensorflow": ("tensorflow",),
    "openvino": ("openvino",),
    "numpy": ("numpy",),
}


@dataclass(frozen=True)
class BackendChoice:
    """Which backend Keras gets.

    Attributes:
        backend: Keras's name of it; None where none is installed.
        reason: Why this one, as the end of a sentence.
    """

    backend: str | None
    reason: str


def prepare_backend() -> BackendChoice:
    """Sees to it that `import keras` finds a backend that is installed.

    The choice is `KERAS_BACKEND`, else the user's Keras config if its backend can be imported, else
    JAX, else PyTorch. Changes nothing once Keras is imported, or where no backend is installed.
    """
    if "keras" in sys.modules:
        import keras

        return BackendChoice(keras.backend.backend(), "Keras was imported before Clozework")
    configured = configured_backend()
    installed = installed_backends()
    preferred = next((name for name in _PREFERENCE if name in installed), None)
    if configured is None and preferred is not None:
        _write_keras_config(preferred)
    asked = os.environ.get("KERAS_BACKEND")
    if asked:
        return BackendChoice(asked, "the environment variable KERAS_BACKEND says so")
    if configured in installed:
        choice = BackendChoice(configured, f"{keras_config_path()} says so")
    elif preferred is not None:
        passed = (
            f"{configured!r} in {keras_config_path()} is not installed, and " if configured else ""
        )
        choice = BackendChoice(preferred, f"{passed}it is the first installed of JAX and PyTorch")
    else:
        return BackendChoice(None, "neither JAX nor PyTorch is installed")
    os.environ["KERAS_BACKEND"] = str(choice.backend)
    return choice


def require_backend(choice: BackendChoice) -> None:
    """Raises `MissingPackageError` if the chosen backend is not there; imports nothing.

    Raises `ConfigError` if Keras could not be imported for its config.
    """
    _check_keras_config()
    if choice.backend in installed_backends():
        return
    if choice.backend is None:
        raise MissingPackageError("No backend is installed. Install one: pip install jax")
    raise MissingPackageError(
        f"The backend {choice.backend!r}, chosen because {choice.reason}, is not installed. "
        f"Install it, or choose another with the environment variable KERAS_BACKEND. Installed: "
        f"{', '.join(installed_backends()) or 'none'}."
    )


def installed_backends() -> tuple[str, ...]:
    """Returns Keras's names of the backends whose packages are there; none is imported."""
    return tuple(
        backend
        for backend, packages in _PACKAGES.items()
        if all(importlib.util.find_spec(name) for name in packages)
    )


def keras_config_path() -> Path:
    """Returns where the user's Keras config is, or would be."""
    home = os.environ.get("KERAS_HOME")
    return (Path(home) if home else Path.home() / ".keras") / "keras.json"


def configured_backend() -> str | None:
    """Returns the backend that the user's Keras config names, or None."""
    try:
        config = json.loads(keras_config_path().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    backend = config.get("backend") if isinstance(config, dict) else None
    return backend if isinstance(backend, str) else None


def _check_keras_config() -> None:
    """Raises `ConfigError` for a config that Keras cannot take; of broken JSON it takes no note."""
    try:
        config = json.loads(keras_config_path().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    if "keras" not in sys.modules and not isinstance(config, dict):
        raise ConfigError(
            f"Keras cannot be imported: its config {keras_config_path()} holds {config!r:.40}, "
            f'not an object such as {{"backend": "jax"}}. Correct the file, or delete it.'
        )


def _write_keras_config(backend: str) -> None:
    """Writes the config that Keras writes at its first import, with a backend that is installed.

    Keras itself would pin TensorFlow there, whatever `KERAS_BACKEND` says, and every later plain
    `import keras` would fail.
    """
    path = keras_config_path()
    if path.exists():
        return
    config = {
        "floatx": "float32",
        "epsilon": 1e-07,
        "backend": backend,
        "image_data_format": "channels_last",
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(config, indent=4), encoding="utf-8")
    except OSError:
        # A read-only home: Keras cannot write its config there either.
        return
