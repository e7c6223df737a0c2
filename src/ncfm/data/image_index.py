"""The images below a folder by what a table may call them."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path, PurePosixPath

from ncfm._utils.checks import InputError
from ncfm.data.choice import clear_split_of
from ncfm.data.layout import is_image


class ImageIndex:
    """Finds the images below a folder by path or name, with or without suffix.

    Args:
        root: the folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.images = [p for p in sorted(root.rglob("*")) if is_image(p) and _visible(p.relative_to(root))]
        self._by_end: dict[str, list[Path]] = defaultdict(list)
        for image in self.images:
            path = image.relative_to(root)
            for start in range(len(path.parts)):  # a/b.png: "a/b.png", "a/b", "b.png", "b"
                end = PurePosixPath(*path.parts[start:])
                for form in (str(end), str(end.with_suffix(""))):
                    self._by_end[form].append(image)

    def __contains__(self, name: str) -> bool:
        return bool(self._named(name))

    def find(self, name: str, folder: Path, split: str) -> Path | None:
        """The image that a table calls ``name``; None if there is none.

        Args:
            name: a path or name; leading folders that do not exist here are left out.
            folder: of the table: a path below it goes first.
            split: of the table: images below folders of the same split go next.

        Raises:
            InputError: if several images have this name.
        """
        found = self._named(name)
        if len(found) > 1:
            stems = [(place / name).with_suffix("") for place in (folder, self.root)]
            here = [path for path in found if path.with_suffix("") in stems]
            found = here or self._of_split(found, split) or found
        if len(found) > 1:
            shown = " or ".join(str(path.relative_to(self.root)) for path in found[:2])
            raise InputError(f"{self.root}: {name!r} in a table may be {shown}; give the path of each image.")
        return found[0] if found else None

    def _named(self, name: str) -> list[Path]:
        """All images with the longest end of a path that there is."""
        parts = PurePosixPath(name.strip().replace("\\", "/")).parts
        ends = ("/".join(parts[start:]) for start in range(len(parts)))
        return next((self._by_end[end] for end in ends if end in self._by_end), [])

    def _of_split(self, found: list[Path], split: str | None) -> list[Path]:
        """The images below a folder whose name says the split."""
        return [p for p in found if split in {clear_split_of(part) for part in p.relative_to(self.root).parts[:-1]}]


def _visible(path: Path) -> bool:
    return not any(part.startswith(".") for part in path.parts)
