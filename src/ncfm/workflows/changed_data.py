"""Whether the real data are still those that a set or a run was made from, by the fingerprint that it records.

The fingerprint is that of the training split: pixels, labels, class names and whitening. If it has changed, images
that a set was made from may be among those that it is tested on.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ncfm._utils.checks import InputError, NcfmError
from ncfm._utils.distributed import Ranks
from ncfm._utils.files import read_json
from ncfm._utils.progress import counted
from ncfm.config.build import build_data
from ncfm.config.layers import make_config
from ncfm.config.resolve import FINGERPRINT, data_of_set
from ncfm.config.schema import RunConfig
from ncfm.data.digests import image_digests
from ncfm.data.image_set import ImageSet
from ncfm.data.sources import short_name
from ncfm.synthetic.folders import CONFIG_FILE, FACTS_FILE, SET_FOLDER

# --- sets ---------------------------------------------------------------------------------------------------


def check_data_of_set(
    facts: Mapping[str, Any],
    on: str | ImageSet | None,
    images: ImageSet,
    config: RunConfig,
    data_dir: str | Path | None,
    *,
    changed_data: bool = False,
) -> None:
    """Check that a set is used with the data that it was made from; a set that records no fingerprint is not checked.

    Settings such as ``data.image_size`` and ``data.zca`` change the fingerprint, too. Where they are others than the
    set's, the data are compared as they are under the set's own. Test images that the set was made from, as
    ``data.validation`` may give them, are reported as a warning.

    Args:
        facts: that the set records.
        on: data that the user names. If they have another name than those of the set, the difference is intended, and
            reported as a warning.
        images: the data.
        config: that the images were built with.
        data_dir: as in `ncfm.evaluate`.
        changed_data: go on with changed data, with a warning.

    Raises:
        NcfmError: if the data have changed.
    """
    recorded = facts.get(FINGERPRINT)
    if recorded is None:
        return
    found = _as_made(facts, on, images, config, data_dir)
    if found is not None and found.fingerprint == recorded:
        _report_tested_images(found, images)
        return
    if _names_other_data(facts, on):
        warnings.warn(
            f"The set was made from {facts.get('data') or 'other data'}, whose training images are others than those "
            f"of {images.name}.",
            stacklevel=3,
        )
        return
    change = f"The training images of {images.name} are not those that the set was made from ({_change(facts, found)})"
    if not changed_data:
        raise InputError(f"{change}; restore the data, distil again, or go on with --changed-data (changed_data=True).")
    warnings.warn(f"{change}; images that it was made from may be among the test images.", stacklevel=3)


def _as_made(
    facts: Mapping[str, Any],
    on: str | ImageSet | None,
    images: ImageSet,
    config: RunConfig,
    data_dir: str | Path | None,
) -> ImageSet | None:
    """The data under the settings that the set was made with; None if they cannot be loaded so any more."""
    made = make_config({"data": facts.get("config", {}).get("data", {})}).data
    if config.data == made:
        return images
    own = config.model_copy(update={"data": made})
    with contextlib.suppress(NcfmError):
        found: ImageSet = Ranks.here().main_process_first(lambda: build_data(data_of_set(facts, on), own, data_dir))
        return found
    return None


def _report_tested_images(made: ImageSet, images: ImageSet) -> None:
    """Warn of test images that the set was made from: its own settings may hold out others than those of today."""
    if made is images or images.test is None:
        return
    known = set(image_digests(made.train.images))
    shared = sum(digest in known for digest in image_digests(images.test.images))
    if shared:
        warnings.warn(
            f"{shared} of {len(images.test)} test images of {images.name} are, with these settings, among those that "
            "the set was made from.",
            stacklevel=4,
        )


def _names_other_data(facts: Mapping[str, Any], on: str | ImageSet | None) -> bool:
    """Whether the user names data of another name than those that the set records.

    Of a path only the last part counts: the folder of the set's data may be reached by another path.
    """
    if on is None:
        return False
    named = on if isinstance(on, str) else on.name
    recorded = str(facts.get("data") or "")
    return short_name(named.removesuffix("@validation")) != short_name(recorded)


def _change(facts: Mapping[str, Any], found: ImageSet | None) -> str:
    """How the data differ from those that a set was made from, for a message."""
    number = facts.get("training_images")
    then = "" if not isinstance(number, int) else f"{counted(number, 'image')}, "
    then += _short(facts[FINGERPRINT])
    if found is None:
        return f"{then}; now they cannot be read with its settings"
    return f"{then}; now {counted(len(found.train), 'image')}, {_short(found.fingerprint)}"


def _short(fingerprint: object) -> str:
    """The beginning of a fingerprint, for a message."""
    return f"fingerprint {str(fingerprint)[:8]}"


# --- runs ---------------------------------------------------------------------------------------------------


def check_data_of_run(folder: Path, images: ImageSet) -> None:
    """Check that a run is resumed with the data that it began with; one that records no fingerprint is not checked.

    Raises:
        NcfmError: if the data have changed.
    """
    recorded = fingerprint_of_run(folder)
    if recorded not in (None, images.fingerprint):
        raise InputError(
            f"{folder} holds a run on other training images than {images.name} has now ({_short(recorded)} then, "
            f"{_short(images.fingerprint)} now); restore the data, or begin a new run in another folder (--out)."
        )


def fingerprint_of_run(folder: Path) -> str | None:
    """The fingerprint of the data that the run in a folder began with: of its configuration, else of its set."""
    of_run = _read(folder / CONFIG_FILE)
    of_set = _read(folder / SET_FOLDER / FACTS_FILE).get("facts", {})
    recorded = of_run.get(FINGERPRINT) or of_set.get(FINGERPRINT)
    return None if recorded is None else str(recorded)


def _read(path: Path) -> dict[str, Any]:
    """The content of a JSON file; nothing if it is missing or damaged, which is reported where it is needed."""
    with contextlib.suppress(NcfmError):
        found = read_json(path)
        if isinstance(found, dict):
            return found
    return {}
