"""What else happens around the iterations of a run: the hooks that a `Callback` may override."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ncfm.distillation.step_protocol import Record

if TYPE_CHECKING:
    from ncfm.distillation.runner import Run


class Callback(Protocol):
    """Hooks around the iterations of a run. Subclass it and override what is needed; the other hooks do nothing.

    A hook may read everything of the `Run`: ``run.progress``, ``run.step``, ``run.history``, ``run.images()``. It may
    ask for a stop by `Run.request_stop`, and queue a file for the background by `Run.write_later`. An exception ends
    the run. A callback must not draw from ``run.step.streams``, else the images change.

    With several ranks every hook is called on every rank. Only ``run.ranks.is_main`` should write, but `Run.images`
    must then be called on all ranks.

    A picture of all images every 100 iterations:

    >>> from ncfm.distillation import RunControl
    >>> from ncfm.synthetic.image_grid import save_image_grid
    >>> class Pictures(Callback):
    ...     def __init__(self, folder, class_names, every=100):
    ...         self.folder, self.class_names, self.every = folder, class_names, every
    ...
    ...     def after_iteration(self, run, record):
    ...         iteration = run.progress.iteration
    ...         if iteration % self.every:
    ...             return
    ...         images = run.images().cpu()
    ...         if run.ranks.is_main:
    ...             save_image_grid(self.folder / f"{iteration:06d}.png", images, self.class_names)
    >>> control = RunControl(callbacks=(Pictures(Path("pictures"), ("cat", "dog")),))
    """

    def on_start(self, run: Run) -> None:
        """Before the first iteration that `Run.play` runs. A resumed run has loaded its checkpoint."""
        return

    def after_iteration(self, run: Run, record: Record) -> None:
        """After each iteration. ``record`` holds what it measured; reading a value waits for the device."""
        return

    def before_save(self, run: Run) -> None:
        """Before a checkpoint is saved, also in a run without a folder. An exception keeps the checkpoint before."""
        return

    def on_save(self, run: Run, folder: Path) -> None:
        """While a checkpoint is saved: files that belong to it are queued by `Run.write_later`."""
        return

    def on_end(self, run: Run) -> None:
        """After the last iteration, before the last save. Not called in a run that is stopped or fails."""
        return

    def close(self) -> None:
        """Release resources. Called once iterations have begun, also in a run that is stopped or fails."""
        return
