"""The images of a set beside real ones, and the film of how they grew."""

from __future__ import annotations

from ncfm.data.image_set import to_uint8
from ncfm.report.inline import FILM_SIDE, address, moving, picture, still, strip
from ncfm.report.page import ClassRow, FilmView, Tile
from ncfm.report.real_data import RealLook
from ncfm.report.run_folder import RunFolder

MAX_TILES, MAX_TILE_PIXELS = 400, 2**22  # images in the grids, and their pixels
MAX_STRIPS = 10  # classes of the film


def class_rows(run: RunFolder, real: RealLook | None) -> tuple[list[ClassRow], str]:
    """Real beside synthetic images of every class, as many as a page can hold, and a remark on what is left out."""
    s = run.synthetic
    if s is None:
        return [], ""
    stored = to_uint8(s.images)
    room = min(MAX_TILES, MAX_TILE_PIXELS // stored.shape[-1] ** 2)
    kinds = 1 if real is None else 2
    classes = min(s.num_classes, max(room // kinds, 1))
    each = min(max(room // (kinds * classes), 1), 10)
    rows = []
    for c in range(classes):
        name = s.class_names[c]
        shown = [] if real is None else list(real.samples[c, :each])
        rows.append(
            ClassRow(
                name,
                [Tile(address(picture(x)), f"Real image of {name}, {i + 1}") for i, x in enumerate(shown)],
                [
                    Tile(address(picture(x)), f"Synthetic image of {name}, {i + 1} of {s.ipc}")
                    for i, x in enumerate(stored[c, :each])
                ],
            )
        )
    notes = []
    if s.factor > 1:
        notes.append(f"A stored image is a mosaic of {s.factor} by {s.factor} training images of its class.")
    if classes < s.num_classes:
        notes.append(f"The first {classes} of {s.num_classes} classes are shown.")
    if each < s.ipc:
        notes.append(f"The first {each} of {s.ipc} stored images of a class are shown.")
    return rows, " ".join(notes)


def film_view(run: RunFolder) -> FilmView | None:
    """The film of a run, if it has at least two frames."""
    if len(run.film) < 2:
        if run.film:
            run.missing.setdefault("film", "The film has a single frame: the run was stopped at its start.")
        return None
    names = () if run.synthetic is None else run.synthetic.class_names
    shown = min(len(run.film[0].images), MAX_STRIPS)
    moments = [frame.iteration for frame in run.film]
    strips = []
    for c in range(shown):
        name = names[c] if c < len(names) else f"class {c}"
        alt = f"First image of {name} after iterations {', '.join(map(str, moments))}"
        strips.append((name, Tile(address(strip([frame.images[c, 0] for frame in run.film])), alt)))
    frames = [still(frame.images) for frame in run.film]
    alt = f"The images of the set changing from iteration {moments[0]} to {moments[-1]}"
    note = f"The first {shown} classes." if shown < len(names) else ""
    small = run.film[0].images.shape[-1] < FILM_SIDE
    return FilmView(moments, strips, moving(frames, lossless=small), address(frames[-1]), alt, note)
