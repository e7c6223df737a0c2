"""Run by test_distributed.py in a process of its own, since it forks: three ranks distil unequal classes like one."""

from benchmarks.ranks import SETTINGS, _pool, together

from ncfm.config.build import build_data, build_machine
from ncfm.config.distribution_matching import run_distillation
from ncfm.config.keys import nest
from ncfm.config.layers import make_config
from ncfm.distillation.control import RunControl

COUNTS = (1, 1, 1, 1, 3, 2, 2, 1, 1, 3)  # the first of three ranks has equal classes, smaller than the largest


def images_of_a_run():
    config = make_config(nest(SETTINGS | {"distill.iterations": 1}))
    images = build_data("digits", config)
    machine = build_machine(config.machine, images.image_size)
    pool = _pool(images, config.teachers.network, 1.0)
    result = run_distillation(images, pool, config, machine, ipc=COUNTS, control=RunControl())
    return result.synthetic, result.history[0]["calibration"]


def play():
    (alone, loss), (shared, loss_of_ranks) = together(1, images_of_a_run), together(3, images_of_a_run)
    assert abs(loss - loss_of_ranks) < 1e-4 * loss  # a mean over images, whatever rank they are on
    assert alone.counts == shared.counts == COUNTS
    differs = (alone.images - shared.images).abs() > 2e-5
    # Adam's first update has the sign of the gradient, which rounding turns where it is almost 0.
    assert float(differs.float().mean()) < 0.002, differs.flatten(1).sum(1)
