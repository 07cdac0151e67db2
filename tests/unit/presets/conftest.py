"""A server on this machine that speaks the protocols of Hugging Face and Kaggle, with faults."""

import base64
import contextlib
import hashlib
import json
import re
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import pytest

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NEWER_COMMIT = "89abcdef0123456789abcdef0123456789abcdef"
REPOSITORY = "org/name"
MODEL = "org/model/keras/small"
VERSION = 3
LARGE = 1000


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Says nothing of clients that were killed in the middle."""


class LoopbackHub:
    """Serves one preset, as `hf://org/name` and as `kaggle://org/model/keras/small/3`.

    Attributes:
        files: name -> content. Those of `LARGE` bytes and more count as stored with Git LFS.
        requests: what was asked for, in order: `"HEAD config.json"`, `"listing"`, `"version"`, ...
        refuses_ranges, ranges: whether parts of files are refused; which were asked for.
        breaks: name -> how many more times its download breaks off in the middle.
        altered: names of files that come with one byte changed.
        status, error_code: if set, what everything is answered with.
        delay: seconds that a download pauses in its middle.
    """

    def __init__(self, files: dict[str, bytes]):
        self.files = files
        self.commit = COMMIT
        self.requests: list[str] = []
        self.breaks: dict[str, int] = {}
        self.refuses_ranges = False
        self.ranges: list[str] = []
        self.altered: set[str] = set()
        self.status: int | None = None
        self.error_code = ""
        self.delay = 0.0
        self.stopped = threading.Event()
        self.newer_commit = NEWER_COMMIT
        self._server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self.stopped.set()
        self._server.shutdown()
        self._server.server_close()

    def sent(self, name: str) -> bytes:
        content = self.files[name]
        if name in self.altered:
            return content[:-1] + bytes([content[-1] ^ 1])
        return content

    def digest(self, name: str) -> str:
        content = self.files[name]
        if len(content) >= LARGE:
            return hashlib.sha256(content).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()

    def tree(self) -> list:
        entries = []
        for name, content in self.files.items():
            digest = self.digest(name)
            entry = {"type": "file", "oid": digest, "size": len(content), "path": name}
            if len(content) >= LARGE:
                entry["lfs"] = {"oid": digest, "size": len(content), "pointerSize": 100}
            entries.append(entry)
        return entries

    def listing(self) -> dict:
        siblings = []
        for name, content in self.files.items():
            sibling = {"rfilename": name, "size": len(content), "blobId": self.digest(name)}
            if len(content) >= LARGE:
                sibling["lfs"] = {
                    "sha256": self.digest(name),
                    "size": len(content),
                    "pointerSize": 100,
                }
            siblings.append(sibling)
        return {"id": REPOSITORY, "sha": self.commit, "siblings": siblings}


class _Handler(BaseHTTPRequestHandler):
    """Answers for the hub that a subclass names."""

    hub: LoopbackHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        self._answer(json.loads(self.rfile.read(length) or b"{}"))

    def _answer(self, body: dict | None = None) -> None:
        path = unquote(urlsplit(self.path).path)
        if self.hub.status is not None:
            self.hub.requests.append(f"refused {path}")
            self._send(self.hub.status, b"", {"X-Error-Code": self.hub.error_code})
        elif match := re.fullmatch(f"/api/models/{REPOSITORY}(/revision/(.*))?", path):
            self._answer_listing(match[2] or "main")
        elif path.startswith(f"/api/models/{REPOSITORY}/tree/"):
            self._send_json(self.hub.tree())
        elif match := re.fullmatch(f"/{REPOSITORY}/resolve/([^/]+)/(.*)", path):
            self._answer_hugging_face(match[1], match[2])
        elif path.startswith("/api/v1/models.ModelApiService/"):
            self._answer_kaggle(path.rsplit("/", 1)[1], body or {})
        elif path.startswith("/storage/"):
            self._answer_storage(path.removeprefix("/storage/"))
        else:
            self.hub.requests.append(f"unknown {path}")
            self._send(404, b"", {"X-Error-Code": "RepoNotFound"})

    def _answer_listing(self, revision: str) -> None:
        self.hub.requests.append("listing")
        if revision not in ("main", "v1", COMMIT, NEWER_COMMIT):
            self._send(404, b"", {"X-Error-Code": "RevisionNotFound"})
        else:
            self._send_json(self.hub.listing())

    def _answer_hugging_face(self, revision: str, name: str) -> None:
        self.hub.requests.append(f"{self.command} {name}")
        headers = {"X-Repo-Commit": self.hub.commit}
        if name not in self.hub.files:
            self._send(404, b"", {**headers, "X-Error-Code": "EntryNotFound"})
            return
        headers |= {"ETag": f'"{self.hub.digest(name)}"'}
        if len(self.hub.files[name]) >= LARGE:
            size = len(self.hub.files[name])
            headers |= {"X-Linked-Size": str(size), "X-Linked-ETag": f'"{self.hub.digest(name)}"'}
        self._send_file(name, headers)

    def _answer_kaggle(self, method: str, body: dict) -> None:
        name = body.get("path", "")
        asked = f"{body['ownerSlug']}/{body['modelSlug']}/keras/{body['instanceSlug']}"
        if asked != MODEL:
            self._send_json({"code": 404, "message": "no such model"}, 404)
        elif method == "GetModelInstance":
            self.hub.requests.append("version")
            self._send_json({"versionNumber": VERSION})
        elif name not in self.hub.files:
            self.hub.requests.append(f"POST {name}")
            self._send_json({"code": 404, "message": "no such file"}, 404)
        else:
            self._send(302, b"", {"Location": f"{self.hub.url}/storage/{name}"})

    def _answer_storage(self, name: str) -> None:
        self.hub.requests.append(f"GET {name}")
        digest = hashlib.md5(self.hub.files[name]).digest()
        headers = {"x-goog-hash": f"crc32c=AAAAAA==,md5={base64.b64encode(digest).decode()}"}
        self._send_file(name, headers)

    def _send_file(self, name: str, headers: dict[str, str]) -> None:
        content, status = self.hub.sent(name), 200
        headers = {"Accept-Ranges": "bytes", **headers}
        self._note_range()
        if match := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
            if self.hub.refuses_ranges:
                self._send(500, b"", {})
                return
            start, status = int(match[1]), 206
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            content = content[start:]
        broken = self.command == "GET" and self.hub.breaks.get(name, 0) > 0
        if broken:
            self.hub.breaks[name] -= 1
        self._send(status, content, headers, is_broken=broken)

    def _note_range(self) -> None:
        if "Range" in self.headers:
            self.hub.ranges.append(self.headers["Range"])

    def _send_json(self, content: dict | list, status: int = 200) -> None:
        self._send(status, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _send(
        self, status: int, content: bytes, headers: dict[str, str], *, is_broken: bool = False
    ) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        middle = len(content) // 2
        self.wfile.write(content[:middle])
        if is_broken:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        if self.hub.delay and middle > LARGE:
            self.hub.stopped.wait(self.hub.delay)
        with contextlib.suppress(OSError):  # the client was killed
            self.wfile.write(content[middle:])


PRESET_FILES = {
    "config.json": b'{"registered_name": "keras_hub>BertBackbone"}',
    "assets/tokenizer/vocabulary.txt": b"[PAD]\n[UNK]\n",
    "model.weights.h5": bytes(range(256)) * 2000,
}


@pytest.fixture(autouse=True)
def own_caches(tmp_path, tmp_path_factory, monkeypatch):
    """No test here reads or writes the user's caches, or finds the user's accounts."""
    monkeypatch.setenv("CLOZEWORK_CACHE", str(tmp_path / "clozework-cache"))
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "kaggle-cache"))
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hf-cache"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    for name in ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_KERNEL_RUN_TYPE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def hub(monkeypatch):
    """A server for both protocols, to which the real clients are sent."""
    hub = LoopbackHub(dict(PRESET_FILES))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
    monkeypatch.setattr(
        "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
        hub.url + "/{repo_id}/resolve/{revision}/{filename}",
    )
    # Small pieces, so that what came before a break is kept and the rest asked for as a range.
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 10_000)
    monkeypatch.setattr("kagglehub.clients.CHUNK_SIZE", 10_000)
    kaggle_env = pytest.importorskip("kagglesdk.kaggle_env")
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "LOCALHOST")
    monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.LOCAL, hub.url)
    yield hub
    hub.close()
