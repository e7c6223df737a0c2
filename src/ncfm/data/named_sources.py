"""The named datasets: from the data folder, else from the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from ncfm._utils.checks import InputError, NcfmError
from ncfm._utils.progress import counted
from ncfm.data.archives import is_archive
from ncfm.data.assembly import Request, Wanted
from ncfm.data.hub import HubError, load_hub
from ncfm.data.image_set import ImageSet
from ncfm.data.layout import Reading
from ncfm.data.named import NAMED_SETS, SUBSETS, NamedSet, Subset
from ncfm.data.places import load_place
from ncfm.data.raw import Splits, select_rows
from ncfm.data.split_names import left_unread


def read_named(request: Request) -> ImageSet | None:
    """The source for `NAMED_SETS`: ``<data folder>/<name>``, the folder of a distribution, or the hub.

    Raises:
        NcfmError: if it is in none of these places.
    """
    if request.name not in NAMED_SETS:
        return None
    named, root = NAMED_SETS[request.name], request.data_root
    wanted = _with_defaults(request.wanted, named)
    reading = Reading((named.image_column, named.label_column), named.class_names).with_choice(request.choice)
    places = _places(root, (named.folder, *named.other_names)) + _places(Path("/"), named.other_folders)
    if places:
        return load_place(request.name, places[0], reading._replace(remarks=_unread(places)), wanted)
    try:
        return load_hub(request.name, (named.hub, named.configuration), reading, wanted)
    except HubError as error:
        raise InputError(_not_found(request.name, named.folder, root, error)) from error


def read_subset(request: Request) -> ImageSet | None:
    """The source for `SUBSETS` of ImageNet-1K: a folder of its own, that of ImageNet-1K, or the hub.

    Raises:
        NcfmError: if it is in none of these places, or what is there is not ImageNet-1K.
    """
    if request.name not in SUBSETS:
        return None
    name, subset, root, whole = request.name, SUBSETS[request.name], request.data_root, NAMED_SETS["imagenet-1k"]
    wanted = _with_defaults(request.wanted, subset)
    own = _places(root, (name, *subset.other_names))
    if own:
        reading = Reading(remarks=_unread(own)).with_choice(request.choice)
        return load_place(name, own[0], reading, wanted)
    columns, select = (whole.image_column, whole.label_column), partial(select_classes, subset=subset, name=name)
    reading = Reading(columns, whole.class_names, name, select).with_choice(request.choice)
    places = _places(root, (whole.folder, *whole.other_names))
    if places:
        return load_place(name, places[0], reading._replace(remarks=_unread(places)), wanted)
    try:
        return load_hub(name, (whole.hub, whole.configuration), reading, wanted)
    except HubError as error:
        raise InputError(_not_found(name, name, root, error)) from error


def _places(root: Path | None, names: Sequence[str]) -> list[Path]:
    """The files and the folders that are not empty of these names."""
    paths = [root / name for name in names] if root else []
    return [path for path in paths if path.is_file() or (path.is_dir() and any(path.iterdir()))]


def _unread(places: Sequence[Path]) -> tuple[str, ...]:
    """A remark on the places after the first, which is read. Downloads stay next to what was unpacked from them."""
    return left_unread(f"next to {places[0].name}", (path.name for path in places[1:] if not is_archive(path)))


def select_classes(splits: Splits, subset: Subset, name: str) -> Splits:
    """The subset's classes: by WordNet id if the classes have such names, otherwise by ImageNet's index.

    Raises:
        NcfmError: if there are class names, but neither all of the subset's nor a thousand.
    """
    ids = [wordnet_id for _, wordnet_id in subset.classes]
    selected = {}
    for split, raw in splits.items():
        present = raw.class_names or ()
        by_id = set(ids) <= set(present)
        if not by_id and present and len(present) != 1000:
            missing = ", ".join(sorted(set(ids) - set(present))[:3])
            raise InputError(
                f"{name}: {split} has {counted(len(present), 'class')}, but not {missing}, ...; is it ImageNet-1K?"
            )
        places = [present.index(i) for i in ids] if by_id else [index for index, _ in subset.classes]
        number = {place: i for i, place in enumerate(places)}
        rows = [i for i, label in enumerate(raw.labels) if label in number]
        labels = [number[raw.labels[i]] for i in rows]
        selected[split] = replace(raw, images=select_rows(raw.images, rows), labels=labels, class_names=tuple(ids))
    return selected


def _with_defaults(wanted: Wanted, spec: NamedSet | Subset) -> Wanted:
    """What is wanted, completed by what is known of the set: then no image is opened before it is decoded."""
    return wanted._replace(image_size=wanted.image_size or spec.image_size, channels=wanted.channels or spec.channels)


def _not_found(name: str, folder: str, root: Path | None, error: NcfmError) -> str:
    tried = f"nothing in {root / folder}" if root else "no --data-dir and no NCFM_DATA"
    return (
        f"{name}: {tried}, and the hub did not answer ({error}). "
        f"Put its files into <data-dir>/{folder}/ and pass --data-dir."
    )
