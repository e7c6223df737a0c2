"""The report of a run: one HTML file that holds all there is to see of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ncfm._utils.checks import NcfmError
from ncfm._utils.files import write_text
from ncfm._utils.progress import Reporter, Silent
from ncfm.config.schema import RunConfig, make_config, nest
from ncfm.data.image_set import ImageSet, normalizer
from ncfm.data.outside import check_recorded
from ncfm.networks.features import FeatureExtractor
from ncfm.report.make_page import make_page
from ncfm.report.page import render
from ncfm.report.real_data import RealComparison, check_same_data, compare_images
from ncfm.report.run_folder import RunFolder, Score, open_run, read_comparison, read_own_scores
from ncfm.synthetic.synthetic_set import SyntheticSet
from ncfm.workflows.stages import prepare, train_teachers

REPORT_FILE = "report.html"


class Written(NamedTuple):
    """A report on disk."""

    path: Path
    missing: dict[str, str]  # sentences, by section


def write_report(
    run: str | Path,
    on: str | ImageSet | None = None,
    *,
    out: str | Path | None = None,
    against: Sequence[str | Path] = (),
    with_data: bool = True,
    device: str | None = None,
    data_dir: str | Path | None = None,
    reporter: Reporter | None = None,
) -> Written:
    """Write the report of a run folder, finished or not, or of a set alone.

    What the folder lacks is left out, with a sentence that says so. Real images, the map of features and the nearest
    real images need the data and a teacher of the run's recipe, which is trained if the cache has none.

    Args:
        run: the folder.
        on: the real data; default: what the set was made from.
        out: the file; default ``report.html`` in the folder.
        against: run folders whose evaluations stand beside, those by the same network and protocol.
        with_data: open the real data; without them the report takes a second.
        device: of the teacher, as in ``machine.device``.
        data_dir, reporter: as in `ncfm.distill`.

    Raises:
        NcfmError: if there is no run, or one to stand beside has never been judged.
    """
    folder = Path(run).expanduser()
    opened = open_run(folder)
    others = _others(opened, [Path(place).expanduser() for place in against])
    real = _real(opened, on, with_data, device, data_dir, reporter or Silent())
    path = folder / REPORT_FILE if out is None else Path(out).expanduser()
    write_text(path, render(make_page(opened, others, real)))
    return Written(path, opened.missing)


def _others(run: RunFolder, against: Sequence[Path]) -> list[Score]:
    """Evaluations of other sets: of the comparison beside, and of the folders that are named."""
    try:
        others = read_comparison(run.path)
    except NcfmError as error:
        run.missing["comparison"], others = str(error), []
    for place in against:
        found = read_own_scores(place)
        if not found:
            raise NcfmError(
                f"Expected a judged run to compare with, but {place} has no scores; run ncfm evaluate on it."
            )
        others += found
    return list({(other.name, *other.setup): other for other in others}.values())


def _real(
    run: RunFolder,
    on: str | ImageSet | None,
    with_data: bool,
    device: str | None,
    data_dir: str | Path | None,
    reporter: Reporter,
) -> RealComparison | None:
    """The set compared with the real data, or None with the reason in ``run.missing``."""
    reason = ""
    if not with_data:
        reason = "The real data were not opened (`--no-data`)."
    elif run.synthetic is None or (on is None and run.data is None):
        reason = "There is no set, or it does not record its source dataset."
    elif run.config is None:
        reason = "The run's settings are not known, and with them neither are its teachers."
    else:
        try:
            fingerprint = run.facts.get("data_fingerprint")
            real = compare_with_real(
                run.synthetic,
                check_recorded(str(run.data), "--on") if on is None else on,
                run.config,
                class_names=run.synthetic.class_names if run.finished else None,
                fingerprint=str(fingerprint) if fingerprint else None,
                device=device,
                data_dir=data_dir,
                reporter=reporter,
            )
        except NcfmError as error:
            reason = f"The real data could not be opened or compared: {error}"
        else:
            run.synthetic = replace(run.synthetic, class_names=real.class_names)  # a checkpoint does not hold them
            return real
    run.missing["data"] = reason
    return None


def compare_with_real(
    synthetic: SyntheticSet,
    data: str | ImageSet,
    config: RunConfig,
    *,
    class_names: tuple[str, ...] | None,
    fingerprint: str | None,
    device: str | None,
    data_dir: str | Path | None,
    reporter: Reporter,
) -> RealComparison:
    """Open the data and the first teacher of the run's pool (from the cache, or trained), and compare.

    Args:
        synthetic: the set.
        data: what it was made from.
        config: of the run; the device is chosen again.
        class_names: that the set has; None where they are not known.
        fingerprint: of the data that the set was made from, if it is known.
        device, data_dir, reporter: as in `ncfm.evaluate`.

    Raises:
        NcfmError: if the data cannot be opened, or do not have the classes and image shape of the set.
    """
    config = make_config(config.model_dump(), nest({"machine.device": device or "auto", "teachers.number": 1}))
    images, machine = prepare(data, config, data_dir)
    check_same_data(synthetic, images, class_names)
    pool = train_teachers(images, config, machine, reporter)
    normalize = normalizer(pool.statistics, machine.device)
    extract = FeatureExtractor(
        pool.trained(0),
        normalize=config.distill.normalize_features,
        precision=machine.precision,
        chunk_size=machine.chunk_size,
    )
    return compare_images(
        synthetic,
        images,
        lambda x: extract.without_gradient(normalize(x.to(machine.device))).cpu(),
        teacher=config.teachers.network,
        fingerprint=fingerprint,
        reporter=reporter,
    )
