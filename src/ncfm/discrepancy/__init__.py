"""Discrepancies between two samples of feature vectors: pure functions of tensors.

x holds n rows of one sample, y holds m rows of the other, both of width d; t holds k frequencies. Leading axes are
groups (classes): every group is compared on its own, all in one pass. Whatever the precision of the samples, it is done
in float32 at least.
"""

from ncfm.discrepancy.characteristic import (
    MAX_PROJECTIONS,
    ROOT_EPSILON,
    Parts,
    amplitude_gap,
    characteristic_function,
    modulus,
    ncfd,
    ncfd_from_phi,
    parts_from_phi,
    phase_gap,
    root_mean_gap,
)
from ncfm.discrepancy.kernel import gaussian_mmd, median_bandwidth, squared_distances
from ncfm.discrepancy.moments import covariance_gap, mean_gap, paired_gap

__all__ = [
    "MAX_PROJECTIONS",
    "Parts",
    "ROOT_EPSILON",
    "amplitude_gap",
    "characteristic_function",
    "covariance_gap",
    "gaussian_mmd",
    "mean_gap",
    "median_bandwidth",
    "modulus",
    "ncfd",
    "ncfd_from_phi",
    "paired_gap",
    "parts_from_phi",
    "phase_gap",
    "root_mean_gap",
    "squared_distances",
]
