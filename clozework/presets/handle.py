"""Where presets come from: local directories, Hugging Face, Kaggle. The one module that downloads.

Downloads go through the sources' own clients (`huggingface_hub`, `kagglehub`) into their own
caches, so that a preset which another program has fetched is not fetched again. What is in a cache
is used as it is, without a connection: to get a newer state of a branch, delete it from the cache.
"""

import abc
import json
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import NoReturn
from urllib.parse import quote

from clozework.caches import hugging_face_cache, kaggle_cache
from clozework.errors import (
    ClozeworkWarning,
    DownloadError,
    MissingPackageError,
    PresetError,
    PresetNotFoundError,
)
from clozework.presets.download_records import (
    ListedFile,
    digest_of_blob,
    is_absent,
    is_intact,
    read_listing,
    record_absent,
    write_listing,
)
from clozework.presets.files import LocalFiles, PresetFiles, check_file_name
from clozework.presets.staging import restore_interrupted

__all__ = ["DownloadedFiles", "HuggingFaceFiles", "KaggleFiles", "open_handles", "open_preset"]

_FORMS = (
    "a directory, 'hf://organisation/name', 'hf://organisation/name@revision' or "
    "'kaggle://organisation/model/framework/variation/version'"
)
_SEGMENT = re.compile(r"(?!\.+$)[\w.-]+", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+)://(.*)", re.IGNORECASE | re.DOTALL)
_MARKER = "config.json"
_WEIGHTS = (
    "model.weights.h5",
    "model.weights.json",
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
_TIMEOUT = 30


def open_preset(preset: str | os.PathLike[str] | PresetFiles) -> PresetFiles:
    """Returns the files of a preset that is named by where it is.

    Arguments:
        preset: a local directory (`~` is the home directory), `hf://organisation/name`, optionally
            with `@revision`, `kaggle://organisation/model/framework/variation`, optionally with
            `/version`; or files that are open already, which are returned.

    Nothing is fetched before a file is asked for. Raises `PresetNotFoundError` if there is no such
    directory, and `PresetError` for a handle that cannot be one.

    >>> open_preset("hf://google-bert/bert-base-uncased@main").name
    'hf://google-bert/bert-base-uncased'
    """
    if isinstance(preset, PresetFiles):
        return preset
    text = os.fspath(preset) if isinstance(preset, str | os.PathLike) else None
    if not isinstance(text, str) or not text or "\0" in text:
        raise PresetError(f"{preset!r} cannot name a preset. Expected {_FORMS}.")
    match = _SCHEME.fullmatch(text) if isinstance(preset, str) else None
    if match is None:
        return _open_directory(text)
    scheme, place = match[1].lower(), match[2]
    if scheme == "hf":
        return _open_hugging_face(text, place)
    if scheme == "kaggle":
        return _open_kaggle(text, place)
    raise PresetError(f"Presets at {scheme}:// are not known ({text!r}). Expected {_FORMS}.")


def open_handles(name: str, handles: Sequence[str]) -> PresetFiles:
    """Returns the files of a preset that can be had at several places.

    Arguments:
        name: what messages call the preset.
        handles: the places, in order of preference.

    A place whose files are in a cache already goes before those that would have to be downloaded,
    and is opened without a connection. Else the first place that answers is taken. Where none does,
    one error says what was tried and why each failed.
    """
    sources = [open_preset(handle) for handle in handles]
    cached = [source for source in sources if isinstance(source, DownloadedFiles)]
    for wanted in (_WEIGHTS, (_MARKER,)):
        for source in cached:
            if any(source.is_cached(file) for file in wanted) and source.is_cached(_MARKER):
                return source
    failures: list[tuple[PresetFiles, Exception]] = []
    for source in sources:
        try:
            source.path(_MARKER)
        except (PresetError, MissingPackageError) as error:
            failures.append((source, error))
        else:
            return source
    if len(failures) == 1:
        raise failures[0][1]
    kind = PresetNotFoundError
    if any(not isinstance(error, PresetNotFoundError) for _, error in failures):
        kind = DownloadError
    tried = "".join(f"\n- {source.name}: {error}" for source, error in failures)
    raise kind(
        f"Preset {name!r} is in no cache, and none of its sources could be used. Tried:{tried}\n"
        "Mend one of these, or give a local directory that holds the preset."
    )


def _open_directory(text: str) -> PresetFiles:
    directory = Path(text).expanduser()
    restore_interrupted(directory)
    if directory.is_dir():
        return LocalFiles(directory)
    if directory.exists():
        raise PresetError(f"{text!r} is a file. Give the directory that holds the preset's files.")
    advice = f" Did you mean 'hf://{text}'?" if re.fullmatch(r"[\w.-]+/[\w.-]+", text) else ""
    raise PresetNotFoundError(f"There is no directory {text!r}.{advice} Expected {_FORMS}.")


def _open_hugging_face(text: str, place: str) -> PresetFiles:
    repository, _, revision = place.partition("@")
    segments = repository.split("/")
    if len(segments) > 2 or not all(_SEGMENT.fullmatch(segment) for segment in segments):
        raise PresetError(f"{text!r} is no repository. Expected 'hf://organisation/name@revision'.")
    if "@" in place and not revision:
        raise PresetError(f"{text!r} names no revision after '@'. Give one, or leave out the '@'.")
    return HuggingFaceFiles(repository, revision=check_file_name(revision or "main"))


def _open_kaggle(text: str, place: str) -> PresetFiles:
    segments = place.split("/")
    model, version = segments[:4], segments[4:]
    if (
        not 4 <= len(segments) <= 5
        or not all(_SEGMENT.fullmatch(segment) for segment in model)
        or not all(re.fullmatch("[1-9][0-9]{0,8}", number) for number in version)
    ):
        raise PresetError(
            f"{text!r} is no model of Kaggle. Expected "
            "'kaggle://organisation/model/framework/variation/version', the version as a number."
        )
    return KaggleFiles("/".join(model), version=int(version[0]) if version else None)


class DownloadedFiles(PresetFiles):
    """A preset at a place to download from, with a cache. Abstract.

    A file that is in the cache, or known to be absent, is answered for without a connection.
    """

    def is_cached(self, name: str) -> bool:
        """Returns whether a file is in the cache, whole and intact."""
        return self._cached(check_file_name(name)) is not None

    def _has(self, name: str) -> bool:
        if self._cached(name) is not None:
            return True
        known = self._is_known(name)
        if known is not None:
            return known
        if _is_offline():
            warnings.warn(
                f"HF_HUB_OFFLINE is set, and whether preset {self.name} has a file {name!r} is not "
                "in the cache: it is taken as absent. Load the preset once with a connection.",
                ClozeworkWarning,
                stacklevel=3,
            )
            return False
        return self._ask(name)

    def _find(self, name: str) -> Path | None:
        cached = self._cached(name)
        if cached is not None or self._is_known(name) is False:
            return cached
        if _is_offline():
            self._fail(name, "it is in no cache, and HF_HUB_OFFLINE forbids to fetch it", None)
        return self._fetch(name)

    def _fail(self, name: str, reason: str, cause: Exception | None) -> NoReturn:
        raise DownloadError(
            f"File {name!r} of preset {self.name} could not be fetched: {reason}. Nothing partial "
            "is used. Check the connection and try again; what is in the cache needs none."
        ) from cause

    @abc.abstractmethod
    def _cached(self, name: str) -> Path | None: ...

    @abc.abstractmethod
    def _is_known(self, name: str) -> bool | None:
        """Returns whether the preset has a file, as far as that is known without a connection."""

    @abc.abstractmethod
    def _ask(self, name: str) -> bool: ...

    @abc.abstractmethod
    def _fetch(self, name: str) -> Path | None: ...


class HuggingFaceFiles(DownloadedFiles):
    """A preset in a repository of Hugging Face, at one commit.

    A branch or tag means the commit that is in the cache, if there is one, else the newest. All
    files come from that commit. Each is compared with its digest before it is used first.
    """

    def __init__(self, repository: str, *, revision: str = "main"):
        super().__init__(f"hf://{repository}" + (f"@{revision}" if revision != "main" else ""))
        self.repository = repository
        self.revision = revision
        self._listed: dict[str, ListedFile] | None = None
        self._commit = revision if _COMMIT.fullmatch(revision) else self._cached_commit()

    def names(self) -> list[str]:
        return sorted(self._listing() or self._fetch_listing())

    def size(self, name: str) -> int:
        if self.is_cached(name):
            return super().size(name)
        listed = (self._listing() or self._fetch_listing()).get(name)
        return super().size(name) if listed is None or listed.size is None else listed.size

    @property
    def _key(self) -> str:
        return f"hf://{self.repository}@{self._commit}"

    def _folder(self) -> Path:
        """Returns the repository's folder in the cache of huggingface_hub, whose layout is public:
        https://huggingface.co/docs/huggingface_hub/guides/manage-cache."""
        return hugging_face_cache() / f"models--{self.repository.replace('/', '--')}"

    def _cached_commit(self) -> str | None:
        try:
            commit = (self._folder() / "refs" / self.revision).read_text(encoding="utf-8").strip()
        except OSError:
            return None
        return commit if _COMMIT.fullmatch(commit) else None

    def _cached(self, name: str) -> Path | None:
        if self._commit is None:
            return None
        path = self._folder() / "snapshots" / self._commit / PurePosixPath(name)
        if not path.is_file():
            return None
        expected = (self._listing() or {}).get(name) or ListedFile(None, digest_of_blob(path))
        if is_intact(path, expected):
            return path
        path.resolve().unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        return None

    def _is_known(self, name: str) -> bool | None:
        listing = self._listing()
        if listing is not None:
            return name in listing
        marker = self._folder() / ".no_exist" / str(self._commit) / PurePosixPath(name)
        return False if marker.is_file() else None

    def _listing(self) -> dict[str, ListedFile] | None:
        if self._listed is None and self._commit is not None:
            self._listed = read_listing(self._key) or self._snapshot_listing()
        return self._listed

    def _snapshot_listing(self) -> dict[str, ListedFile] | None:
        """Returns the list that `hf download` leaves in the cache when it fetches a repository."""
        try:
            place = self._folder() / "trees" / f"{self._commit}.json"
            files = json.loads(place.read_text(encoding="utf-8"))["files"]
            return {
                name: ListedFile(file["size"], file.get("lfs_sha256") or file["blob_id"])
                for name, file in files.items()
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            # Not there, or of a version that we do not know: the repository is asked.
            return None

    def _fetch_listing(self) -> dict[str, ListedFile]:
        """Asks for all files of the commit in one request; fixes the commit."""
        from huggingface_hub import HfApi

        with self._errors(_MARKER):
            info = HfApi().model_info(
                self.repository,
                revision=self._commit or self.revision,
                files_metadata=True,
                timeout=_TIMEOUT,
            )
        if not _COMMIT.fullmatch(str(info.sha)):
            self._fail(_MARKER, f"{str(info.sha)!r} is not a commit", None)
        self._commit = info.sha
        self._listed = {
            file.rfilename: ListedFile(file.size, file.lfs.sha256 if file.lfs else file.blob_id)
            for file in info.siblings or ()
        }
        write_listing(self._key, self._listed)
        return self._listed

    def _ask(self, name: str) -> bool:
        return name in self._fetch_listing()

    def _fetch(self, name: str) -> Path | None:
        from huggingface_hub import hf_hub_download

        listing = self._listing() or self._fetch_listing()
        if name not in listing:
            return None
        # Asked for by its name at first, so that the client notes in its cache what it stands for.
        revision = self.revision if self._cached_commit() is None else self._commit
        with self._errors(name):
            path = Path(hf_hub_download(self.repository, name, revision=revision))
        found = self._cached(name)
        if found is None and path.is_file():
            self._fail(name, f"revision {self.revision!r} changed in the meantime", None)
        if found is None:
            self._fail(name, "what came differs from its checksum, and was deleted", None)
        return found

    @contextmanager
    def _errors(self, name: str) -> Iterator[None]:
        from huggingface_hub import errors

        try:
            yield
        except errors.GatedRepoError as error:
            url = f"https://huggingface.co/{self.repository}"
            self._fail(name, f"accept its conditions at {url}, then run `hf auth login`", error)
        except errors.RepositoryNotFoundError as error:
            raise PresetNotFoundError(
                f"Hugging Face has no repository {self.repository!r} that you may read. Check the "
                "name; for a private one run `hf auth login`."
            ) from error
        except errors.RevisionNotFoundError as error:
            raise PresetNotFoundError(
                f"Repository {self.repository!r} has no revision {self.revision!r}. Give a branch, "
                "a tag or a commit that it has."
            ) from error
        except (
            OSError,
            ValueError,
            RuntimeError,
            errors.HTTPError,  # pyright: ignore[reportPrivateImportUsage] (of its HTTP library)
        ) as error:
            # The client's own errors, those of the connection, those of the disk, those of hf_xet.
            self._fail(name, f"{type(error).__name__}: {error}".strip().rstrip("."), error)


class KaggleFiles(DownloadedFiles):
    """A preset among Kaggle's models, at one version.

    No version means the newest one in the cache, if there is one, else the newest. The client
    compares each download with its MD5.
    """

    def __init__(self, model: str, *, version: int | None = None):
        super().__init__(f"kaggle://{model}" + (f"/{version}" if version else ""))
        self.model = model
        self._version = version or self._cached_version()

    def names(self) -> list[str]:
        """Returns the names of the files in the cache: Kaggle has no quick way to list all."""
        if self._version is None:
            return []
        base = self._folder() / str(self._version)
        found = (path.relative_to(base).as_posix() for path in base.rglob("*") if path.is_file())
        return sorted(name for name in found if self.is_cached(name))

    @property
    def _key(self) -> str:
        return f"kaggle://{self.model}/{self._version}"

    def _folder(self) -> Path:
        """Returns the model's folder in the cache of kagglehub, with a folder for each version."""
        return kaggle_cache() / PurePosixPath(self.model)

    def _cached_version(self) -> int | None:
        markers = [*self._folder().glob(".complete/*"), *self._folder().glob("*.complete")]
        return max((int(path.stem) for path in markers if path.stem.isdecimal()), default=None)

    def _is_whole(self) -> bool:
        return (self._folder() / f"{self._version}.complete").exists()

    def _cached(self, name: str) -> Path | None:
        """Finds a file that kagglehub has marked as complete, or that came with the whole model."""
        folder, version = self._folder(), str(self._version)
        path = folder / version / PurePosixPath(name)
        marker = folder / ".complete" / version / PurePosixPath(f"{name}.complete")
        return path if path.is_file() and (marker.exists() or self._is_whole()) else None

    def _is_known(self, name: str) -> bool | None:
        return False if self._is_whole() or is_absent(self._key, name) else None

    def _ask(self, name: str) -> bool:
        return self._fetch(name) is not None

    def _fetch(self, name: str) -> Path | None:
        handle = self.model if self._version is None else f"{self.model}/{self._version}"
        with self._lock(name):
            # Another process may have fetched it while this one waited.
            path = self._cached(name) or self._download(handle, name)
        if path is None:
            if self._version is not None:
                record_absent(self._key, name)
            return None
        if self._version is None:
            self._version = self._cached_version()
        return path

    @contextmanager
    def _lock(self, name: str) -> Iterator[None]:
        """Lets one process at a time fetch a file: kagglehub writes to its final place at once."""
        from filelock import FileLock

        place = self._folder() / ".locks" / f"{self._version}-{quote(name, safe='')}.lock"
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(place)
            lock.acquire()
        except OSError as error:
            self._fail(name, f"the cache cannot be written ({error})", error)
        try:
            yield
        finally:
            lock.release()

    def _download(self, handle: str, name: str) -> Path | None:
        try:
            import kagglehub
            from kagglehub import exceptions
        except ImportError as error:
            raise MissingPackageError(
                f"Preset {self.name} needs the package kagglehub, which is not installed. Install "
                "it with: pip install 'clozework[kaggle]'"
            ) from error
        try:
            return Path(kagglehub.model_download(handle, path=name))
        except exceptions.KaggleApiHTTPError as error:
            # Kaggle answers 403 for what is not there, and for what needs consent, alike.
            if error.response is not None and error.response.status_code in (403, 404):
                return None
            self._fail(name, str(error), error)
        except (
            exceptions.BackendError,
            exceptions.CredentialError,
            exceptions.DataCorruptionError,
            exceptions.NotFoundError,
            exceptions.UnauthenticatedError,
            OSError,
            ValueError,
        ) as error:
            self._fail(name, f"{type(error).__name__}: {error}".strip().rstrip("."), error)


def _is_offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "TRUE", "YES"}
