"""The front functions: problem first, strategies by keyword, a result object back."""

from __future__ import annotations

import contextlib
from pathlib import Path

from ncfm._utils.distributed import Ranks
from ncfm._utils.locks import sole_user
from ncfm._utils.progress import Reporter, Silent
from ncfm.config.distribution_matching import check_start
from ncfm.config.resolve import Settings, check_folder, describe_run, name_of
from ncfm.data.image_set import ImageSet
from ncfm.distillation import DistillResult
from ncfm.synthetic.counts import IpcSpec, checked_spec, counts_for
from ncfm.workflows.changed_data import check_data_of_run
from ncfm.workflows.checks import check_distillation, check_students
from ncfm.workflows.defaults import Asked, described
from ncfm.workflows.distilling import distill_into
from ncfm.workflows.preparation import train_pool


def distill(
    data: str | ImageSet,
    *,
    ipc: IpcSpec,
    recipe: str | None = None,
    settings: Settings | None = None,
    seed: int | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    data_dir: str | Path | None = None,
    reporter: Reporter | None = None,
) -> DistillResult:
    """Distil a data set into ``ipc`` stored images per class by Neural Characteristic Function Matching.

    Args:
        data: a name or path (see `ncfm.data.load_images`), or an `ImageSet`.
        ipc: images per class in storage; or one number for each class, or "proportional:N" for N on average in
            proportion to the real images, at least 1 each.
        recipe: a recipe's name or path; default ``<data>-ipc<ipc>`` if the package has it, else the nearest recipe of
            the same data, else settings that follow from the data, see `ncfm.config.data_defaults`. What is chosen is
            reported, and recorded in the set's facts. "none" for the plain defaults.
        settings: dotted settings over the recipe, such as ``{"distill.iterations": 500}``.
        seed: random seed; default the recipe's.
        out: run folder; nothing is written without one.
        resume: continue the run in ``out``, interrupted or finished, with the data that it began with and the same
            settings or more iterations. With a constant schedule the result is that of a run with so many from the
            start; another schedule goes on at the point of the longer one, with a warning.
        data_dir: folder in which datasets are looked for before downloading; default ``NCFM_DATA``.
        reporter: receives progress updates.

    Raises:
        NcfmError: for unknown data or settings, or data, settings or folders that do not fit.
        ncfm.Interrupted: on Ctrl-C or SIGTERM, with the checkpoint saved.

    >>> result = distill("digits", ipc=1, settings={"distill.iterations": 2})  # doctest: +SKIP
    """
    spec = checked_spec(ipc)
    folder = None if out is None else Path(out).expanduser()
    asked = Asked(data, spec, recipe, settings or {}, seed)
    chosen = asked.before_data(folder if resume else None)
    config = asked.config(chosen or ())
    check_start(config.distill)
    ranks, description = Ranks.here(), describe_run(name_of(data), spec, config)
    with contextlib.ExitStack() as held:
        # Before minutes of work, not after. With several ranks the first one holds the folder for all.
        ranks.on_main_process(lambda: held.enter_context(sole_user(folder)))
        ranks.on_main_process(lambda: check_folder(folder, description, resume, more_iterations=True))
        reporter = reporter or Silent()
        images, machine, config, choices = asked.prepare(chosen, data_dir, reporter)
        asked.name_unread([config], reporter)
        if folder is not None and resume:
            ranks.on_main_process(lambda: check_data_of_run(folder, images))
        counts = counts_for(spec, images.train.counts)
        check_distillation(images, config, machine, counts)  # before minutes of work, too
        check_students(images, config)
        pool = train_pool(images, config, machine, reporter)
        return distill_into(
            images,
            pool,
            config,
            machine,
            ipc=spec,
            folder=folder,
            resume=resume,
            reporter=reporter,
            choices=described(choices),
        )
