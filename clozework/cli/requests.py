"""What a command is asked: which model, and texts on the command line or in a file."""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from clozework.cli.loading import DTYPE_OPTION, load_task, model_option
from clozework.cli.printing import as_time, print_json, print_json_list, say
from clozework.cli.texts import JSON_OPTION, given_texts, in_parts, text_arguments

__all__ = ["Request", "request_options"]

_FILE_OPTIONS = (
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


@dataclass(frozen=True)
class Request:
    """What all verbs are asked alike.

    Attributes:
        texts: Those that were given, which may be read but once; none where a file is.
        job: The file, and where its results go, as `clozework.bulk.run_job` takes them; or None.
        preset, dtype: Of the model.
        as_json: Whether results are to be JSON.
    """

    texts: Iterable[str]
    job: Mapping[str, Any] | None
    preset: str
    dtype: str | None
    as_json: bool

    def model(self, kind: str) -> Any:
        """Returns the model, a task of a kind such as `"MaskedLM"`."""
        return load_task(kind, self.preset, self.dtype)

    def run(
        self,
        verb: Callable[..., Sequence[Any]],
        *,
        as_fields: Callable[[Any], Mapping[str, Any]],
        show: Callable[[str, Any], str],
        doing: str,
        as_columns: Callable[[Any], Mapping[str, Any]] | None = None,
        problem_of: Callable[[Any], str] = lambda text: "",
        columns: Sequence[str] | None = None,
        between: str = "\n\n",
        made_with: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        """Calls a verb with all texts, and writes or prints what it says.

        Args:
            verb: Called with some texts and the options; returns a result for each.
            as_fields: Makes an object of JSON of a result.
            show: Makes what people read of a text and its result.
            doing: What is told while it takes its time.
            as_columns: Makes columns of a table, where they are not the fields.
            problem_of: Says why a text of a file cannot be used; empty if it can.
            columns: Those of a file that the verb is given as tuples; one column by default.
            between: What stands between results that people read.
            made_with: What results depend on beside model and options.
            **options: Of the verb.
        """
        call = functools.partial(verb, **options)
        if self.job is not None:
            is_table = not self.job["target"].endswith(".jsonl")
            as_row = as_columns if is_table and as_columns is not None else as_fields
            about = {"doing": doing, "model": self.preset, "dtype": self.dtype}
            job = self.job if columns is None else {**self.job, "column": columns}
            self._run_on_file(
                job, call, as_row, {**about, **(made_with or {}), **options}, problem_of
            )
            return
        pairs = in_parts(call, self.texts, doing)
        if self.as_json:
            print_json_list({"input": text, **as_fields(result)} for text, result in pairs)
            return
        for i, (text, result) in enumerate(pairs):
            # Whole lines, as an error may follow.
            click.echo(between.removeprefix("\n") * (i > 0) + show(text, result))

    def _run_on_file(self, job: Mapping[str, Any], verb, as_fields, about, problem_of) -> None:
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
                    f"{as_time(progress.seconds_left)} left"
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
        if self.as_json:
            print_json({"output": job["target"], **vars(summary)})
            return
        say(f"{summary.num_written:,} rows were written to {job['target']}.")
        if summary.rejected:
            say(f"{summary.num_rejected:,} rows could not be used: see {summary.rejected}.")


def request_options(what: str, *, default: str | None = None, reads_files: bool = True) -> Callable:
    """Returns what adds the options of a `Request` to a command, which gets it first.

    Args:
        what, default: Of the model, as in `model_option`.
        reads_files: Whether the command also works on files of any size.
    """

    def with_options(command: Callable) -> Callable:
        @functools.wraps(command)
        def with_request(*, texts, files, preset, dtype, as_json, **options):
            job = _job_of(options) if reads_files else None
            if job is not None and (texts or files):
                raise click.UsageError("Give texts, or --input: not both.")
            given = given_texts(texts, files) if job is None else []
            return command(Request(given, job, preset, dtype, as_json), **options)

        of_files = _FILE_OPTIONS if reads_files else ()
        of_all = (model_option(what, default=default), DTYPE_OPTION, JSON_OPTION)
        decorated: Callable = with_request
        for option in reversed((text_arguments, *of_files, *of_all)):
            decorated = option(decorated)
        return decorated

    return with_options


def _job_of(options: dict[str, Any]) -> dict[str, Any] | None:
    """Takes the options of a job out of all options; None where there is no file."""
    names = ("source", "target", "column", "on_error", "is_resumed")
    job = {name: options.pop(name) for name in names}
    if job["source"] is None and job["target"] is None:
        return None
    if job["source"] is None or job["target"] is None:
        raise click.UsageError("--input and --output go together.")
    return job
