"""The tables of results."""

import json
import os
import platform
import shutil
import subprocess
from datetime import date
from pathlib import Path
from typing import Any

from benchmarks.comparisons import COMPARISONS, GPU_COMPARISONS, Comparison
from benchmarks.measuring import Figure, Measured, figure_of, ratios

__all__ = ["machine", "section_of", "store", "whole_report"]


def section_of(comparison: Comparison, measured: list[Measured], repetitions: int) -> str:
    """Returns a heading, a table and its notes, in Markdown.

    Rates and ratios are medians with the lowest and the highest in brackets.
    """
    ours = measured[0]
    lines = [
        f"## {comparison.title}",
        "",
        f"{comparison.text} Medians of {repetitions} rounds.",
        "",
        f"| | {comparison.unit}/s | {ours.name} is faster by | seconds | first run | memory "
        f"| against {comparison.reference} |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        *(_row(record, ours) for record in measured),
        "",
    ]
    notes = [f"* {record.name}: {record.note}" for record in measured if record.note]
    versions = {f"{k} {v}" for record in measured for k, v in record.versions.items()}
    return "\n".join([*lines, *notes, f"* {', '.join(sorted(versions))}.", ""])


def _row(record: Measured, ours: Measured) -> str:
    if not record.seconds:
        return f"| {record.name} | - | - | - | - | - | - |"
    is_ratio = record is not ours and bool(ours.seconds)
    cells = [
        record.name,
        _shown(figure_of(record.rates())),
        _shown(ratios(ours, record)) if is_ratio else "",
        _digits(figure_of(record.seconds).median),
        f"{_digits(record.first)} s",
        f"{record.memory:,.0f} MB",
        record.agreement,
    ]
    return f"| {' | '.join(cells)} |"


def _shown(figure: Figure) -> str:
    return f"{_digits(figure.median)} ({_digits(figure.lowest)}-{_digits(figure.highest)})"


def _digits(value: float) -> str:
    """Returns a number with three digits, or all of them before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def machine() -> str:
    """Says what the measurements ran on."""
    cores = f"{os.cpu_count()} cores"
    python = f"Python {platform.python_version()}"
    return ", ".join([*_gpus(), _processor(), cores, platform.system(), python])


def _gpus() -> list[str]:
    if shutil.which("nvidia-smi") is None:
        return []
    query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    return subprocess.run(query, capture_output=True, text=True, check=True).stdout.splitlines()


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def store(name: str, section: str, cache: Path) -> None:
    """Keeps the section of a comparison, in place of an older one."""
    content: dict[str, Any] = {"section": section, "date": str(date.today()), "machine": machine()}
    path = cache / "results" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def whole_report(cache: Path) -> str:
    """Returns all sections that are kept, in the order of the comparisons."""
    lines = ["# Results", "", "Written by `python -m benchmarks`; see [README.md](README.md).", ""]
    for name in [*COMPARISONS, *GPU_COMPARISONS]:
        path = cache / "results" / f"{name}.json"
        if path.exists():
            kept = json.loads(path.read_text(encoding="utf-8"))
            origin = f"`{name}`, {kept['date']}, {kept['machine']}."
            heading, _, rest = kept["section"].partition("\n")
            lines += [heading, "", origin, rest]
    return "\n".join(lines)
