"""The tables of results."""

import pytest

from benchmarks.comparisons import Comparison, Peer
from benchmarks.measuring import Measured
from benchmarks.processes import Job
from benchmarks.report import section_of, store, whole_report


@pytest.fixture
def comparison() -> Comparison:
    job = Job("clozework", "clozework_tasks:classifier", {})
    peers = tuple(Peer(name, lambda: job, work=100) for name in ("ours", "theirs", "broken"))
    return Comparison("A title", "tokens", peers, reference="theirs", text="What it is.")


@pytest.fixture
def section(comparison) -> str:
    ours = Measured("ours", 100, 3.0, [1.0, 0.5], 512, "0.0e+00 of 1.0e+00", {"jax": "1"})
    theirs = Measured("theirs", 100, 1.0, [2.0, 2.0], 256, "reference", {"torch": "2"}, "Slow.")
    broken = Measured("broken", 100, note="Does not run: no such file")
    return section_of(comparison, [ours, theirs, broken], repetitions=2)


def test_rows_have_rates_ratios_and_spreads(section):
    rows = section.splitlines()
    assert "| ours | 150 (100-200) |  | 0.75 | 3 s | 512 MB | 0.0e+00 of 1.0e+00 |" in rows
    assert "| theirs | 50 (50-50) | 3 (2-4) | 2 | 1 s | 256 MB | reference |" in rows
    assert "| broken | - | - | - | - | - | - |" in rows


def test_notes_and_versions_stand_below_the_table(section):
    notes = [line for line in section.splitlines() if line.startswith("* ")]
    assert notes == ["* theirs: Slow.", "* broken: Does not run: no such file", "* jax 1, torch 2."]


def test_a_later_section_takes_the_place_of_an_earlier_one(section, tmp_path):
    store("start", "## Older\n\nrest", tmp_path)
    store("start", section, tmp_path)
    report = whole_report(tmp_path)
    assert report.count("## ") == 1
    assert "## A title\n\n`start`, " in report
