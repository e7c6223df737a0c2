"""``ncfm evaluate``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import ncfm
from ncfm._utils.progress import counted
from ncfm.cli._options import ChangedData, On, Output, Results, Setup, Students, flatten_options, split_names
from ncfm.cli._output import accuracy, print_json, say, show, table

if TYPE_CHECKING:
    from rich.table import Table


NORMALIZED_BY_HELP = (
    "How the floats of an external set were normalised: cifar10, cifar100, svhn, imagenet, mnist, fashion-mnist, half, "
    "data, zca, MEAN,STD; none if they are pixels."
)


@dataclass(frozen=True, kw_only=True)
class StoredAs:
    """How an external set stores its images, as far as it does not record it."""

    normalized_by: Annotated[str | None, typer.Option("--normalized-by", metavar="N", help=NORMALIZED_BY_HELP)] = None
    factor: Annotated[
        int | None,
        typer.Option("--factor", metavar="N", help="An external set consists of mosaics of N x N training images."),
    ] = None


@flatten_options
def command(
    path: Annotated[
        str,
        typer.Argument(
            metavar="SET",
            help="A distilled set or its run folder; gallery:NAME; hf:OWNER/NAME; or any dataset: image folder, "
            ".parquet, .npz, .pt, .safetensors.",
        ),
    ],
    *,
    on: On = None,
    changed_data: ChangedData = False,
    against: Annotated[
        str | None, typer.Option("--against", metavar="SET", help="Another set to compare with, paired by student.")
    ] = None,
    networks: Annotated[
        str | None,
        typer.Option("--networks", metavar="A,B", help="Architectures: convnet, alexnet, vgg11, resnet18-batch, ..."),
    ] = None,
    students: Students,
    protocol: Annotated[
        str | None,
        typer.Option(
            "--protocol",
            metavar="P",
            help="Training protocol: quick, brief, ncfm-2025-v2, dsa-2021, dance-2024; of earlier rows ncfm-2025, "
            "dc-2021.",
        ),
    ] = None,
    stored: StoredAs,
    fresh: Annotated[bool, typer.Option("--fresh", help="Train all students again, also those in the cache.")] = False,
    setup: Setup,
    results: Results = None,
    output: Output,
) -> None:
    """Evaluate a set: train fresh networks (students) on it and test them on real data.

    Example: `ncfm evaluate runs/digits-ipc1 --runs 5`

    Example: `ncfm evaluate their-images/ --on cifar10 --networks convnet,alexnet,vgg11,resnet18`

    The result is the accuracy after the last epoch: mean, standard deviation and 95 % interval over students. A student
    that has been trained on the same images with the same recipe and seed is loaded from the cache, unless --fresh.
    """
    from ncfm.workflows.evaluating import scores

    options = setup.arguments(
        evaluate__runs=students.runs, evaluate__epochs=students.epochs, evaluate__protocol=protocol
    )
    options["changed_data"] = changed_data
    sets = {place: _load(place, on) for place in dict.fromkeys([path, *([against] if against else [])])}
    said = _said_of(sets, stored)
    found: dict[str, list[ncfm.EvaluationResult]] = {place: [] for place in sets}
    _check(results, split_names(networks), sets)
    for chosen in [{"evaluate.network": name} for name in split_names(networks)] or [{}]:
        given = _given(sets, options | {"settings": options["settings"] | chosen})
        for place, synthetic in sets.items():
            of_set = given[place]
            with output.progress() as reporter:
                evaluation = ncfm.evaluate(synthetic, on, fresh=fresh, reporter=reporter, **of_set, **said[place])
                found[place].append(evaluation)
            _append_row(results, synthetic, evaluation, on, said[place], of_set)
    for place, evaluations in found.items():
        _add_scores(place, evaluations, on)
    if output.as_json:
        print_json([scores(e) | ({"set": place} if against else {}) for place in found for e in found[place]])
    else:
        _print_all(sets, found, on, pair=(path, against) if against else None)


def _given(sets: Mapping[str, ncfm.SyntheticSet | str], options: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The options of each set; of two sets with the same students."""
    if len(sets) < 2:
        return dict.fromkeys(sets, options)
    from ncfm.workflows.paired import paired_students

    paired = paired_students(sets, options["settings"], options["seed"])
    return {place: options | own for place, own in paired.items()}


def _said_of(sets: Mapping[str, ncfm.SyntheticSet | str], stored: StoredAs) -> dict[str, dict[str, Any]]:
    """What is said of each set; of those of ncfm nothing, unless there are no others: then it is refused."""
    own = {place for place, one in sets.items() if isinstance(one, ncfm.SyntheticSet)}
    return {place: {} if place in own and len(own) < len(sets) else asdict(stored) for place in sets}


def _load(place: str, on: str | None) -> ncfm.SyntheticSet | str:
    """The set at a place; an external one is read when its data are known."""
    from ncfm.formats.reading import is_set

    if is_set(place):
        return ncfm.load(place)
    if on is None:
        raise ncfm.InputError(f"{place} does not record its source dataset; specify it with --on.")
    return place


def _check(results: Path | None, networks: list[str], sets: Mapping[str, ncfm.SyntheticSet | str]) -> None:
    """Check the results file and all networks, before the students of the first one are trained."""
    from ncfm.networks.registry import check_network, create_network
    from ncfm.results.checking import check_results
    from ncfm.results.rows import AccuracyRow

    check_results(results, AccuracyRow)
    for name in networks:
        check_network(name)
        for one in sets.values():
            if isinstance(one, ncfm.SyntheticSet):
                channels, image_size = one.images.shape[2:4]
                create_network(name, channels=channels, num_classes=one.num_classes, image_size=image_size, seed=0)


def _append_row(
    results: Path | None,
    synthetic: ncfm.SyntheticSet | str,
    evaluation: ncfm.EvaluationResult,
    on: str | None,
    said: dict[str, Any],
    given: dict[str, Any],
) -> None:
    """Append an evaluation to a results file."""
    from ncfm._utils.distributed import Ranks
    from ncfm.results.files import append_rows
    from ncfm.workflows.set_row import row_of_set

    if results is not None and Ranks.here().is_main:
        row = row_of_set(synthetic, evaluation, on, settings=given["settings"], seed=given["seed"], **said)
        append_rows(results, [row])


def _add_scores(place: str, evaluations: list[ncfm.EvaluationResult], on: str | None) -> None:
    """Record evaluations in the run folder, for its report."""
    from ncfm._utils.distributed import Ranks
    from ncfm.synthetic.folders import CONFIG_FILE, SCORES_FILE
    from ncfm.synthetic.score_file import add_scores
    from ncfm.workflows.evaluating import scores

    if (Path(place) / CONFIG_FILE).is_file() and Ranks.here().is_main:
        other = {} if on is None else {"data": on}  # it may not be the data that the set was distilled from
        add_scores(Path(place) / SCORES_FILE, [scores(e) | other for e in evaluations])


def _print_all(
    sets: Mapping[str, Any],
    found: Mapping[str, list[ncfm.EvaluationResult]],
    on: str | None,
    *,
    pair: tuple[str, str] | None,
) -> None:
    """Every set with its results, and the differences of a pair, network by network."""
    for place, synthetic in sets.items():
        _print(place, synthetic, found[place], on)
    if pair is not None:
        for first, second in zip(found[pair[0]], found[pair[1]], strict=True):
            say(_difference(first, second))


def _print(
    place: str, synthetic: ncfm.SyntheticSet | str, evaluations: list[ncfm.EvaluationResult], on: str | None
) -> None:
    """The table of a set, and how its students were trained."""
    data, ipc = on, None
    if isinstance(synthetic, ncfm.SyntheticSet):
        data, ipc = on or synthetic.facts.get("data"), None if synthetic.counts else synthetic.ipc
    first = evaluations[0]
    say(place, wrap=False)
    show(_table(evaluations, data, ipc))
    say(
        f"{counted(len(first.accuracies), 'student')}, trained for {counted(first.epochs, 'epoch')} on "
        f"{counted(first.num_images, 'image')}; accuracy after the last epoch. Protocol: {first.protocol}."
    )


def _table(evaluations: list[ncfm.EvaluationResult], data: str | None, ipc: int | None) -> Table:
    from ncfm.results.formatting import interval_of
    from ncfm.results.published import published

    papers = [published(data, ipc, e.network) for e in evaluations]
    headings = ["accuracy %", "95 % interval", "calibration\nerror", "seconds"]
    made = table("network", *headings, *(["paper %"] if any(papers) else []))
    for e, paper in zip(evaluations, papers, strict=True):
        spread = e.interval
        cells = [
            accuracy(spread),
            interval_of(spread.low, spread.high),
            f"{e.calibration_error.mean:.3f}",
            f"{e.seconds:.0f}",
        ]
        made.add_row(e.network, *cells, *([f"{paper:.1f}" if paper else "-"] if any(papers) else []))
    return made


def _difference(first: ncfm.EvaluationResult, second: ncfm.EvaluationResult) -> str:
    """By how much the first set is better, and how many students it takes to be sure."""
    from ncfm.evaluation import interval
    from ncfm.evaluation.statistics import compare_runs, runs_needed

    if len(first.accuracies) < 2:
        return f"{first.network}: one student per set cannot show a difference; use --runs 3 or more."
    found = compare_runs(first.accuracies, second.accuracies)
    std = interval([a - b for a, b in zip(first.accuracies, second.accuracies, strict=True)]).std
    text = (
        f"{first.network}: first minus second {100 * found.difference:+.2f} points "
        f"(95 % interval {100 * found.low:+.2f} to {100 * found.high:+.2f}, p = {found.p_value:.2g}, paired by seed)."
    )
    if std > 0:
        text += f" Detecting a difference of 1 point takes {runs_needed(std, 0.01)} students per set (power 0.8)."
    return text
