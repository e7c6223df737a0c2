"""What an export records in addition to images and labels, so that it can be read back as the set that it was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, NamedTuple, cast

from ncfm._utils.checks import RunError
from ncfm._utils.types import Statistics
from ncfm.formats.content import Content
from ncfm.synthetic.formation import Formation, Mode

CLASSES_FILE, CLASSES_FORMAT = "classes.json", "ncfm-export"  # the index of classes in an exported folder


class Recorded(NamedTuple):
    """What the file of a set records of itself."""

    class_names: tuple[str, ...] | None = None  # in the order of its labels
    formation: Formation | None = None  # None: the images are whole, or another program wrote them
    normalized_by: str | None = None  # see `ncfm.formats.normalization.to_pixels`
    whitened: bool = False  # made for ZCA-whitened images; the pixels are not


def export_facts(content: Content, normalized_by: Statistics | None = None) -> dict[str, Any]:
    """Plain values: the mark of an export, class names, the formation of stored mosaics, normalisation."""
    facts: dict[str, Any] = {"format": CLASSES_FORMAT, "class_names": list(content.class_names)}
    if content.stored and content.synthetic.decoded_ipc > content.synthetic.ipc:
        facts |= asdict(content.synthetic.formation)
    if normalized_by is not None:
        facts["normalized_by"] = ",".join(map(repr, (*normalized_by.mean, *normalized_by.std)))
    if content.synthetic.statistics.whitening is not None:
        facts["zca"] = True
    return facts


def read_facts(facts: Mapping[str, Any], where: str) -> Recorded:
    """The opposite of `export_facts`; of a file of another program only the names of the classes.

    Raises:
        RunError: for values that no export has.
    """
    names = facts.get("class_names")
    known = isinstance(names, list) and all(isinstance(name, str) for name in names)
    recorded = Recorded(tuple(names) if names and known else None)
    if facts.get("format") != CLASSES_FORMAT:
        return recorded
    by = facts.get("normalized_by")
    formation = _formation(facts, where) if "factor" in facts else None
    return recorded._replace(formation=formation, normalized_by=by and str(by), whitened=bool(facts.get("zca")))


def _formation(facts: Mapping[str, Any], where: str) -> Formation:
    """How the mosaics of an export are decoded."""
    try:
        return Formation(int(facts["factor"]), cast("Mode", str(facts["mode"])), int(facts["bound"]))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise RunError(f"{where}: the formation of its mosaics is damaged: {type(error).__name__} {error}.") from error
