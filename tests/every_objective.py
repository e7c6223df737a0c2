"""All objectives that match distributions of features, with all samplers, for features of `tiny.NETWORK`."""

from ncfm.discrepancy.frequencies import FIXED_SAMPLERS, LEARNED_SAMPLERS, SAMPLERS
from ncfm.discrepancy.per_teacher import PerTeacherFrequencies
from ncfm.distillation.objectives import (
    CharacteristicMatching,
    CovarianceMatching,
    EntropicMatching,
    FisherMatching,
    KernelMatching,
    MeanMatching,
    PointMatching,
)
from strategies import rng
from tiny import WIDTH


def sampler(family):
    learned = {"seed_generator": rng(0)} if family in LEARNED_SAMPLERS else {}
    return SAMPLERS[family](WIDTH, 32, **learned)


def characteristic(family, **options):
    return lambda: CharacteristicMatching(sampler(family), **options)


OF_SAMPLERS = {f"ncfd {family}": characteristic(family) for family in SAMPLERS}
CLOSED = {
    f"{name} {family}": lambda kind=kind, family=family: kind(sampler(family))
    for name, kind in (("fisher", FisherMatching), ("entropic", EntropicMatching))
    for family in FIXED_SAMPLERS
}
OTHERS = {
    "ncfd, corrected": characteristic("mixture", corrected=True),
    "ncfd, halves": characteristic("mixture", criterion="halves"),
    "ncfd, studentised": characteristic("direct", criterion="studentised", gradient_rows=3),
    "ncfd, per teacher": lambda: CharacteristicMatching(PerTeacherFrequencies([sampler("mixture") for _ in range(2)])),
    "ncfd, in chunks": characteristic("mixture", chunk_size=2, gradient_rows=3),
    "mean": MeanMatching,
    "mse": PointMatching,
    "mmd": KernelMatching,
    "mmd, one bandwidth": lambda: KernelMatching([1.0]),
    "dsdm": lambda: CovarianceMatching(10, WIDTH),
}
EVERY_OBJECTIVE = OF_SAMPLERS | CLOSED | OTHERS
