"""Slow references: the formulas spelled out as loops over plain numbers, nothing of the package in them."""

import cmath
import itertools
import math
import statistics

import torch


def characteristic_function_loop(x, t):
    """List of k complex numbers, mean over i of exp(j <t, x_i>)."""
    values = []
    for frequency in t.tolist():
        total = 0j
        for row in x.tolist():
            total += cmath.exp(1j * sum(a * b for a, b in zip(frequency, row, strict=True)))
        values.append(total / len(x))
    return values


def modulus_loop(value, sample_size=None):
    """|value|, or the root of (n |value|^2 - 1) / (n - 1) cut off at 0."""
    square = value.real**2 + value.imag**2
    if sample_size is not None and sample_size > 1:
        square = max((sample_size * square - 1) / (sample_size - 1), 0.0)
    return math.sqrt(square)


def amplitude_loop(a, b, sizes=(None, None)):
    return (modulus_loop(a, sizes[0]) - modulus_loop(b, sizes[1])) ** 2


def phase_loop(a, b):
    """With the angles themselves: the cosine does not mind on which side of the branch cut they lie."""
    angle = math.atan2(a.imag, a.real) - math.atan2(b.imag, b.real)
    return 2 * modulus_loop(a) * modulus_loop(b) * (1 - math.cos(angle))


def ncfd_loop(x, y, t, alpha, epsilon, corrected=False):
    sizes = (len(x), len(y)) if corrected else (None, None)
    total = 0.0
    pairs = zip(characteristic_function_loop(x, t), characteristic_function_loop(y, t), strict=True)
    for a, b in pairs:
        gap = alpha * amplitude_loop(a, b, sizes) + (1 - alpha) * phase_loop(a, b)
        total += math.sqrt(gap + epsilon) - math.sqrt(epsilon)
    return total / len(t)


def root_mean_gap_loop(x, y, t):
    pairs = zip(characteristic_function_loop(x, t), characteristic_function_loop(y, t), strict=True)
    return math.sqrt(sum(abs(a - b) ** 2 for a, b in pairs) / len(t))


def mean_kernel_loop(x, y, bandwidth):
    total = 0.0
    for a in x.tolist():
        for b in y.tolist():
            total += math.exp(-sum((p - q) ** 2 for p, q in zip(a, b, strict=True)) / (2 * bandwidth**2))
    return total / (len(x) * len(y))


def gaussian_mmd_loop(x, y, bandwidth):
    """Squared, pairs of a point with itself included."""
    return mean_kernel_loop(x, x, bandwidth) + mean_kernel_loop(y, y, bandwidth) - 2 * mean_kernel_loop(x, y, bandwidth)


def squared_distance(a, b):
    """Of two lists of numbers."""
    return sum((p - q) ** 2 for p, q in zip(a, b, strict=True))


def median_distance_loop(x, y):
    """The lower median over all pairs of two different rows of x and y together."""
    rows = [*x.tolist(), *y.tolist()]
    pairs = [math.sqrt(squared_distance(a, b)) for i, a in enumerate(rows) for b in rows[:i]]
    return statistics.median_low(pairs)


def paired_gap_loop(x, y):
    """Mean over the rows of y of the squared distance from the row of x whose turn it is, in turns."""
    real = itertools.cycle(x.tolist())
    return statistics.fmean(squared_distance(next(real), row) for row in y.tolist())


def mean_gap_loop(x, y):
    return squared_distance(*([statistics.fmean(column) for column in z.T.tolist()] for z in (x, y)))


def covariance_loop(x):
    """Entry by entry, mean over the rows of the products of deviations."""
    deviations = [[value - statistics.fmean(column) for value in column] for column in x.T.tolist()]
    return [[statistics.fmean(p * q for p, q in zip(a, b, strict=True)) for b in deviations] for a in deviations]


def covariance_gap_loop(x, y):
    return sum(squared_distance(a, b) for a, b in zip(covariance_loop(x), covariance_loop(y), strict=True))


def enlarge_loop(tile, size):
    """Bilinear enlargement of a (c, a, b) tile; pixel centres at half integers, the border is held."""
    c, a, b = tile.shape
    result = torch.empty(c, *size, dtype=tile.dtype)
    for row in range(size[0]):
        for column in range(size[1]):
            v, u = (row + 0.5) * a / size[0] - 0.5, (column + 0.5) * b / size[1] - 0.5
            result[:, row, column] = _bilinear(tile, min(max(v, 0), a - 1), min(max(u, 0), b - 1))
    return result


def _bilinear(tile, v, u):
    top, left = math.floor(v), math.floor(u)
    bottom, right = min(top + 1, tile.shape[1] - 1), min(left + 1, tile.shape[2] - 1)
    upper = (1 - u + left) * tile[:, top, left] + (u - left) * tile[:, top, right]
    lower = (1 - u + left) * tile[:, bottom, left] + (u - left) * tile[:, bottom, right]
    return (1 - v + top) * upper + (v - top) * lower


def cut_loop(image, factor):
    """The tiles of one (c, h, w) image, row by row, each at full size."""
    h, w = image.shape[1:]
    return [
        enlarge_loop(image[:, r * h // factor : (r + 1) * h // factor, s * w // factor : (s + 1) * w // factor], (h, w))
        for r in range(factor)
        for s in range(factor)
    ]


def tiles_of_each_image_loop(ipc, factor, bound):
    """Mode "bounded": each image in turn takes the finest cut that leaves a place for every one to come."""
    chosen, used = [], 0
    for i in range(ipc):
        reserved = ipc - i - 1
        fits = [f for f in range(1, factor + 1) if used + f**2 + reserved <= bound]
        chosen.append(max(fits))
        used += chosen[-1] ** 2
    return chosen


def decode_loop(images, factor, mode, bound):
    """List (a class each) of lists of decoded (c, h, w) images."""
    decoded = []
    for stored in images:
        if mode == "multi":
            plan = [(image, f) for f in range(1, factor + 1) for image in stored]
        elif mode == "single":
            plan = [(image, factor) for image in stored]
        else:
            plan = list(zip(stored, tiles_of_each_image_loop(len(stored), factor, bound), strict=True))
        decoded.append([tile for image, f in plan for tile in cut_loop(image, f)])
    return decoded


def shift_loop(image, down, right):
    """result[r, s] = image[r + down, s + right], 0 where that lies outside."""
    result = torch.zeros_like(image)
    h, w = image.shape[-2:]
    for r in range(h):
        for s in range(w):
            if 0 <= r + down < h and 0 <= s + right < w:
                result[..., r, s] = image[..., r + down, s + right]
    return result
