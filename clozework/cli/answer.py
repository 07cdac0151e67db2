"""`clozework answer`: the part of a context that answers a question."""

import dataclasses
import hashlib
from typing import IO

import click

from clozework.cli.requests import Request, request_options
from clozework.errors import InputError

__all__ = ["answer"]


@click.command(short_help="Find the answers to questions in a context.")
@request_options("The question answerer.")
@click.option("--context", metavar="TEXT", help="The text that holds the answers.")
@click.option(
    "--context-file",
    type=click.File(encoding="utf-8"),
    help="A file with that text, of any length.",
)
@click.option(
    "--context-column",
    default="context",
    show_default=True,
    help="The column of such texts, where --input has one for each question.",
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
    context_column: str,
    top_k: int,
    can_be_absent: bool,
) -> None:
    """Answers questions: `clozework answer -m MODEL --context-file FILE "Who was it?"`

    Each TEXT is a question; `-` stands for the lines of the standard input. A file, `--input
    questions.csv --output answers.csv`, has a column `question`, and one of contexts unless one
    context is for all.
    """
    sources = [source for source in (context, context_file) if source is not None]
    if len(sources) > 1 or not (sources or request.job):
        raise click.UsageError("Give the text that holds the answers: --context or --context-file.")
    answerer = request.model("QuestionAnswerer")
    options = {
        "as_fields": lambda answers: {"answers": [dataclasses.asdict(one) for one in answers]},
        "as_columns": _as_columns,
        "show": _as_text,
        "doing": "Answering",
        "problem_of": lambda example: _problem_of(answerer, example),
        "top_k": top_k,
        "can_be_absent": can_be_absent,
    }
    question = (request.job or {}).get("column") or "question"
    if not sources:
        request.run(
            lambda pairs, **asked: answerer.answer(*map(list, zip(*pairs, strict=True)), **asked),
            columns=(question, context_column),
            **options,
        )
        return
    source = context_file.read() if context_file is not None else context or ""
    request.run(
        lambda questions, **asked: answerer.answer(questions, source, **asked),
        columns=(question,),
        made_with={"context": hashlib.sha256(source.encode()).hexdigest()},
        **options,
    )


def _problem_of(answerer, example) -> str:
    """Says why a question, or one with its context, cannot be answered; empty if it can."""
    try:
        answerer.check_question(example if isinstance(example, str) else example[0])
    except InputError as error:
        return str(error)
    return ""


def _as_columns(answers) -> dict:
    best = answers[0] if answers else None
    names = ("text", "start", "end", "score")
    return {f"answer_{name}": getattr(best, name) if best else None for name in names}


def _as_text(question: str, answers) -> str:
    lines = [f"  {one.score:6.1%}  {one.text or '(no answer)'}" for one in answers]
    return "\n".join([question, "", *(lines or ["  nothing"])])
