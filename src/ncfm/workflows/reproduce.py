"""Rows of the results table, each made anew by one command: data found, set distilled, judged, and compared.

A row is a recipe of the package whose header names `ncfm reproduce` as its command. What a row came to before is told
by the file of committed rows that comes with the package, and by the paper.
"""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ncfm._utils.checks import NcfmError, nearest
from ncfm._utils.files import best_effort, read_json, write_json
from ncfm._utils.progress import Reporter, Silent
from ncfm.config.recipes import recipe_names, recipe_path
from ncfm.config.resolve import CONFIG_FILE, Settings, check_folder, describe_run, resolve_config, variant_of
from ncfm.config.schema import make_config, nest
from ncfm.distillation import Interrupted
from ncfm.evaluation import EvaluationResult
from ncfm.evaluation.statistics import Comparison, compare_summaries
from ncfm.formats.reading import is_set
from ncfm.results.files import read_rows
from ncfm.results.published import published
from ncfm.results.rows import AccuracyRow
from ncfm.synthetic.storage import load
from ncfm.synthetic.synthetic_set import SyntheticSet
from ncfm.workflows.compare import Scored, accuracy_row
from ncfm.workflows.distill import distill
from ncfm.workflows.evaluate import evaluate

if TYPE_CHECKING:
    from ncfm._utils.energy import EnergyMeter

COMMITTED = Path(__file__).parents[1] / "results" / "committed.csv"
"""Rows of ``results/accuracy.csv`` by recipe, as they were when this version was made."""

ENERGY_FILE = "energy.json"
FIELDS = ("Command", "Paper", "Expected", "Time", "Hardware")
NAME = re.compile(r"(?P<data>.+)-ipc(?P<ipc>\d+)(-(?P<schedule>.+))?")
READ_SECONDS = 1.0  # between two readings of the energy


class OutOfTime(NcfmError):
    """A piece of a row has had its time; everything is kept for the next one."""

    exit_code = 75  # sysexits' "temporary failure": the same command again


@dataclass(frozen=True)
class Row:
    """A row that can be made: data and images a class, by a recipe of the package."""

    name: str  # of the recipe
    data: str
    ipc: int
    schedule: str  # "" for the usual one, "paper"
    header: Mapping[str, str]  # of the recipe, by `FIELDS`

    @property
    def paper(self) -> float | None:
        """What the paper reports, in percent; None if it does not."""
        config = resolve_config(self.data, self.ipc, self.name, None, None)
        return published(self.data, self.ipc, config.evaluate.network)


@dataclass(frozen=True)
class Reproduction:
    """A row made anew, beside what it was before."""

    row: Row
    made: AccuracyRow
    evaluation: EvaluationResult
    paper: float | None  # percent, the best of many looks at the test split
    committed: Mapping[str, str] | None  # the row as it was committed
    against_committed: Comparison | None  # this less that; None where either has one student, or was judged otherwise


class Limited:
    """A reporter that ends the work when its time is over, and samples the energy meter along the way.

    Args:
        reporter: is told everything.
        seconds: from now; None for no limit.
        meter: of energy; None measures none.
    """

    def __init__(self, reporter: Reporter, seconds: float | None, meter: EnergyMeter | None = None) -> None:
        self.reporter, self.meter = reporter, meter
        self._deadline = None if seconds is None else time.monotonic() + seconds
        self._read = time.monotonic()

    @property
    def is_over(self) -> bool:
        """Whether the time has passed."""
        return self._deadline is not None and time.monotonic() >= self._deadline

    def begin(self, stage: str, total: int) -> None:
        """Tell on."""
        self.reporter.begin(stage, total)

    def update(self, done: int, note: str = "") -> None:
        """Tell on.

        Raises:
            Interrupted: if the time is over: trainings and iterations then keep what they have, and end.
        """
        self.reporter.update(done, note)
        if self.meter is not None and time.monotonic() - self._read >= READ_SECONDS:
            self._read = time.monotonic()
            self.meter.sample()
        if self.is_over:
            raise Interrupted("The time is over.")

    def end(self) -> None:
        """Tell on."""
        self.reporter.end()


def rows() -> list[Row]:
    """All rows that the package has recipes of, by data, images a class and schedule."""
    found = []
    for name in recipe_names():
        header, parsed = read_header(name), NAME.fullmatch(name)
        if parsed is not None and header.get("Command") == f"ncfm reproduce {name}":
            found.append(Row(name, parsed["data"], int(parsed["ipc"]), parsed["schedule"] or "", header))
    return sorted(found, key=lambda row: (row.data, row.ipc, row.schedule))


def find_row(name: str) -> Row:
    """A row by its name.

    Raises:
        NcfmError: naming the nearest if there is none.
    """
    known = {row.name: row for row in rows()}
    if name not in known:
        raise NcfmError(f"Unknown row {name!r}.{nearest(name, known)} `ncfm reproduce --list` shows all.")
    return known[name]


def read_header(recipe: str) -> dict[str, str]:
    """The fields of a recipe's leading comment, by name: ``# Expected: ...``, with the lines that go on with it."""
    found: dict[str, str] = {}
    field = None
    for line in recipe_path(recipe).read_text(encoding="utf-8").splitlines()[1:]:
        if not line.startswith("#"):
            break
        named = re.match(rf"# ({'|'.join(FIELDS)}):\s+(.*)", line)
        if named:
            field = named[1]
            found[field] = named[2].strip()
        elif field and line.startswith("#  "):
            found[field] += " " + line.lstrip("# ").strip()
        else:
            field = None
    return found


def check_header(recipe: str) -> None:
    """Check what a recipe of the package says of itself.

    Raises:
        NcfmError: if command, expectation or hardware are missing, the command does not use this recipe, a row that has
            not been run does not say how long it would take, or the paper's number is not the paper's.
    """
    header, problems = read_header(recipe), []
    problems += [f"no line `# {field}: ...`" for field in ("Command", "Expected", "Hardware") if field not in header]
    words = shlex.split(header.get("Command", ""))
    parsed = NAME.fullmatch(recipe)
    if words and recipe not in words:
        problems.append(f"its command `{' '.join(words)}` does not name it")
    if header.get("Expected", "").startswith("not run yet") and "Time" not in header:
        problems.append("not run yet, and no line `# Time: ...`")
    if words[:2] == ["ncfm", "reproduce"] and parsed is not None:
        network = resolve_config(parsed["data"], int(parsed["ipc"]), recipe, None, None).evaluate.network
        value = published(parsed["data"], int(parsed["ipc"]), network)
        told = re.match(r"[\d.]+", header.get("Paper", ""))
        if value != (None if told is None else float(told.group())):
            problems.append(f"the paper reports {value}, the header says {header.get('Paper', 'nothing')!r}")
    if problems:
        raise NcfmError(f"Recipe {recipe}: {'; '.join(problems)}.")


def committed_row(name: str) -> dict[str, str] | None:
    """The committed row of a recipe; None if there is none yet."""
    found = [row for row in read_rows(COMMITTED) if row["row"] == name] if COMMITTED.is_file() else []
    return found[-1] if found else None


def reproduce(
    row: Row,
    *,
    out: str | Path,
    minutes: float | None = None,
    settings: Settings | None = None,
    seed: int | None = None,
    data_dir: str | Path | None = None,
    reporter: Reporter | None = None,
    energy: bool = False,
) -> Reproduction:
    """Make a row anew, or go on with it: teachers, set, students; each is kept as far as it is.

    Args:
        row: see `find_row`.
        out: run folder; one that holds a part of this row is gone on with.
        minutes: the time of this piece; None for as long as it takes.
        settings: dotted settings over the recipe, which the row's variant then names.
        seed, data_dir, reporter: as in `ncfm.distill`.
        energy: measure what the machine uses; the row has it if every piece was measured.

    Raises:
        NcfmError: as `ncfm.distill` and `ncfm.evaluate`, and if ``out`` holds something else.
        OutOfTime: when the minutes are used and the row is not finished.
        ncfm.Interrupted: on Ctrl-C or SIGTERM.
    """
    out, settings = Path(out).expanduser(), dict(settings or {})
    config = resolve_config(row.data, row.ipc, row.name, settings, seed)
    if minutes is not None:  # a stacked pass of students would begin anew with every piece
        settings = {"machine.students": "one by one"} | settings
    resumed, meter = (out / CONFIG_FILE).is_file(), None
    if energy:
        from ncfm._utils.energy import EnergyMeter

        meter = EnergyMeter()
    limited = Limited(reporter or Silent(), None if minutes is None else 60 * minutes, meter)
    try:
        synthetic = _distilled(row, out, settings, seed, data_dir, limited)
        # The network of the teachers too: the set records the same, but a name of code is the user's to give.
        kinds = ("evaluate.", "machine.", "data.", "teachers.network")
        judged = {key: value for key, value in settings.items() if key.startswith(kinds)}
        evaluation = evaluate(synthetic, settings=judged, seed=seed, data_dir=data_dir, reporter=limited)
    except Interrupted as stop:
        if not limited.is_over:
            raise Interrupted(f"{stop} Run the same command again to go on.") from stop
        said = str(stop) if "iteration" in str(stop) else "Finished epochs are kept."
        raise OutOfTime(
            f"The {minutes:g} minutes of this piece are used. {said} Run the same command again to go on."
        ) from stop
    finally:
        joules = _add_energy(out, None if meter is None else meter.sample(), resumed=resumed)
    facts = synthetic.facts
    scored = Scored(
        name=row.name,
        method=facts["method"],
        variant=",".join(filter(None, [row.schedule, variant_of(row.data, row.ipc, config, recipe=row.name)])),
        seed=config.seed,
        evaluation=evaluation,
        storage=synthetic.storage,
        teacher_seconds=facts.get("teacher_seconds"),
        distill_seconds=facts.get("distill_seconds"),
        iterations=facts.get("iterations"),
        distill_memory_mb=facts.get("distill_memory_mb"),
        training_images=facts.get("training_images"),
    )
    judged_by = make_config(facts["config"], nest(judged), {} if seed is None else {"seed": seed})
    made = replace(
        accuracy_row(scored, facts["data"], synthetic.ipc, judged_by),
        energy_wh=None if joules is None else joules / 3600,
    )
    before = committed_row(row.name)
    return Reproduction(row, made, evaluation, row.paper, before, _against(made, before))


def _distilled(
    row: Row,
    out: Path,
    settings: Settings,
    seed: int | None,
    data_dir: str | Path | None,
    reporter: Reporter,
) -> SyntheticSet:
    """The set of a row: that of the folder if it is finished, else distilled, from where the folder has got."""
    begun = (out / CONFIG_FILE).is_file()
    if begun and is_set(out):
        config = resolve_config(row.data, row.ipc, row.name, settings, seed)
        check_folder(out, describe_run(row.data, row.ipc, config), resume=True)
        return load(out)
    common: dict[str, Any] = {"settings": settings, "seed": seed, "data_dir": data_dir, "reporter": reporter}
    return distill(row.data, ipc=row.ipc, recipe=row.name, out=out, resume=begun, **common).synthetic


def _add_energy(out: Path, joules: float | None, *, resumed: bool = False) -> float | None:
    """Add the joules of a piece to those of the run folder.

    Args:
        out: the run folder.
        joules: None if the piece was not measured.
        resumed: whether there were pieces before this one; without a file they were not measured.

    Returns:
        Joules of all pieces; None if any of them was not measured.
    """
    path = out / ENERGY_FILE
    if path.is_file():
        before = read_json(path).get("joules")
    elif joules is None:
        return None
    else:
        before = None if resumed else 0.0
    total = None if before is None or joules is None else float(before) + joules
    with best_effort():
        write_json(path, {"joules": total})
    return total


def _against(made: AccuracyRow, before: Mapping[str, str] | None) -> Comparison | None:
    """This row less the committed one, by Welch's test."""
    if before is None or (before["network"], before["protocol"]) != (made.network, made.protocol):
        return None
    if min(made.num_runs, int(before["num_runs"])) < 2:
        return None
    theirs = (float(before["accuracy_mean"]), float(before["accuracy_std"]), int(before["num_runs"]))
    return compare_summaries((made.accuracy_mean, made.accuracy_std, made.num_runs), theirs)
