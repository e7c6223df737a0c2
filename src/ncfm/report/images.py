"""Real and synthetic images by class, and the animation of the snapshots of a run."""

from __future__ import annotations

from ncfm._utils.progress import counted
from ncfm.data.channels import visible
from ncfm.data.levels import to_uint8
from ncfm.report.folding import CLASSES, NOTHING, Fold, fold
from ncfm.report.inline import ANIMATION_SIDE, address, moving, picture, still, strip
from ncfm.report.page import AnimationView, ClassRow, Tile
from ncfm.report.real_data import RealComparison
from ncfm.report.run_folder import RunFolder
from ncfm.synthetic.counts import in_short

MAX_TILES, MAX_TILE_PIXELS = 400, 2**22  # images in the grids, and their pixels
MAX_STRIPS = 10  # classes with a strip of snapshots


def class_rows(run: RunFolder, real: RealComparison | None) -> tuple[Fold[ClassRow], str]:
    """Real and synthetic images of every class, as far as they fit the page, and a note about the others."""
    s = run.synthetic
    if s is None:
        return NOTHING, ""
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
                    Tile(address(picture(x)), f"Synthetic image of {name}, {i + 1} of {s.stored_counts[c]}")
                    for i, x in enumerate(stored[c, : min(each, s.stored_counts[c])])
                ],
            )
        )
    notes = []
    if s.factor > 1:
        notes.append(f"A stored image is a mosaic of {s.factor} by {s.factor} training images of its class.")
    channels, seen = stored.shape[2], visible(stored).shape[2]
    if seen < channels:
        which = "the first three are shown as RGB" if seen > 1 else "the first is shown"
        notes.append(f"Of {channels} channels {which}.")
    if classes < s.num_classes:
        notes.append(f"The first {classes} of {counted(s.num_classes, 'class')} are shown.")
    if each < s.ipc:
        notes.append(f"The first {each} of {in_short(s.stored_counts)} stored images per class are shown.")
    return fold(rows, CLASSES, "class", lambda row: row.name), " ".join(notes)


def animation_view(run: RunFolder) -> AnimationView | None:
    """The animation of a run, if it has at least two snapshots."""
    if len(run.snapshots) < 2:
        if run.snapshots:
            run.missing.setdefault("snapshots", "There is a single snapshot: the run was stopped at its start.")
        return None
    names = () if run.synthetic is None else run.synthetic.class_names
    shown = min(len(run.snapshots[0].images), MAX_STRIPS)
    iterations = [snapshot.iteration for snapshot in run.snapshots]
    strips = []
    for c in range(shown):
        name = names[c] if c < len(names) else f"class {c}"
        alt = f"First image of {name} after iterations {', '.join(map(str, iterations))}"
        strips.append((name, Tile(address(strip([snapshot.images[c, 0] for snapshot in run.snapshots])), alt)))
    frames = [still(snapshot.images) for snapshot in run.snapshots]
    alt = f"The images of the set from iteration {iterations[0]} to {iterations[-1]}"
    note = f"The first {shown} classes." if shown < len(names) else ""
    small = run.snapshots[0].images.shape[-1] < ANIMATION_SIDE
    return AnimationView(iterations, strips, moving(frames, lossless=small), address(frames[-1]), alt, note)
