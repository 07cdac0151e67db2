"""Options of verbs that read a file and write one, and the job behind them."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from clozework.cli.printing import print_json, say

__all__ = ["file_options", "run_on_file"]

_OPTIONS = (
    click.option(
        "--input",
        "source",
        type=click.Path(exists=True, dir_okay=False),
        help="A file of texts of any size: .csv, .tsv, .jsonl, .txt, .parquet, .arrow.",
    ),
    click.option(
        "--output",
        "target",
        type=click.Path(dir_okay=False),
        help="Where results go: .jsonl, .csv, .tsv, .parquet.",
    ),
    click.option("--column", help="The column of texts; `text`, or the only one, by default."),
    click.option(
        "--on-error",
        type=click.Choice(["stop", "keep"]),
        default="stop",
        show_default=True,
        help="At a row that cannot be used: stop, or keep it apart in a file of its own.",
    ),
    click.option("--resume", "is_resumed", is_flag=True, help="Go on after an interrupt."),
)


def file_options(command: Callable) -> Callable:
    """Adds `--input`, `--output` and their like to a command, which gets them as `job`.

    It is None where texts are given in another way.
    """

    @functools.wraps(command)
    def with_job(*, source, target, column, on_error, is_resumed, **options):
        is_about_files = source is not None or target is not None
        if is_about_files and (source is None or target is None):
            raise click.UsageError("--input and --output go together.")
        if is_about_files and (options["texts"] or options["files"]):
            raise click.UsageError("Give texts, or --input: not both.")
        job = {
            "source": source,
            "target": target,
            "column": column,
            "on_error": on_error,
            "is_resumed": is_resumed,
        }
        return command(job=job if is_about_files else None, **options)

    for option in reversed(_OPTIONS):
        with_job = option(with_job)
    return with_job


def run_on_file(
    job: Mapping[str, Any],
    verb: Callable[[list[str]], Sequence[Any]],
    as_fields: Callable[[Any], Mapping[str, Any]],
    *,
    about: Mapping[str, Any],
    as_json: bool,
    problem_of: Callable[[str], str] = lambda text: "",
) -> None:
    """Runs a job, shows on a terminal how far it is, and says what came out.

    Args:
        job: As `file_options` gave it.
        verb, as_fields, about, problem_of: As in `clozework.bulk.run_job`.
        as_json: Whether the summary is JSON.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    from clozework.bulk import run_job

    console = Console(stderr=True)
    columns = (BarColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        bar = bars.add_task("reading", total=1.0)

        def show(progress) -> None:
            told = (
                f"{progress.num_rows:,} rows, {progress.rows_per_second:,.0f} a second, "
                f"{_as_time(progress.seconds_left)} left"
            )
            bars.update(bar, completed=progress.share, description=told)

        summary = run_job(
            verb,
            as_fields=as_fields,
            about=about,
            problem_of=problem_of,
            on_progress=show,
            **job,
        )
    if as_json:
        print_json({"output": job["target"], **vars(summary)})
        return
    say(f"{summary.num_written:,} rows were written to {job['target']}.")
    if summary.rejected:
        say(f"{summary.num_rejected:,} rows could not be used: see {summary.rejected}.")


def _as_time(seconds: float) -> str:
    """Writes a time for people.

    >>> _as_time(75), _as_time(3700)
    ('1:15', '1:01:40')
    """
    if seconds == float("inf"):
        return "?"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
