"""The command line: ``ncfm COMMAND``.

A command imports PyTorch when it runs. Until then this file and the commands need only Typer and Rich, so that
``ncfm --help``, ``ncfm --version`` and a typo are answered at once.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, TextIO

import typer

import ncfm
from ncfm._utils.launch import world_size
from ncfm._utils.signals import handled, interrupt
from ncfm.cli import (
    compare,
    continual,
    data,
    demo,
    diagnose,
    distill,
    evaluate,
    export,
    ledger,
    plan,
    pretrain,
    recipes,
    report,
    reproduce,
    score,
    search,
)
from ncfm.cli._output import console, errors

DEBUG = "NCFM_DEBUG"
INTERNAL_ERROR = 70  # exit code: EX_SOFTWARE of sysexits.h
PARALLEL = ("distill", "evaluate", "pretrain")  # commands that several ranks can share
INTERRUPTED = 130  # exit code of a program that is stopped by Ctrl-C, by the custom of shells
KEPT = "Finished teachers, sets and scores are kept."

COMMANDS = {
    "demo": demo.command,
    "distill": distill.command,
    "evaluate": evaluate.command,
    "export": export.command,
    "compare": compare.command,
    "reproduce": reproduce.command,
    "score": score.command,
    "continual": continual.command,
    "search": search.command,
    "ledger": ledger.command,
    "report": report.command,
    "diagnose": diagnose.command,
    "pretrain": pretrain.command,
    "plan": plan.command,
    "data": data.command,
}

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for name, command in COMMANDS.items():
    app.command(name)(command)
app.add_typer(recipes.app, name="recipes")


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"ncfm {ncfm.__version__}")
        raise typer.Exit


def _show_tracebacks(value: bool) -> None:
    if value:
        os.environ[DEBUG] = "1"  # also for processes that this one starts


@app.callback()
def root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True)
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show tracebacks.", callback=_show_tracebacks, is_eager=True)
    ] = False,
) -> None:
    """Distil an image-classification dataset into a few synthetic images per class, and evaluate the result.

    Begin with `ncfm demo`. `ncfm --install-completion` lets the shell complete commands, options and names.
    """
    if context.invoked_subcommand not in PARALLEL and not _is_alone():
        raise ncfm.InputError(
            f"ncfm {context.invoked_subcommand} runs in one process; start it without torchrun. Commands that several "
            f"processes can share: {', '.join(PARALLEL)}."
        )


def main() -> None:
    """Run the command line.

    Exit codes: 0 success, 1 failure, 2 wrong usage, 70 internal error, 75 the time budget is used up, 130 interrupted.

    Errors are one-line messages; ``ncfm --debug COMMAND`` (or NCFM_DEBUG=1) also shows their tracebacks. Under torchrun
    all processes work, the first one prints, and each prints its own errors.
    """
    _print_every_name()
    if not sys.warnoptions:  # python -W is stronger than our form
        warnings.showwarning = _show_warning
    who = "ncfm"
    try:
        with handled(interrupt), _joined() as rank:
            if rank > 0:
                who = f"ncfm, rank {rank}"
                console.quiet = True
                warnings.showwarning = _ignore_warning
            app()
    except KeyboardInterrupt:
        _say_interrupted()
        sys.exit(INTERRUPTED)
    except SystemExit as stop:
        if stop.code == INTERRUPTED:  # typer's answer to Ctrl-C, which says nothing
            _say_interrupted()
        raise
    except Exception as error:
        # All ranks are interrupted together; one message is enough.
        if who == "ncfm" or not isinstance(error, ncfm.Interrupted):
            _print_error(who, _message(error))
        _exit(_exit_code(error), at_once=_lost_rank(error))


def _say_interrupted() -> None:
    errors.print(f"ncfm: interrupted. {KEPT} Run the same command again to resume.", soft_wrap=True)


def _print_every_name() -> None:
    """Let names of files that are not UTF-8, or not of the terminal's encoding, be printed with escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _may_be_parallel() -> bool:
    """Whether other ranks are possible. Without them PyTorch, which is slow to import, is not needed to ask."""
    return "torch.distributed" in sys.modules or world_size() > 1


def _is_alone() -> bool:
    """Whether this process has joined no other ranks."""
    if not _may_be_parallel():
        return True
    from ncfm._utils.distributed import Ranks

    return Ranks.here().is_single


@contextlib.contextmanager
def _joined() -> Iterator[int]:
    """Join the ranks of torchrun, if any; yield the rank of this process."""
    if not _may_be_parallel():
        yield 0
        return
    from ncfm._utils.distributed import joined

    with joined() as ranks:
        yield ranks.rank


def _message(error: Exception) -> str:
    """An error in one line."""
    if isinstance(error, ncfm.NcfmError):
        return str(error)
    from ncfm._utils.device import is_out_of_memory
    from ncfm._utils.outside import blame

    text = str(error).partition("\n")[0] or type(error).__name__
    if is_out_of_memory(error):
        return f"Not enough memory ({text}). {KEPT} Run the same command again with more memory or smaller settings."
    own_code = blame(error)
    if own_code is not None:
        first = own_code.partition("\n")[0]
        return f"{first}. Its traceback: the same command after `ncfm --debug`."
    if isinstance(error, OSError):  # a file, a disk, a network
        return f"{error.strerror}: {error.filename}." if error.strerror and error.filename else f"{text}."
    return (
        f"Internal error in ncfm ({type(error).__name__}: {text}); please report it, with the output of the same "
        f"command after `ncfm --debug`. {KEPT}"
    )


def _exit_code(error: Exception) -> int:
    if isinstance(error, ncfm.NcfmError):
        return error.exit_code
    from ncfm._utils.device import is_out_of_memory
    from ncfm._utils.outside import blame

    expected = is_out_of_memory(error) or isinstance(error, OSError) or blame(error) is not None
    return 1 if expected else INTERNAL_ERROR


def _lost_rank(error: Exception) -> bool:
    """Whether another rank has ended."""
    if "ncfm._utils.distributed" not in sys.modules:
        return False
    from ncfm._utils.distributed import LostRank

    return isinstance(error, LostRank) or isinstance(error.__cause__, LostRank)


def _print_error(who: str, message: str) -> None:
    """Print an error message; with --debug after the traceback of the exception that is being handled."""
    if os.environ.get(DEBUG):
        traceback.print_exc()
    errors.print(f"[bold red]{who}:[/] {_escape(message)}", highlight=False, soft_wrap=True)


def _exit(code: int, *, at_once: bool) -> None:
    """End the process; at once if a rank was lost, because threads of the backend still wait for it."""
    if at_once:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _ignore_warning(*_: object, **__: object) -> None:
    """For ranks that do not print."""


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print the warnings of this package in one line, which does not begin like an error; others are for developers."""
    if issubclass(category, UserWarning) and Path(__file__).parents[1] in Path(filename).parents:
        errors.print(f"[bold yellow]Warning:[/] {_escape(str(message))}", highlight=False, soft_wrap=True)


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)
