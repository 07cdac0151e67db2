"""Processes that fetch the same preset at once, and that are killed while they fetch."""

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from clozework.presets import handle as handles
from clozework.presets.handle import open_preset

WEIGHTS = "model.weights.h5"
BOTH = pytest.mark.parametrize("handle", ["hf://org/name", "kaggle://org/model/keras/small/3"])

FETCH = textwrap.dedent(
    """
    import sys
    handle, url, package = sys.argv[1:]
    # The package itself would import Keras, which takes its time.
    sys.modules["clozework.presets"] = type(sys)("clozework.presets")
    sys.modules["clozework.presets"].__path__ = [package]
    if handle.startswith("kaggle"):
        from kagglesdk import kaggle_env
        kaggle_env._env_to_endpoint[kaggle_env.KaggleEnv.LOCAL] = url
    from clozework.presets.handle import open_preset
    files = open_preset(handle)
    files.path("config.json")
    print(len(files.path("model.weights.h5").read_bytes()))
    """
)


def start_fetch(handle, hub, tmp_path):
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub.url,
        "HF_HUB_CACHE": str(tmp_path / "hf-cache"),
        "KAGGLE_API_ENVIRONMENT": "LOCALHOST",
    }
    return subprocess.Popen(
        [sys.executable, "-c", FETCH, handle, hub.url, str(Path(handles.__file__).parent)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@BOTH
def test_two_processes_fetch_at_once(handle, hub, tmp_path):
    hub.delay = 0.2
    processes = [start_fetch(handle, hub, tmp_path) for _ in range(2)]
    for process in processes:
        output, errors = process.communicate(timeout=60)
        assert output.splitlines()[-1] == str(len(hub.files[WEIGHTS])), errors
    assert hub.requests.count(f"GET {WEIGHTS}") == 1
    hub.close()
    assert open_preset(handle).path(WEIGHTS).read_bytes() == hub.files[WEIGHTS]


@BOTH
def test_a_process_killed_while_fetching_leaves_nothing_that_counts(handle, hub, tmp_path):
    hub.delay = 30
    process = start_fetch(handle, hub, tmp_path)
    while f"GET {WEIGHTS}" not in hub.requests and process.poll() is None:
        time.sleep(0.05)
    process.kill()
    process.communicate()
    hub.delay = 0
    assert not open_preset(handle).is_cached(WEIGHTS)
    assert open_preset(handle).path(WEIGHTS).read_bytes() == hub.files[WEIGHTS]
