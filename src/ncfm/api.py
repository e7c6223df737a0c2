"""The front functions: problem first, strategies by keyword, a result object back."""

from __future__ import annotations

import contextlib
from pathlib import Path

from ncfm._utils.checks import NcfmError, check_at_least
from ncfm._utils.distributed import Ranks
from ncfm._utils.locks import sole_user
from ncfm._utils.progress import Reporter, Silent
from ncfm._utils.types import LabelledImages
from ncfm.build import build_targets, check_start
from ncfm.config import make_config, nest
from ncfm.data.image_set import ImageSet
from ncfm.distillation import DistillResult
from ncfm.evaluation import EvaluationResult
from ncfm.foreign import is_set, read_foreign
from ncfm.runs import distill_into, judge, prepare, train_pool, train_teachers
from ncfm.settings import Settings, check_folder, describe_run, resolve_config
from ncfm.synthetic.initialization import check_extension
from ncfm.synthetic.synthetic_set import SyntheticSet, load
from ncfm.training.teachers import TeacherPool

__all__ = ["distill", "evaluate", "load", "pretrain"]


def pretrain(
    data: str | ImageSet,
    *,
    recipe: str | None = None,
    settings: Settings | None = None,
    seed: int | None = None,
    data_dir: str | Path | None = None,
    reporter: Reporter | None = None,
) -> TeacherPool:
    """Train the pool of teachers (or find it in the cache); distilling does this by itself when needed.

    Raises:
        NcfmError: for unknown data or settings, or a training that diverges.
    """
    config = resolve_config(data, None, recipe, settings, seed)
    images, machine = prepare(data, config, data_dir)
    return train_teachers(images, config, machine, reporter or Silent())


def distill(
    data: str | ImageSet,
    *,
    ipc: int,
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
        ipc: images per class in storage.
        recipe: a recipe's name or path; default ``<data>-ipc<ipc>`` if the package has it; "none" for defaults.
        settings: dotted settings over the recipe, such as ``{"distill.iterations": 500}``.
        seed: of everything random; default the recipe's.
        out: run folder; nothing is written without one.
        resume: continue the interrupted run in ``out``.
        data_dir: folder with data sets, looked at before the network; default ``NCFM_DATA``.
        reporter: is told the progress.

    Raises:
        NcfmError: for unknown or unfit data, settings or folders, in one sentence.
        ncfm.Interrupted: on Ctrl-C or SIGTERM, with the state saved.

    >>> result = distill("digits", ipc=1, settings={"distill.iterations": 2})  # doctest: +SKIP
    """
    check_at_least(ipc, 1, "ipc (images per class)")
    config = resolve_config(data, ipc, recipe, settings, seed)
    d = config.distill
    check_start(d)
    folder = None if out is None else Path(out).expanduser()
    name = data if isinstance(data, str) else data.name
    ranks = Ranks.here()
    with contextlib.ExitStack() as held:
        # Before minutes of work, not after. With several ranks the first one holds the folder for all.
        ranks.after_first(lambda: held.enter_context(sole_user(folder)))
        ranks.after_first(lambda: check_folder(folder, describe_run(name, ipc, config), resume))
        images, machine = prepare(data, config, data_dir)
        if d.extend is not None:  # before minutes of work, too
            shape = (ipc, images.channels, images.image_size, images.image_size)
            check_extension(load(d.extend), images.class_names, shape, (d.factor, d.mode, d.bound))
        reporter = reporter or Silent()
        pool = train_pool(images, config, machine, reporter)
        return distill_into(images, pool, config, machine, ipc=ipc, folder=folder, resume=resume, reporter=reporter)


def evaluate(
    synthetic: SyntheticSet | LabelledImages | str | Path,
    on: str | ImageSet | None = None,
    *,
    settings: Settings | None = None,
    seed: int | None = None,
    data_dir: str | Path | None = None,
    fresh: bool = False,
    reporter: Reporter | None = None,
) -> EvaluationResult:
    """Judge a set: train fresh students on it and test them on the real test split.

    A student that was trained before on the same images, by the same recipe, network and seed is remembered. With
    ``evaluate.labels=teacher`` the teachers of the set's recipe are trained on the real data first, or found in the
    cache, and asked of every batch.

    Args:
        synthetic: a set, its folder, plain labelled images in [0, 1], or a file or folder that another program wrote
            (see `ncfm.foreign.read_foreign`).
        on: the real data; default: what the set was made from. Needed for sets of other programs.
        settings: such as ``{"evaluate.runs": 10, "evaluate.network": "convnet3"}``; the set's own recipe otherwise.
        seed, data_dir, reporter: as in `distill`.
        fresh: train all students, also those that are remembered.

    Raises:
        NcfmError: if the set is damaged or does not fit the data.
    """
    if isinstance(synthetic, (str, Path)) and (on is None or is_set(synthetic)):
        synthetic = load(synthetic)
    facts = synthetic.facts if isinstance(synthetic, SyntheticSet) else {}
    data = on if on is not None else facts.get("data")
    if data is None:
        raise NcfmError("The set does not say what data it was made from; name the data to judge it on (--on).")
    stored = facts.get("config", {})
    own = {key: stored[key] for key in ("data", "teachers", "evaluate", "seed") if key in stored}
    config = make_config(own, nest(settings or {}), {} if seed is None else {"seed": seed})
    images, machine = prepare(data, config, data_dir)
    reporter = reporter or Silent()
    if isinstance(synthetic, (str, Path)):
        synthetic = read_foreign(Path(synthetic), images)
    if isinstance(synthetic, SyntheticSet) and synthetic.class_names != images.class_names:
        raise NcfmError(
            f"The set has classes {', '.join(synthetic.class_names[:5])}, ..., the data "
            f"{', '.join(images.class_names[:5])}, ...; judge it on the data it was made from."
        )
    pool = None
    if config.evaluate.labels == "teacher":  # the set's own, whatever the students' seed
        of_set = config.model_copy(update={"seed": stored.get("seed", config.seed)})
        pool = train_teachers(images, of_set, machine, reporter)
    soft = build_targets(config, synthetic.soft_labels if isinstance(synthetic, SyntheticSet) else None, pool)
    train = synthetic.decoded() if isinstance(synthetic, SyntheticSet) else synthetic
    return judge(train, images, config, machine, "students", reporter, soft=soft, fresh=fresh)
