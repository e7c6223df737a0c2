"""The report of a run: one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from ncfm._utils.checks import InputError, NcfmError
from ncfm._utils.files import write_text
from ncfm._utils.progress import Reporter, Silent
from ncfm.config.resolve import FINGERPRINT, Settings, config_of_set, data_of_set
from ncfm.config.schema import RunConfig
from ncfm.data.image_set import ImageSet
from ncfm.data.normalization import normalizer
from ncfm.distillation.pass_sizes import usual_chunk
from ncfm.networks.features import FeatureExtractor
from ncfm.report.make_page import make_page
from ncfm.report.page import render
from ncfm.report.real_data import RealComparison, check_same_data, compare_images
from ncfm.report.run_folder import RunFolder, open_run
from ncfm.report.scores import Score, read_comparison, read_own_scores
from ncfm.synthetic.addresses import check_no_address, is_address, local_folder
from ncfm.synthetic.synthetic_set import SyntheticSet
from ncfm.workflows.changed_data import check_data_of_set
from ncfm.workflows.preparation import prepare, train_teachers

REPORT_FILE = "report.html"


class WrittenReport(NamedTuple):
    """A report on disk."""

    path: Path
    missing: dict[str, str]  # by section that was left out, the reason


def write_report(
    run: str | Path,
    on: str | ImageSet | None = None,
    *,
    out: str | Path | None = None,
    against: Sequence[str | Path] = (),
    with_data: bool = True,
    changed_data: bool = False,
    settings: Settings | None = None,
    device: str | None = None,
    data_dir: str | Path | None = None,
    reporter: Reporter | None = None,
) -> WrittenReport:
    """Write the report of a run folder, finished or interrupted, or of a set alone.

    Sections that lack their data are left out, and the reasons are returned. Real images, the feature map and copy
    detection need the real data and a teacher of the run's recipe, which is trained if the cache has none.

    Args:
        run: the folder, or an address of a set such as ``gallery:cifar10-ipc10``, which needs ``out``.
        on: the real data; default: those that the set was distilled from.
        out: HTML file; default ``report.html`` in the folder.
        against: evaluated run folders to compare with, where network and protocol are the same.
        with_data: open the real data; without them the report takes a second.
        changed_data: use them also if they have changed since the set was made; else they are left out.
        settings: over those of the run, for the teacher; such as ``{"teachers.network": "my_networks:make"}``.
        device: of the teacher, as in ``machine.device``.
        data_dir, reporter: as in `ncfm.distill`.

    Returns:
        The path of the report, and the sections that are missing.

    Raises:
        NcfmError: if there is no run, or one to compare with has not been evaluated.

    >>> written = write_report("runs/digits-ipc1", with_data=False)  # doctest: +SKIP
    >>> written.path, written.missing  # doctest: +SKIP
    """
    if out is None:
        check_no_address(run, "give the file of the report with out (--out report.html)")
    folder = local_folder(run)
    opened = open_run(folder)
    opened.address = str(run) if is_address(run) else ""
    others = _others(opened, [local_folder(place) for place in against])
    real = _real(opened, on, with_data, changed_data, settings, device, data_dir, reporter or Silent())
    path = folder / REPORT_FILE if out is None else Path(out).expanduser()
    write_text(path, render(make_page(opened, others, real)))
    return WrittenReport(path, opened.missing)


def _others(run: RunFolder, against: Sequence[Path]) -> list[Score]:
    """Evaluations of other sets: those of the same comparison, and those of the given folders."""
    try:
        others = read_comparison(run.path)
    except NcfmError as error:
        run.missing["comparison"], others = str(error), []
    for place in against:
        found = read_own_scores(place)
        if not found:
            raise InputError(f"{place} has no evaluation to compare with; run ncfm evaluate {place} first.")
        others += found
    return list({(other.name, *other.setup): other for other in others}.values())


def _real(
    run: RunFolder,
    on: str | ImageSet | None,
    with_data: bool,
    changed_data: bool,
    settings: Settings | None,
    device: str | None,
    data_dir: str | Path | None,
    reporter: Reporter,
) -> RealComparison | None:
    """The set next to the real data; None, with the reason in ``run.missing``, if they are not available."""
    reason = ""
    if not with_data:
        reason = "The real data were not loaded (--no-data)."
    elif run.synthetic is None or (on is None and run.data is None):
        reason = "There is no set, or it does not record its source dataset."
    elif run.config is None:
        reason = "The settings of the run, and thus its teachers, are not known."
    else:
        try:
            real = compare_with_real(
                run.synthetic,
                run.origin,
                on,
                run.config,
                class_names=run.synthetic.class_names if run.finished else None,
                changed_data=changed_data,
                settings=settings,
                device=device,
                data_dir=data_dir,
                reporter=reporter,
            )
        except NcfmError as error:
            reason = f"The real data could not be used: {error}"
        else:
            run.synthetic = replace(run.synthetic, class_names=real.class_names)  # a checkpoint does not hold them
            return real
    run.missing["data"] = reason
    return None


def compare_with_real(
    synthetic: SyntheticSet,
    origin: Mapping[str, Any],
    on: str | ImageSet | None,
    config: RunConfig,
    *,
    class_names: tuple[str, ...] | None,
    changed_data: bool = False,
    settings: Settings | None = None,
    device: str | None,
    data_dir: str | Path | None,
    reporter: Reporter,
) -> RealComparison:
    """Load the data and the first teacher of the run, from the cache or trained, and compare.

    Args:
        synthetic: the set.
        origin: what the run records of its data, see `RunFolder.origin`.
        on: the data; default: those that it was distilled from.
        config: of the run; the device is chosen again.
        class_names: of the set; None if they are not known.
        changed_data: go on if the data have changed since the set was made.
        settings: the user's own, for the teacher.
        device, data_dir, reporter: as in `ncfm.evaluate`.

    Raises:
        NcfmError: if the data cannot be loaded, have changed, or have other classes or another image shape than the
            set; if only the run names the code of the teacher's network.
    """
    own = {"machine.device": device or "auto", "teachers.number": 1, **(settings or {})}
    config = config_of_set(config.model_dump(), own, None)
    images, machine = prepare(data_of_set(origin, on), config, data_dir)
    check_same_data(synthetic, images, class_names)
    check_data_of_set(origin, on, images, config, data_dir, changed_data=changed_data)
    pool = train_teachers(images, config, machine, reporter)
    normalize = normalizer(pool.statistics, machine.device)
    extract = FeatureExtractor(
        pool.trained(0),
        normalize=config.distill.normalize_features,
        precision=machine.precision,
        chunk_size=machine.chunk_size or usual_chunk(machine.device),
    )
    return compare_images(
        synthetic,
        images,
        lambda x: extract.without_gradient(normalize(x.to(machine.device))).cpu(),
        teacher=config.teachers.network,
        fingerprint=origin.get(FINGERPRINT),
        reporter=reporter,
    )
