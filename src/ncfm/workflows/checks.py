"""Checks of a whole task before its work begins: what would fail after minutes of training fails now."""

from __future__ import annotations

from collections.abc import Iterable

from ncfm._utils.checks import InputError
from ncfm._utils.compute import Compute
from ncfm.baselines.selection import check_selection
from ncfm.config.build import build_protocol, build_teacher_recipe
from ncfm.config.distribution_matching import check_counts, check_start
from ncfm.config.loops import loop_of
from ncfm.config.schema import RunConfig
from ncfm.data.image_set import ImageSet
from ncfm.synthetic.counts import Ipc, width_of
from ncfm.synthetic.formation import Formation
from ncfm.synthetic.initialization import check_possible
from ncfm.training.teachers import network_for
from ncfm.workflows.extension import check_earlier


def check_students(images: ImageSet, config: RunConfig, networks: Iterable[str] | None = None) -> None:
    """Check the protocol of the students, and make their networks once.

    Args:
        images: the real data.
        config: with the protocol.
        networks: names; default: that of the configuration.

    Raises:
        NcfmError: for an unknown protocol, network or augmentation, or a network that does not fit the images.
    """
    build_protocol(config)
    for name in [config.evaluate.network] if networks is None else networks:
        network_for(images, name, seed=0)


def check_distillation(images: ImageSet, config: RunConfig, machine: Compute, ipc: Ipc) -> None:
    """Check what a distillation needs of its settings and its data.

    Raises:
        NcfmError: for settings that exclude each other, an objective that cannot be made, tiles smaller than a pixel,
            a set to extend that does not fit, or fewer real images in every class than the start needs.
    """
    d = config.distill
    check_labels(config)
    check_start(d)
    check_counts(ipc, config)
    formation = Formation.of(d)
    formation.check_image_size(images.image_size)
    formation.decoded_ipc(width_of(ipc))
    if d.init != "noise":
        check_possible(images, ipc, 1 if d.init == "real" else d.factor)
    check_earlier(d, images, width_of(ipc))
    build_teacher_recipe(config)
    loop_of(config).check(images, config, machine)


def check_labels(config: RunConfig) -> None:
    """Check that students who are to learn from stored soft labels will find some in the distilled set.

    Raises:
        InputError: if none will be stored.
    """
    if config.evaluate.labels == "soft" and config.labels.kind == "hard" and config.objective.name != "datm":
        raise InputError(
            "evaluate.labels=soft needs stored soft labels, and the set will have none; distil with labels.kind=soft, "
            "or leave out evaluate.labels."
        )


def check_selections(images: ImageSet, methods: Iterable[str], ipc: Ipc, factor: int) -> None:
    """Check that real images suffice for selections, see `ncfm.baselines.select`.

    Raises:
        NcfmError: for an unknown one, or fewer real images in every class than it needs.
    """
    for method in methods:
        check_selection(method, images, ipc, factor)
