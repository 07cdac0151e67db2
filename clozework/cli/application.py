"""The command with its sub-commands, and what becomes of errors and warnings.

`clozework --help` must answer at once, so no module of the command line imports Keras, JAX, NumPy
or a client for downloads when it is imported itself: these imports stand inside the commands.
"""

import errno
import functools
import os
import signal
import sys
import warnings

import click

import clozework
from clozework.cli.answer import answer
from clozework.cli.classify import classify
from clozework.cli.convert import convert
from clozework.cli.doctor import doctor
from clozework.cli.embed import embed
from clozework.cli.evaluate import compare, evaluate
from clozework.cli.explain import explain
from clozework.cli.fill import fill
from clozework.cli.generate import generate, summarize
from clozework.cli.info import info
from clozework.cli.presets import presets
from clozework.cli.rerank import rerank
from clozework.cli.tag import tag
from clozework.cli.train import train
from clozework.errors import ClozeworkError

__all__ = ["application", "main"]

# What a shell expects of a program that Ctrl-C ended.
_INTERRUPTED = 130


class _Application(click.Group):
    """A group whose commands report our errors in a sentence."""

    def invoke(self, ctx: click.Context):
        try:
            return super().invoke(ctx)
        except ClozeworkError as error:
            if ctx.params["debug"]:
                raise
            raise click.ClickException(str(error)) from error
        except OSError as error:
            # Of a pipe that nobody reads any more, as of `| head`, click takes no note.
            if ctx.params["debug"] or error.errno == errno.EPIPE:
                raise
            raise click.ClickException(f"{error.strerror or error}{_place(error)}.") from error
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            ctx.exit(_INTERRUPTED)


@click.group(cls=_Application, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(clozework.__version__, message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="On an error, print where in the code it came up.")
def application(*, debug: bool) -> None:
    """Pretrained text models on Keras 3, without TensorFlow."""
    if debug:
        sys.excepthook = sys.__excepthook__


application.add_command(fill)
application.add_command(classify)
application.add_command(tag)
application.add_command(embed)
application.add_command(answer)
application.add_command(rerank)
application.add_command(generate)
application.add_command(summarize)
application.add_command(train)
application.add_command(evaluate)
application.add_command(compare)
application.add_command(explain)
application.add_command(presets)
application.add_command(info)
application.add_command(convert)
application.add_command(doctor)


def main() -> None:
    """Runs the command; the `clozework` script calls it."""
    sys.excepthook = _print_unexpected
    signal.signal(signal.SIGINT, _interrupt)
    warnings.showwarning = functools.partial(_print_warning)
    application(prog_name="clozework")


def _interrupt(_number, frame) -> None:
    """Ends the program at Ctrl-C.

    While packages are imported nothing has been written yet, and native code among them does not
    bear an exception in its midst: JAX crashes.
    """
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            os.write(2, b"Interrupted.\n")
            os._exit(_INTERRUPTED)
        frame = frame.f_back
    raise KeyboardInterrupt


def _place(error: OSError) -> str:
    return f": {error.filename}" if error.filename else ", while results were written or read"


def _print_unexpected(kind: type[BaseException], error: BaseException, _traceback) -> None:
    """Prints an error that is not one of ours, and so a defect, without its traceback."""
    message = f"{kind.__name__}: {error}".strip().rstrip(".")
    click.echo(
        f"Error: {message}. This is a defect of Clozework or of a package that it uses; "
        "`clozework --debug ...` prints where it came up.",
        err=True,
    )


def _print_warning(message, _category, _filename, _lineno, _file=None, _line=None) -> None:
    click.echo(f"Warning: {message}", err=True)
