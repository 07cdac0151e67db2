"""Sources of presets, tried with the real client libraries against a server on this machine."""

import socket
import sys
import warnings
from pathlib import Path

import pytest

from clozework.errors import (
    ClozeworkWarning,
    DownloadError,
    MissingPackageError,
    PresetError,
    PresetNotFoundError,
)
from clozework.presets.files import LocalFiles, MemoryFiles
from clozework.presets.handle import open_handles, open_preset

HUGGING_FACE = "hf://org/name"
KAGGLE = "kaggle://org/model/keras/small/3"
BOTH = pytest.mark.parametrize("handle", [HUGGING_FACE, KAGGLE])
WEIGHTS = "model.weights.h5"


@pytest.fixture
def no_sockets(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a socket was opened")

    def forbid():
        monkeypatch.setattr(socket, "socket", refuse)
        monkeypatch.setattr(socket, "create_connection", refuse)

    return forbid


def fetch_all(handle, hub):
    files = open_preset(handle)
    for name, content in hub.files.items():
        assert files.path(name).read_bytes() == content
    return files


def downloads_in(hub):
    return [request for request in hub.requests if request.startswith("GET")]


def cached_bytes(tmp_path):
    """All that the caches hold of the weights, in whatever place."""
    caches = [tmp_path / "hf-cache", tmp_path / "kaggle-cache"]
    return [path for cache in caches for path in cache.rglob("*") if path.is_file()]


# --- Names of places


def test_a_local_directory_is_a_preset(tmp_path, monkeypatch):
    (tmp_path / "config.json").write_text("{}")
    monkeypatch.setenv("HOME", str(tmp_path.parent))
    for place in (str(tmp_path), tmp_path, f"~/{tmp_path.name}"):
        assert open_preset(place).path("config.json").read_text() == "{}"


def test_open_files_are_returned_as_they_are():
    files = MemoryFiles({})
    assert open_preset(files) is files


def test_a_local_directory_goes_before_what_looks_like_a_repository(tmp_path, monkeypatch):
    (tmp_path / "org" / "name").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert isinstance(open_preset("org/name"), LocalFiles)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("no/such", r"no directory 'no/such'. Did you mean 'hf://no/such'"),
        ("no-such", r"There is no directory 'no-such'. Expected a directory, 'hf://"),
    ],
)
def test_a_missing_directory_is_not_found(place, message):
    with pytest.raises(PresetNotFoundError, match=message):
        open_preset(place)


def test_a_file_is_no_preset(tmp_path):
    (tmp_path / "model.h5").touch()
    with pytest.raises(PresetError, match=r"is a file\. Give the directory"):
        open_preset(tmp_path / "model.h5")


@pytest.mark.parametrize("place", ["", b"bytes", "nul\0", None, 3])
def test_what_cannot_be_a_name_is_refused(place):
    with pytest.raises(PresetError, match="cannot name a preset"):
        open_preset(place)


@pytest.mark.parametrize("place", ["https://x.org/y", "s3://bucket", "gs://bucket"])
def test_unknown_schemes_are_refused(place):
    with pytest.raises(PresetError, match=r"are not known .*Expected a directory"):
        open_preset(place)


@pytest.mark.parametrize("place", ["", "a/b/c", "../x", "a/..", "a b/c", "a/"])
def test_wrong_repositories_are_refused(place):
    with pytest.raises(PresetError, match="is no repository"):
        open_preset(f"hf://{place}")


def test_an_empty_revision_is_refused():
    with pytest.raises(PresetError, match="names no revision"):
        open_preset("hf://org/name@")


def test_a_revision_cannot_lead_out_of_the_cache():
    with pytest.raises(PresetError, match="is not the name of a file inside"):
        open_preset("hf://org/name@../../x")


@pytest.mark.parametrize("place", ["a/b/c", "a/b/c/d/e", "a/b/c/d/0", "a/b/../d", "a/b/c/d/1/2"])
def test_wrong_kaggle_models_are_refused(place):
    with pytest.raises(PresetError, match="is no model of Kaggle"):
        open_preset(f"kaggle://{place}")


# --- First download, then the cache


@BOTH
def test_files_are_downloaded_once(handle, hub):
    fetch_all(handle, hub)
    fetch_all(handle, hub)
    assert sorted(downloads_in(hub)) == sorted(f"GET {name}" for name in hub.files)


@BOTH
def test_names_lists_what_was_fetched(handle, hub):
    assert fetch_all(handle, hub).names() == sorted(hub.files)


def test_hugging_face_lists_without_fetching(hub):
    assert open_preset(HUGGING_FACE).names() == sorted(hub.files)
    assert downloads_in(hub) == []


def test_hugging_face_tells_sizes_without_fetching(hub):
    assert open_preset(HUGGING_FACE).size(WEIGHTS) == len(hub.files[WEIGHTS])
    assert downloads_in(hub) == []
    with pytest.raises(PresetNotFoundError, match="has no file"):
        open_preset(HUGGING_FACE).size("task.json")


@BOTH
def test_sizes_of_cached_files_need_no_connection(handle, hub, no_sockets):
    fetch_all(handle, hub)
    no_sockets()
    assert open_preset(handle).size(WEIGHTS) == len(hub.files[WEIGHTS])


def test_kaggle_lists_nothing_before_it_is_fetched(hub):
    assert open_preset("kaggle://org/model/keras/small").names() == []


@BOTH
def test_a_cached_preset_opens_no_socket(handle, hub, no_sockets):
    assert not fetch_all(handle, hub).has("task.json")
    no_sockets()
    files = fetch_all(handle, hub)
    assert not files.has("task.json")
    assert files.has(WEIGHTS)


@pytest.mark.parametrize("handle", [HUGGING_FACE, "kaggle://org/model/keras/small"])
def test_a_cached_preset_without_version_opens_no_socket(handle, hub, no_sockets):
    fetch_all(handle, hub)
    no_sockets()
    fetch_all(handle, hub)


@BOTH
def test_an_absent_file_is_asked_for_once(handle, hub):
    open_preset(handle).path("config.json")
    assert not open_preset(handle).has("task.json")
    asked = list(hub.requests)
    with pytest.raises(PresetNotFoundError, match=rf"{handle} has no file 'task.json'"):
        open_preset(handle).path("task.json")
    assert hub.requests == asked


def test_many_optional_files_cost_one_request(hub):
    files = open_preset(HUGGING_FACE)
    assert [files.has(f"optional_{i}.json") for i in range(20)] == [False] * 20
    assert [request for request in hub.requests if "unknown" not in request] == ["listing"]


def test_a_model_of_kaggle_fetched_whole_is_cached(hub, tmp_path, no_sockets):
    kagglehub = pytest.importorskip("kagglehub")
    hub_files = tmp_path / "kaggle-cache" / "models" / "org" / "model" / "keras" / "small"
    (hub_files / "3").mkdir(parents=True)
    (hub_files / "3" / "config.json").write_text("{}")
    (hub_files / "3.complete").touch()
    no_sockets()
    files = open_preset("kaggle://org/model/keras/small")
    assert files.has("config.json")
    assert not files.has("task.json")
    assert kagglehub.__version__


def test_a_repository_fetched_whole_needs_no_connection(hub, no_sockets):
    huggingface_hub = pytest.importorskip("huggingface_hub", minversion="2.0")
    huggingface_hub.snapshot_download("org/name")
    no_sockets()
    assert fetch_all(HUGGING_FACE, hub).has("task.json") is False


def test_absence_that_the_client_remembers_needs_no_connection(hub, no_sockets):
    import huggingface_hub

    huggingface_hub.hf_hub_download("org/name", "config.json")
    with pytest.raises(huggingface_hub.errors.EntryNotFoundError):
        huggingface_hub.hf_hub_download("org/name", "task.json")
    no_sockets()
    assert not open_preset(HUGGING_FACE).has("task.json")


def test_all_files_come_from_one_commit(hub):
    open_preset(HUGGING_FACE).path("config.json")
    first = hub.commit
    hub.commit = hub.newer_commit
    path = open_preset(HUGGING_FACE).path("config.json")
    assert first in str(path)


def test_a_revision_that_moves_while_it_is_fetched_is_reported(hub):
    files = open_preset(HUGGING_FACE)
    assert files.has("config.json")
    hub.commit = hub.newer_commit
    with pytest.raises(DownloadError, match="changed in the meantime"):
        files.path("config.json")


def test_a_commit_can_be_asked_for(hub):
    assert open_preset(f"{HUGGING_FACE}@{hub.commit}").path("config.json").is_file()
    assert open_preset(f"{HUGGING_FACE}@v1").name == "hf://org/name@v1"


# --- What goes wrong on the way


def test_a_broken_connection_is_resumed(hub):
    hub.breaks[WEIGHTS] = 1
    assert open_preset(HUGGING_FACE).path(WEIGHTS).read_bytes() == hub.files[WEIGHTS]
    assert len(hub.ranges) == 1


def test_a_broken_download_of_kaggle_is_resumed_by_the_next(hub):
    hub.breaks[WEIGHTS] = 1
    with pytest.raises(DownloadError, match="could not be fetched"):
        open_preset(KAGGLE).path(WEIGHTS)
    assert open_preset(KAGGLE).path(WEIGHTS).read_bytes() == hub.files[WEIGHTS]
    assert len(hub.ranges) == 1


@BOTH
def test_a_broken_download_is_never_taken_as_whole(handle, hub, tmp_path):
    hub.breaks[WEIGHTS] = 1
    hub.refuses_ranges = handle == HUGGING_FACE
    with pytest.raises(
        DownloadError, match=rf"'{WEIGHTS}' of preset {handle} could not be fetched"
    ):
        open_preset(handle).path(WEIGHTS)
    assert not open_preset(handle).is_cached(WEIGHTS)
    hub.refuses_ranges = False
    assert open_preset(handle).path(WEIGHTS).read_bytes() == hub.files[WEIGHTS]


@BOTH
def test_a_wrong_checksum_is_an_error_and_nothing_is_kept(handle, hub, tmp_path):
    hub.altered = {WEIGHTS, "config.json"}
    for name in hub.altered:
        with pytest.raises(DownloadError, match=r"could not be fetched: .*(checksum|MD5)"):
            open_preset(handle).path(name)
        assert not open_preset(handle).is_cached(name)
    kept = [path.read_bytes() for path in cached_bytes(tmp_path)]
    assert not any(hub.sent(name) in kept for name in hub.altered)
    hub.altered = set()
    fetch_all(handle, hub)


def test_a_cached_file_that_was_altered_is_fetched_again(hub):
    path = open_preset(HUGGING_FACE).path(WEIGHTS).resolve()
    path.write_bytes(hub.files[WEIGHTS][:-1] + b"?")
    assert open_preset(HUGGING_FACE).path(WEIGHTS).read_bytes() == hub.files[WEIGHTS]


def test_a_cached_file_that_was_cut_short_is_fetched_again(hub):
    path = open_preset(HUGGING_FACE).path(WEIGHTS).resolve()
    path.write_bytes(hub.files[WEIGHTS][:-1])
    assert open_preset(HUGGING_FACE).path(WEIGHTS).read_bytes() == hub.files[WEIGHTS]


@BOTH
def test_a_server_that_fails_is_reported(handle, hub):
    hub.status = 500
    with pytest.raises(DownloadError, match=f"of preset {handle} could not be fetched: .*500"):
        open_preset(handle).path("config.json")


@pytest.mark.parametrize("status", [403, 404])
def test_what_kaggle_refuses_counts_as_absent(hub, status):
    hub.status = status
    assert not open_preset(KAGGLE).has("config.json")


@BOTH
def test_no_connection_is_reported(handle, hub):
    hub.close()
    with pytest.raises(DownloadError, match=r"could not be fetched.*Check the connection"):
        open_preset(handle).has("config.json")


def test_a_missing_repository_is_not_found(hub):
    with pytest.raises(
        PresetNotFoundError, match="has no repository 'org/other' that you may read"
    ):
        open_preset("hf://org/other").path("config.json")


def test_a_missing_revision_is_not_found(hub):
    with pytest.raises(PresetNotFoundError, match="'org/name' has no revision 'v9'"):
        open_preset("hf://org/name@v9").path("config.json")


def test_a_gated_repository_says_what_to_do(hub):
    hub.error_code = "GatedRepo"
    hub.status = 403
    with pytest.raises(
        DownloadError, match=r"accept its conditions at https://huggingface\.co/org"
    ):
        open_preset(HUGGING_FACE).path("config.json")


def test_an_answer_without_commit_is_refused(hub):
    hub.commit = "main"
    with pytest.raises(DownloadError, match="'main' is not a commit"):
        open_preset(HUGGING_FACE).path("config.json")


def test_kaggle_without_its_client_says_what_to_install(hub, monkeypatch):
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'clozework\[kaggle\]'"):
        open_preset(KAGGLE).path("config.json")


def test_a_cache_that_cannot_be_written_is_reported(hub, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(DownloadError, match="the cache cannot be written"):
        open_preset(KAGGLE).path("config.json")


# --- Offline by wish


@BOTH
def test_offline_by_wish_uses_the_cache(handle, hub, monkeypatch, no_sockets):
    fetch_all(handle, hub)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    no_sockets()
    fetch_all(handle, hub)


@BOTH
def test_offline_by_wish_opens_no_socket(handle, monkeypatch, no_sockets):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    no_sockets()
    with pytest.raises(DownloadError, match="in no cache, and HF_HUB_OFFLINE forbids to fetch it"):
        open_preset(handle).path("config.json")


@BOTH
def test_offline_by_wish_unknown_files_are_taken_as_absent(handle, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.warns(ClozeworkWarning, match=r"'task.json' is not in the cache: it is taken as"):
        assert not open_preset(handle).has("task.json")


# --- Several places


def test_the_first_place_that_answers_is_taken(hub):
    assert open_handles("small", [KAGGLE, HUGGING_FACE]).name == KAGGLE


def test_a_place_that_fails_is_passed_over(hub, monkeypatch):
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    assert open_handles("small", [KAGGLE, HUGGING_FACE]).name == HUGGING_FACE


def test_the_place_that_is_cached_goes_first(hub, no_sockets):
    fetch_all(HUGGING_FACE, hub)
    no_sockets()
    assert open_handles("small", [KAGGLE, HUGGING_FACE]).name == HUGGING_FACE


def test_cached_weights_go_before_a_cached_config(hub, no_sockets):
    open_preset(KAGGLE).path("config.json")
    fetch_all(HUGGING_FACE, hub)
    no_sockets()
    assert open_handles("small", [KAGGLE, HUGGING_FACE]).name == HUGGING_FACE


def test_when_all_places_fail_one_error_says_it_all(hub, monkeypatch):
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(DownloadError) as caught:
        open_handles("bert_small", [KAGGLE, HUGGING_FACE])
    message = str(caught.value)
    for part in ("'bert_small' is in no cache", KAGGLE, HUGGING_FACE, "HF_HUB_OFFLINE forbids"):
        assert part in message


def test_when_no_place_has_it_it_is_not_found(hub):
    hub.files.pop("config.json")
    with pytest.raises(PresetNotFoundError, match="none of its sources could be used"):
        open_handles("small", [KAGGLE, HUGGING_FACE])


def test_a_single_place_gives_its_own_error(hub):
    with pytest.raises(PresetNotFoundError, match="has no repository 'org/other'"):
        open_handles("small", ["hf://org/other"])


def test_a_local_preset_needs_no_client(tmp_path, monkeypatch):
    for client in ("huggingface_hub", "kagglehub", "filelock"):
        monkeypatch.setitem(sys.modules, client, None)
    assert open_preset(tmp_path).names() == []


def test_records_that_are_damaged_are_made_again(hub, tmp_path):
    fetch_all(HUGGING_FACE, hub)
    for record in (tmp_path / "clozework-cache").rglob("*"):
        if record.is_file():
            record.write_text("{")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fetch_all(HUGGING_FACE, hub)


def test_records_that_cannot_be_written_are_no_obstacle(hub, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("CLOZEWORK_CACHE", str(tmp_path / "file"))
    fetch_all(HUGGING_FACE, hub)
    assert Path(tmp_path / "file").read_text() == ""
