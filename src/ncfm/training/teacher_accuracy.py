"""How good the teachers are: accuracy of each trained one on the real test split, cached by content."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from ncfm._utils.cache import CacheEntry
from ncfm._utils.files import content_hash
from ncfm.data.image_set import ImageSet, ImageSplit
from ncfm.training.fit import accuracy
from ncfm.training.teachers import TeacherPool

KIND = "teacher-accuracies"  # folder of the cache


def teacher_accuracies(pool: TeacherPool, images: ImageSet, *, cache: Path | None = None) -> tuple[float, ...]:
    """Accuracy of every trained teacher on the test split, a fraction; () if there is no test split.

    The test split has no influence on the training of the teachers, nor on the distillation.

    Args:
        pool: the teachers.
        images: the real set.
        cache: folder of the cache; default ``~/.cache/ncfm/teacher-accuracies``.
    """
    if images.test is None:
        return ()
    entries = [CacheEntry(KIND, key, cache) for key in _keys(pool, images.test)]
    known = [entry.read(lambda found: float(found.facts()["accuracy"])) for entry in entries]
    for index, entry in enumerate(entries):
        if known[index] is None:
            known[index] = _measured(pool, index, images.test)
            entry.write(facts={"accuracy": known[index]})
    return tuple(value for value in known if value is not None)


def mean_accuracy(accuracies: Sequence[float]) -> float | None:
    """Mean over teachers; None if there are none, or no test split."""
    return fmean(accuracies) if accuracies else None


def teachers_in_words(accuracies: Sequence[float], what: str = "teacher") -> str:
    """The accuracies for people.

    >>> teachers_in_words([0.971, 0.975, 0.968]), teachers_in_words([0.5]), teachers_in_words([])
    ('3 teachers, 97.1 % on the test split (96.8 to 97.5)', '1 teacher, 50.0 % on the test split', '')
    """
    if not accuracies:
        return ""
    mean, low, high = sum(accuracies) / len(accuracies), min(accuracies), max(accuracies)
    reach = f" ({100 * low:.1f} to {100 * high:.1f})" if len(accuracies) > 1 else ""
    return f"{len(accuracies)} {what}{'s' * (len(accuracies) > 1)}, {100 * mean:.1f} % on the test split{reach}"


def _measured(pool: TeacherPool, index: int, test: ImageSplit) -> float:
    return accuracy(pool.trained(index), test.images, test.labels, statistics=pool.statistics)


def _keys(pool: TeacherPool, test: ImageSplit) -> list[str]:
    """Content hashes of everything that determines the accuracies."""
    split, statistics = content_hash(test.images, test.labels), pool.statistics
    whitening = () if statistics.whitening is None else (statistics.whitening.mean, statistics.whitening.matrix)
    shown = content_hash(repr((statistics.mean, statistics.std)), *whitening)
    return [content_hash("teacher accuracy", fingerprint, split, shown) for fingerprint in pool.fingerprints]
