"""How a synthetic set is shown to people: in one line, in a notebook, and as a picture on the screen."""

from __future__ import annotations

import base64
import html
import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL.Image import Image

from ncfm._utils.checks import InputError
from ncfm._utils.progress import counted
from ncfm.synthetic.counts import in_short

if TYPE_CHECKING:
    from ncfm.synthetic.synthetic_set import SyntheticSet

NAMED_CLASSES = 10  # class names in a notebook


def summary(synthetic: SyntheticSet) -> str:
    """Data, classes, images, size, method and soft labels of a set, in one line."""
    data = synthetic.facts.get("data")
    channels, side = synthetic.images.shape[2], synthetic.images.shape[-1]
    stored, decoded = in_short(synthetic.stored_counts), in_short(synthetic.decoded_counts)
    images = f"{stored} image{'' if stored == '1' else 's'}"
    parts = [
        (f"{_short(data)}: " if data else "") + f"{counted(synthetic.num_classes, 'class')} x {images}"
        f"{f' ({decoded} decoded)' if decoded != stored else ''}, {channels} x {side} x {side} px",
        f"method {synthetic.facts['method']}" if "method" in synthetic.facts else "",
        "soft labels" if synthetic.soft_labels is not None else "",
    ]
    return "; ".join(filter(None, parts))


def as_html(synthetic: SyntheticSet) -> str:
    """The picture of a set with its summary, class names and last accuracy; everything within the text."""
    buffer = io.BytesIO()
    synthetic.picture().save(buffer, format="PNG")
    encoded = base64.b64encode(buffer.getvalue()).decode()
    names = ", ".join(synthetic.class_names[:NAMED_CLASSES])
    lines = [
        f"<b>SyntheticSet</b> {html.escape(summary(synthetic))}",
        f'<img src="data:image/png;base64,{encoded}" alt="Images of the set" style="max-width: 100%">',
        html.escape(names + (", ..." if synthetic.num_classes > NAMED_CLASSES else "")),
        html.escape(_last_accuracy(synthetic)),
    ]
    return "<div>" + "<br>".join(filter(None, lines)) + "</div>"


def show_picture(picture: Image, of: SyntheticSet) -> None:
    """Show a picture in the notebook that runs this, or in the system's viewer.

    Raises:
        InputError: if there is neither.
    """
    display = _display_of_notebook()
    if display is not None:
        display(of)
    elif not _has_screen() or not _opened(picture):
        raise InputError("There is no screen to show the set on; write a file: picture().save('set.png').")


def _opened(picture: Image) -> bool:
    """Open a picture in the system's viewer; whether there is one."""
    from PIL import ImageShow

    return bool(ImageShow.show(picture, title="ncfm"))


def _display_of_notebook() -> Any:
    """The function with which the notebook that runs this shows something; None outside of notebooks."""
    if "IPython" not in sys.modules:
        return None
    from IPython.core.getipython import get_ipython
    from IPython.display import display

    shell = get_ipython()
    return display if shell is not None and hasattr(shell, "kernel") else None


def _has_screen() -> bool:
    """Whether windows can be opened: on Linux only with a display server."""
    return not sys.platform.startswith("linux") or bool({"DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ))


def _short(data: object) -> str:
    text = str(data)
    return text if text.startswith("hf:") else Path(text).name or text


def _last_accuracy(synthetic: SyntheticSet) -> str:
    """The last evaluation that is stored with the set."""
    if not synthetic.scores:
        return ""
    last = synthetic.scores[-1]
    return f"accuracy {100 * last['accuracy_mean']:.1f} % ({last['network']}, {last['protocol']})"
