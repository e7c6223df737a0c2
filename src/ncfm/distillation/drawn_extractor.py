"""The network that extracts the features of an iteration: drawn for each, and made known to conditioned samplers."""

from __future__ import annotations

from torch import Generator, nn

from ncfm._utils.checks import InputError
from ncfm._utils.compute import Compute
from ncfm.discrepancy.per_teacher import conditioned_samplers
from ncfm.distillation.options import Extraction
from ncfm.networks.features import FeatureExtractor
from ncfm.training.teachers import TeacherPool


class DrawnExtractor:
    """The extractor of every iteration: the same module, with the weights that are drawn from a pool.

    Args:
        pool: teachers.
        extraction: what is drawn of them, and which layers are matched.
        adversary: the samplers in it that are conditioned on the extractor (`ConditionedSampler`) are given each one.
        normalize: whether features have norm 1.
        compute: precision and compilation.

    Raises:
        InputError: for conditioned samplers without teachers, or with a compiled step.
    """

    def __init__(
        self,
        pool: TeacherPool,
        extraction: Extraction,
        adversary: nn.Module | None,
        *,
        normalize: bool,
        compute: Compute,
    ) -> None:
        self.pool, self.extraction, self.conditioned = pool, extraction, conditioned_samplers(adversary)
        if self.conditioned:
            check_conditioned(extraction.extractor, compile_step=compute.compile_step)
        self.features = FeatureExtractor(
            pool.blended,
            normalize=normalize,
            layers=extraction.layers,
            precision=compute.precision,
            compile_network=compute.compile_networks,
        )

    @property
    def recomputed(self) -> nn.Module | None:
        """The network whose BatchNorm statistics are to be those of the iteration's real images; None: of none."""
        return self.pool.blended if self.extraction.batch_norm == "recomputed" else None

    def draw(self, generator: Generator) -> None:
        """Draw the weights, and condition the samplers on them."""
        e = self.extraction
        self.pool.draw(generator, e.extractor, blend=(e.blend_low, e.blend_high), epochs=(e.first_epoch, e.last_epoch))
        for sampler in self.conditioned:
            assert self.pool.drawn is not None  # by `check_conditioned`
            sampler.condition(*self.pool.drawn)


def check_conditioned(extractor: str, *, compile_step: bool) -> None:
    """Check that extractors are those of teachers, and samplers may change, for samplers conditioned on them.

    Raises:
        InputError: if not.
    """
    if extractor == "random":
        raise InputError(
            "A sampler conditioned on the extractor (frequencies.per_teacher) needs teachers, got "
            "teachers.extractor=random; choose blended or trained."
        )
    if compile_step:
        raise InputError(
            "machine.compile=step compiles one sampler, not one for each teacher; leave it out, or "
            "frequencies.per_teacher."
        )
