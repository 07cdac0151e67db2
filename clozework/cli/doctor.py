"""`clozework doctor`: what is installed, what is chosen and why, what is missing."""

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

import clozework
from clozework.caches import cache_directory, hugging_face_cache, kaggle_cache
from clozework.chosen_backend import (
    BackendChoice,
    configured_backend,
    installed_backends,
    keras_config_path,
)
from clozework.cli.printing import as_size, print_json, print_pairs

__all__ = ["doctor"]

# What finds out version and devices, in a process of its own: an import may fail in any way.
_PROBES = {
    "jax": "import jax; print(jax.__version__, *jax.devices(), sep='\\n')",
    "torch": (
        "import torch; cuda = torch.cuda; print(torch.__version__, 'cpu', "
        "*map(cuda.get_device_name, range(cuda.device_count())), sep='\\n')"
    ),
    "tensorflow": "import tensorflow; print(tensorflow.__version__)",
    "openvino": (
        "import openvino; core = openvino.Core(); "
        "print(openvino.__version__, *core.available_devices, sep='\\n')"
    ),
}
_KERAS_PROBE = "import keras; print(keras.__version__)"
_PATIENCE = 120
# Package -> the extra that installs it, and what it is for.
_OPTIONAL = {
    "jax_plugins": ("cuda", "JAX on NVIDIA GPUs"),
    "torch": ("torch", "PyTorch as the backend"),
    "openvino": ("openvino", "OpenVINO as the backend, for answers on a CPU"),
    "kagglehub": ("kaggle", "presets at kaggle://"),
    "sentencepiece": ("sentencepiece", "training SentencePiece vocabularies"),
    "sklearn": ("train", "scores of classes in reports"),
    "seqeval": ("train", "scores of entities in reports"),
    "rouge_score": ("train", "scores of summaries in reports"),
    "pyarrow": ("train", "files of Parquet and Arrow"),
}
# What backends call a CPU among their devices, in lower case.
_NAMES_OF_CPU = ("cpu", "tfrt_cpu")
# What lets a backend compute on an NVIDIA GPU.
_FOR_GPU = {
    "jax": "pip install 'clozework[cuda]'",
    "torch": "a build of PyTorch with CUDA (https://pytorch.org/get-started), or, faster there, "
    "JAX: pip install 'clozework[cuda]'",
}


@dataclass(frozen=True)
class _Probed:
    """What became of an import: a version and devices, or a problem."""

    version: str | None
    devices: tuple[str, ...] = ()
    problem: str | None = None


@click.command(short_help="Say what is installed, what is chosen and why, what is missing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(*, as_json: bool) -> None:
    """Says which backend is chosen and why, what is installed, cached and missing.

    The exit code is 1 when no model can run.
    """
    report = _report()
    if as_json:
        print_json(report)
    else:
        print_pairs(list(_as_pairs(report)))
    if report["problem"]:
        raise click.ClickException(report["problem"])


def _report() -> dict[str, Any]:
    choice = clozework.backend_choice
    installed = [name for name in _PROBES if name in installed_backends()]
    probes = {name: _PROBES[name] for name in installed}
    if choice.backend is not None:
        probes["keras"] = _KERAS_PROBE
    with ThreadPoolExecutor() as pool:
        probed = dict(zip(probes, pool.map(_probe, probes.values()), strict=True))
    keras = probed.pop("keras", _Probed(None))
    return {
        "clozework": clozework.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "keras": _version_of("keras"),
        "backend": asdict(choice),
        "backends": {name: asdict(found) for name, found in probed.items()},
        "keras_config": {"path": str(keras_config_path()), "backend": configured_backend()},
        "caches": {
            name: {"path": str(path), "size": _size_of(path)}
            for name, path in {
                "Clozework": cache_directory(),
                "Hugging Face": hugging_face_cache(),
                "Kaggle": kaggle_cache(),
            }.items()
        },
        "missing": [
            {"package": package, "for": use, "install": f"pip install 'clozework[{extra}]'"}
            for package, (extra, use) in _OPTIONAL.items()
            if not importlib.util.find_spec(package)
        ],
        "unused_gpu": _unused_gpu(choice, probed),
        "problem": _problem(choice, keras),
    }


def _unused_gpu(choice: BackendChoice, probed: Mapping[str, _Probed]) -> str | None:
    """Returns what to do where there is an NVIDIA GPU on which the chosen backend does not compute.

    None where there is no such GPU, or it is used.
    """
    found = probed.get(choice.backend or "")
    if choice.backend not in _FOR_GPU or found is None or shutil.which("nvidia-smi") is None:
        return None
    is_used = any(not device.lower().startswith(_NAMES_OF_CPU) for device in found.devices)
    return None if is_used or found.problem else _FOR_GPU[choice.backend]


def _problem(choice: BackendChoice, keras: _Probed) -> str | None:
    """Returns why no model can run, and what to do, or None."""
    if choice.backend is None:
        return "No backend is installed. Install one: pip install jax"
    if keras.problem is None:
        return None
    return (
        f"Keras cannot be imported with the backend {choice.backend!r}, chosen because "
        f"{choice.reason}: {keras.problem}. Install or mend that backend, or choose another one "
        "with the environment variable KERAS_BACKEND."
    )


def _as_pairs(report: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "Clozework", report["clozework"]
    yield "Python", f"{report['python']} on {report['platform']}"
    yield "Keras", report["keras"] or "not installed"
    yield "backend", f"{report['backend']['backend'] or 'none'}: {report['backend']['reason']}"
    for name in _PROBES:
        found = report["backends"].get(name)
        yield f"  {name}", _backend_as_text(found) if found else "not installed"
    if report["unused_gpu"]:
        name = report["backend"]["backend"]
        yield "unused GPU", f"for {name} to compute there: {report['unused_gpu']}"
    pinned = report["keras_config"]["backend"]
    says = f"says {pinned!r}" if pinned else "says no backend, or is not there"
    yield "Keras config", f"{report['keras_config']['path']} {says}"
    for name, cache in report["caches"].items():
        size = "empty" if not cache["size"] else as_size(cache["size"])
        yield f"cache of {name}", f"{cache['path']} ({size})"
    for missing in report["missing"]:
        yield f"no {missing['package']}", f"for {missing['for']}: {missing['install']}"


def _backend_as_text(found: dict[str, Any]) -> str:
    if found["problem"]:
        return f"cannot be imported: {found['problem']}"
    devices = ", ".join(found["devices"])
    return f"{found['version']} on {devices}" if devices else found["version"]


def _probe(code: str) -> _Probed:
    # Without this, JAX would take most of a GPU's memory to list it.
    environment = {**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    try:
        result = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            env=environment,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return _Probed(None, problem=f"it did not finish within {_PATIENCE} seconds")
    if result.returncode:
        lines = result.stderr.strip().splitlines() or [f"it ended with {result.returncode}"]
        return _Probed(None, problem=lines[-1].rstrip("."))
    version, *devices = result.stdout.strip().splitlines()
    return _Probed(version, tuple(devices))


def _version_of(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _size_of(directory: Path) -> int:
    """Returns the bytes in a directory; links are not followed, as caches link to their own."""
    return sum(
        (Path(folder) / name).lstat().st_size
        for folder, _, names in os.walk(directory)
        for name in names
    )
