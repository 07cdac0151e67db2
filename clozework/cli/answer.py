"""`clozework answer`: the part of a context that answers a question."""

import dataclasses
from typing import IO

import click

from clozework.cli.requests import Request, request_options

__all__ = ["answer"]


@click.command(short_help="Find the answers to questions in a context.")
@request_options("The question answerer.", reads_files=False)
@click.option("--context", metavar="TEXT", help="The text that holds the answers.")
@click.option(
    "--context-file",
    type=click.File(encoding="utf-8"),
    help="A file with that text, of any length.",
)
@click.option(
    "--top-k",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="How many answers to give for each question.",
)
@click.option("--can-be-absent", is_flag=True, help="Whether there may be no answer.")
def answer(
    request: Request,
    *,
    context: str | None,
    context_file: IO[str] | None,
    top_k: int,
    can_be_absent: bool,
) -> None:
    """Answers questions: `clozework answer -m MODEL --context-file FILE "Who was it?"`

    Each TEXT is a question; `-` stands for the lines of the standard input.
    """
    if (context is None) == (context_file is None):
        raise click.UsageError("Give the text that holds the answers: --context or --context-file.")
    source = context if context_file is None else context_file.read()
    answerer = request.model("QuestionAnswerer")
    request.run(
        lambda questions, **options: answerer.answer(questions, source, **options),
        as_fields=lambda answers: {"answers": [dataclasses.asdict(one) for one in answers]},
        show=_as_text,
        doing="Answering",
        top_k=top_k,
        can_be_absent=can_be_absent,
    )


def _as_text(question: str, answers) -> str:
    lines = [f"  {one.score:6.1%}  {one.text or '(no answer)'}" for one in answers]
    return "\n".join([question, "", *(lines or ["  nothing"])])
