"""The command line: ``ncfm COMMAND``."""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from pathlib import Path
from typing import Annotated, TextIO

import typer

from ncfm._utils.checks import NcfmError
from ncfm._utils.device import is_out_of_memory
from ncfm._utils.distributed import LostRank, Ranks, joined
from ncfm.cli import (
    compare,
    continual,
    data,
    diagnose,
    distill,
    evaluate,
    export,
    plan,
    pretrain,
    recipes,
    report,
    reproduce,
    score,
    search,
)
from ncfm.cli._common import console, errors
from ncfm.distillation import Interrupted

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Turn an image-classification set into a few synthetic images per class, and judge the result.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("distill")(distill.command)
app.command("evaluate")(evaluate.command)
app.command("export")(export.command)
app.command("compare")(compare.command)
app.command("reproduce")(reproduce.command)
app.command("score")(score.command)
app.command("continual")(continual.command)
app.command("search")(search.command)
app.command("report")(report.command)
app.command("diagnose")(diagnose.command)
app.command("pretrain")(pretrain.command)
app.command("plan")(plan.command)
app.command("data")(data.command)
app.add_typer(recipes.app, name="recipes")


def _show_version(value: bool) -> None:
    if value:
        from ncfm._utils.version import __version__

        typer.echo(f"ncfm {__version__}")
        raise typer.Exit


def _show_tracebacks(value: bool) -> None:
    if value:
        os.environ[DEBUG] = "1"  # and in processes that this one starts


DEBUG = "NCFM_DEBUG"
MISTAKE = 70  # exit code of a mistake of ours: EX_SOFTWARE of sysexits.h
SHARED_OUT = ("distill", "evaluate", "pretrain")  # commands that several ranks do together


@app.callback()
def root(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True),
    ] = False,
    debug: Annotated[
        bool,
        typer.Option(
            "--debug", help="Tell with every error where it came from.", callback=_show_tracebacks, is_eager=True
        ),
    ] = False,
) -> None:
    """Turn an image-classification set into a few synthetic images per class, and judge the result."""
    if not Ranks.here().is_single and context.invoked_subcommand not in SHARED_OUT:
        raise NcfmError(
            f"ncfm {context.invoked_subcommand} works in one process, start it without torchrun; several processes "
            f"share out: {', '.join(SHARED_OUT)}."
        )


def main() -> None:
    """Run the command line; exit codes: 0 done, 1 failed, 2 wrong usage, 70 a mistake of ours, 75 a budget of time is
    used, 130 stopped by Ctrl-C.

    Started by torchrun, all processes do the work and the first one speaks; what goes wrong any of them tells. Errors
    are sentences; ``ncfm --debug COMMAND`` (or NCFM_DEBUG=1) shows their tracebacks, too.
    """
    if not sys.warnoptions:  # who asks Python for warnings gets them its way
        warnings.showwarning = _show_warning
    who = "ncfm"
    try:
        with joined() as ranks:
            if not ranks.is_main:
                who = f"ncfm, rank {ranks.rank}"
                console.quiet = True
                warnings.showwarning = _show_nothing
            app()
    except NcfmError as error:
        if who == "ncfm" or not isinstance(error, Interrupted):  # all stop together, and one says it
            _tell(who, str(error))
        _exit(error.exit_code, at_once=isinstance(error, LostRank) or isinstance(error.__cause__, LostRank))
    except KeyboardInterrupt:
        errors.print(
            "ncfm: stopped. Finished teachers, sets and scores are kept; run the same command again.", soft_wrap=True
        )
        sys.exit(130)
    except Exception as error:  # whatever it is: no traceback unless it is asked for
        said = str(error).partition("\n")[0] or type(error).__name__
        if is_out_of_memory(error):
            _tell(
                who,
                f"Not enough memory ({said}). Finished teachers, sets and scores are kept; "
                "run the same command again with more memory, or with smaller settings.",
            )
            sys.exit(1)
        if isinstance(error, OSError):  # a file, a disk, a network: the system says what and why
            _tell(who, f"{error.strerror}: {error.filename}." if error.strerror and error.filename else f"{said}.")
            sys.exit(1)
        _tell(
            who,
            f"A mistake of ncfm, not yours: {type(error).__name__}: {said}. Finished teachers, sets and scores are "
            "kept. Please report it with what `ncfm --debug` prints before the same command.",
        )
        sys.exit(MISTAKE)


def _tell(who: str, said: str) -> None:
    """Tell an error in a sentence; before it the traceback of the one that is handled, if that is asked for."""
    if os.environ.get(DEBUG):
        traceback.print_exc()
    errors.print(f"[bold red]{who}:[/] {_escape(said)}", highlight=False, soft_wrap=True)


def _exit(code: int, *, at_once: bool) -> None:
    """End the process. At once where a rank was lost: threads of the backend still wait for it."""
    if at_once:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _show_nothing(*_: object, **__: object) -> None:
    """Of a rank that does not speak."""


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Our own warnings in one line, as errors are told; those of other packages are for their programmers."""
    if issubclass(category, UserWarning) and Path(__file__).parents[1] in Path(filename).parents:
        errors.print(f"[bold yellow]ncfm:[/] {_escape(str(message))}", highlight=False, soft_wrap=True)


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)
