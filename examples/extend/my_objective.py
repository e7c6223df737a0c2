"""An objective: match the mean and the standard deviation of every feature.

ncfm distill digits --ipc 1 --set objective.name=my_objective:MomentMatching
"""

from ncfm.discrepancy import mean_gap
from ncfm.distillation.objectives import PlainObjective


class MomentMatching(PlainObjective):
    """Squared distance of the means, plus that of the standard deviations.

    `PlainObjective` has the other members of an objective that has no adversary, no
    state and no frequencies.

    Args:
        spread_weight: weight of the standard deviations.
    """

    def __init__(self, *, spread_weight=1.0):
        self.spread_weight = spread_weight

    def discrepancy(self, real, synthetic, generator):
        """One value per class, (C,), for features (C, n, d) and (C, m, d)."""
        # The constant keeps the slope of the root finite. Without a correction the
        # variance of a single image is 0, not NaN.
        real_std = (real.var(-2, correction=0) + 1e-6).sqrt()  # (C, d)
        synthetic_std = (synthetic.var(-2, correction=0) + 1e-6).sqrt()
        spread = (real_std - synthetic_std).square().sum(-1)
        return mean_gap(real, synthetic) + self.spread_weight * spread
