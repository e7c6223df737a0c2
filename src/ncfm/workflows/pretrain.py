"""Train the teachers ahead of time, and write them for others."""

from __future__ import annotations

from pathlib import Path

from ncfm._utils.checks import InputError
from ncfm._utils.compute import Compute
from ncfm._utils.device import describe_device
from ncfm._utils.files import write_folder, write_text
from ncfm._utils.progress import Reporter, Silent
from ncfm.config.build import teachers_seed
from ncfm.config.resolve import Settings
from ncfm.config.schema import RunConfig
from ncfm.config.teacher_pools import DETERMINING
from ncfm.data.image_set import ImageSet
from ncfm.formats.teacher_card import teacher_card
from ncfm.results.files import code_version, command_line, library_versions
from ncfm.training.pool_files import PoolFacts, in_16_bits, read_facts, read_pool, write_teachers
from ncfm.training.teacher_accuracy import teacher_accuracies
from ncfm.training.teachers import TeacherPool, network_for
from ncfm.workflows.defaults import Asked
from ncfm.workflows.preparation import train_teachers

CARD_FILE = "README.md"


def pretrain(
    data: str | ImageSet,
    *,
    recipe: str | None = None,
    settings: Settings | None = None,
    seed: int | None = None,
    data_dir: str | Path | None = None,
    out: str | Path | None = None,
    reporter: Reporter | None = None,
) -> TeacherPool:
    """Train the teachers, or load them from the cache. `ncfm.distill` does this itself if needed.

    Args:
        data, recipe, settings, seed, data_dir, reporter: as in `ncfm.distill`. Without ``recipe`` the data's recipe of
            the fewest images per class is used, or what follows from the data.
        out: a new folder for the teachers, in 16 bits with a card, which ``teachers.pool`` reads in any run.

    Returns:
        The pool of teachers, also those of the cache; with ``out`` as they were written.

    Raises:
        NcfmError: for unknown data or settings, if a training diverges, or if ``out`` exists.

    >>> pool = pretrain("digits", settings={"teachers.number": 3})  # doctest: +SKIP
    >>> len(pool), pool.seconds  # doctest: +SKIP
    """
    reporter = reporter or Silent()
    asked = Asked(data, None, recipe, settings or {}, seed)
    before = asked.before_data()
    if out is not None:
        _check_out(Path(out), asked.config(before or ()))
    images, machine, config, _ = asked.prepare(before, data_dir, reporter)
    pool = train_teachers(images, config, machine, reporter)
    if out is None:
        return pool
    machine.ranks.on_main_process(lambda: write_pool(Path(out), pool, images, config, machine))
    written = read_pool(Path(out), images, network=config.teachers.network, compute=machine)
    written.accuracies = read_facts(Path(out)).accuracies
    return written


def _check_out(out: Path, config: RunConfig) -> None:
    """Before minutes of training. A pool is never replaced: runs name its folder."""
    if config.teachers.pool is not None:
        raise InputError(f"teachers.pool={config.teachers.pool} is a written pool already; --out writes trained ones.")
    if out.exists():
        raise InputError(f"{out} exists already; choose a new folder for the teachers (--out).")


def write_pool(out: Path, pool: TeacherPool, images: ImageSet, config: RunConfig, machine: Compute) -> None:
    """Write a pool with its facts and its card.

    Raises:
        RunError: if the folder cannot be written.
    """
    teachers = in_16_bits(pool)
    stored = TeacherPool(
        teachers,
        lambda seed: network_for(images, config.teachers.network, seed=seed),
        statistics=pool.statistics,
        device=machine.device,
    )
    facts = PoolFacts(
        data=images.name,
        fingerprint=images.fingerprint,
        class_names=images.class_names,
        channels=images.channels,
        image_size=images.image_size,
        mean=pool.statistics.mean,
        std=pool.statistics.std,
        whitened=images.whitened,
        training={key: getattr(config.teachers, key) for key in DETERMINING} | {"seed": teachers_seed(config)},
        seconds=round(pool.seconds, 3),
        accuracies=teacher_accuracies(stored, images),
        provenance={
            "command": command_line(),
            "code": code_version(),
            "versions": library_versions(),
            "device": describe_device(machine.device),
            "precision": str(machine.precision).removeprefix("torch."),
        },
    )

    def fill(folder: Path) -> None:
        write_teachers(folder, teachers, facts)
        write_text(folder / CARD_FILE, teacher_card(facts, sum(p.stat().st_size for p in folder.iterdir())))

    write_folder(out, fill)
