"""The options of the commands. Each is declared once; those that go together are fields of a dataclass.

Nothing here imports PyTorch, so that ``--help`` and a mistyped option are answered at once.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

import ncfm
from ncfm.cli import _completion

if TYPE_CHECKING:
    from ncfm.cli._progress import BarReporter


def flatten_options(command: Callable[..., None]) -> Callable[..., None]:
    """Let Typer see each field of a command's dataclass parameters as a parameter of its own.

    The fields take the place of the dataclass in the signature, with their types and defaults. When the command runs,
    the dataclass is built from their values.

    Raises:
        ValueError: if two parameters have the same name.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    flat: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        if name not in groups:
            flat.append(parameter.replace(kind=parameter.KEYWORD_ONLY, annotation=hints[name]))
            continue
        types = get_type_hints(groups[name], include_extras=True)
        for f in fields(groups[name]):
            default = parameter.empty if f.default is MISSING else f.default
            flat.append(inspect.Parameter(f.name, parameter.KEYWORD_ONLY, default=default, annotation=types[f.name]))

    @functools.wraps(command)
    def run(**values: Any) -> None:
        for name, group in groups.items():
            values[name] = group(**{f.name: values.pop(f.name) for f in fields(group)})
        command(**values)

    run.__signature__ = inspect.Signature(flat)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in flat}
    return run


# --- single options -----------------------------------------------------------------------------------------

_setting = functools.partial(typer.Option, rich_help_panel="Settings")
_output = functools.partial(typer.Option, rich_help_panel="Output")

Data = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        autocompletion=_completion.datasets,
        help="Dataset: digits, fashion-mnist, cifar10, cifar100, tiny-imagenet, imagenette, ..., hf:OWNER/NAME, or a "
        "path of a file, folder or archive; or MODULE:CALLABLE for your own code.",
    ),
]
Recipe = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        "-r",
        metavar="R",
        autocompletion=_completion.recipes,
        help="Recipe name or .toml file; default DATA-ipcN, or the nearest of the same data, or what follows from the "
        "data; 'none' = built-in defaults.",
    ),
]
SetPath = Annotated[
    str,
    typer.Argument(
        metavar="SET",
        help="A distilled set, or the run folder that contains it; gallery:NAME; or hf:OWNER/NAME.",
    ),
]
On = Annotated[
    str | None,
    typer.Option("--on", metavar="DATA", help="Real dataset; default: the one that the set was distilled from."),
]
ChangedData = Annotated[
    bool, typer.Option("--changed-data", help="Go on although the data have changed since the set was distilled.")
]
Runs = Annotated[
    int | None, typer.Option("--runs", metavar="N", help="Students (evaluation networks) per set and architecture.")
]
FullEpochs = Annotated[
    int, typer.Option("--full-epochs", metavar="N", help="Training epochs on the full training split.")
]
Set = Annotated[
    list[str] | None,
    _setting("--set", metavar="KEY=VALUE", help="Override a setting; `ncfm recipes keys` lists all. Repeatable."),
]
Device = Annotated[str | None, _setting("--device", metavar="D", help="Device: auto, cpu, cuda, cuda:N or mps.")]
DataDir = Annotated[
    Path | None,
    _setting(
        "--data-dir",
        envvar="NCFM_DATA",
        metavar="DIR",
        help="Look for datasets here before downloading: DIR/cifar10, DIR/cifar-10-batches-py, ...",
    ),
]
_results = _output("--results", metavar="CSV", help="Append the result rows to this file.")
Results = Annotated[Path | None, _results]
ResultsFile = Annotated[Path, _results]
Plot = Annotated[Path | None, _output("--plot", metavar="PNG", help="Write a plot to this file.")]
AsJson = Annotated[bool, _output("--json", help="Print the result as JSON.")]


# --- groups -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What to distil."""

    data: Data
    ipc: Annotated[
        str,
        typer.Option(
            "--ipc",
            metavar="N",
            help="Images per class (IPC) in storage; or N,N,... for each class, or proportional:N for N on average.",
        ),
    ]
    recipe: Recipe = None

    @property
    def title(self) -> str:
        """For a table or a plot."""
        return title_of(self.data, self.ipc)

    def folder(self, prefix: str = "") -> Path:
        """The default run folder: ``runs/DATA-ipcN``."""
        from ncfm.data.sources import short_name

        return Path("runs") / f"{prefix}{short_name(self.data)}-ipc{self._ipc_in_words()}"

    def _ipc_in_words(self) -> str:
        from ncfm.synthetic.counts import checked_spec, in_words

        return in_words(checked_spec(self.ipc))


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A distilled set, and the real data to use it on."""

    path: SetPath
    on: On = None
    changed_data: ChangedData = False

    @property
    def title(self) -> str:
        """For a plot."""
        from ncfm.synthetic.counts import in_short

        synthetic = ncfm.load(self.path)
        return title_of(self.on or synthetic.facts.get("data", "unknown"), in_short(synthetic.stored_counts))


@dataclass(frozen=True, kw_only=True)
class Students:
    """The networks that are trained on a set to evaluate it."""

    runs: Runs = None
    epochs: Annotated[int | None, typer.Option("--epochs", metavar="N", help="Training epochs per student.")] = None


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Which columns and splits of a dataset are read, where there is a choice."""

    image_column: Annotated[
        str | None, _setting("--image-column", metavar="NAME", help="Column of the images; default: a usual name.")
    ] = None
    label_column: Annotated[
        str | None, _setting("--label-column", metavar="NAME", help="Column of the labels; default: a usual name.")
    ] = None
    train_split: Annotated[
        str | None, _setting("--train-split", metavar="NAME", help="File, folder or table to train on.")
    ] = None
    test_split: Annotated[
        str | None, _setting("--test-split", metavar="NAME", help="File, folder or table to test on.")
    ] = None

    @property
    def shortcuts(self) -> dict[str, str | None]:
        """The settings that these options are short for, as `settings_of` takes them."""
        return {f"data__{f.name}": getattr(self, f.name) for f in fields(Parts)}


@dataclass(frozen=True, kw_only=True)
class Setup(Parts):
    """Settings over those of the recipe, and where to compute."""

    set_: Set = None
    seed: Annotated[int | None, _setting("--seed", metavar="S", help="Random seed; default: the recipe's.")] = None
    device: Device = None
    data_dir: DataDir = None

    def arguments(self, **shortcuts: Any) -> dict[str, Any]:
        """What the functions of `ncfm` take: ``settings``, ``seed`` and ``data_dir``.

        Args:
            shortcuts: options that are short for a setting, with ``__`` for its dot; None if not given.
        """
        settings = settings_of(self.set_, machine__device=self.device, **self.shortcuts, **shortcuts)
        return {"settings": settings, "seed": self.seed, "data_dir": self.data_dir}


@dataclass(frozen=True, kw_only=True)
class Output:
    """What is printed."""

    as_json: AsJson = False
    quiet: Annotated[bool, _output("--quiet", "-q", help="Do not show progress.")] = False

    def progress(self) -> BarReporter:
        """A reporter to use in a ``with`` statement."""
        from ncfm.cli._progress import BarReporter

        return BarReporter(self.quiet)


# --- what options mean --------------------------------------------------------------------------------------


def settings_of(pairs: Sequence[str] | None, **shortcuts: Any) -> dict[str, Any]:
    """Dotted settings of the command line: ``--set`` pairs, and options that are short for a setting.

    Raises:
        NcfmError: for a pair that is not ``key=value``.
    """
    from ncfm.config.keys import parse_setting

    settings = dict(parse_setting(pair) for pair in pairs or [])
    given = {key.replace("__", "."): value for key, value in shortcuts.items() if value is not None}
    return settings | given


def split_names(text: str | None) -> list[str]:
    """Names joined by commas.

    >>> split_names("ncfm, random,"), split_names(None)
    (['ncfm', 'random'], [])
    """
    return [name.strip() for name in (text or "").split(",") if name.strip()]


def split_numbers(text: str, option: str) -> list[int]:
    """Whole numbers joined by commas.

    Raises:
        NcfmError: if one is not a whole number.
    """
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise ncfm.InputError(f"{option} takes whole numbers joined by commas, got {text!r}.") from error


def title_of(data: str, ipc: str) -> str:
    """What a table or a plot is about.

    >>> title_of("digits", "1"), title_of("cifar10", "10"), title_of("cifar10", "1 to 10")
    ('digits, 1 image per class', 'cifar10, 10 images per class', 'cifar10, 1 to 10 images per class')
    """
    return f"{data}, {ipc} image{'' if ipc == '1' else 's'} per class"
