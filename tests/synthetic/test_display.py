"""How a set is shown: in one line, in a notebook, on the screen."""

import base64
import io
import re
import sys
import types

import numpy as np
import pytest
from PIL import Image, ImageShow

from ncfm._utils.checks import InputError
from ncfm.distillation import DistillResult
from sets import synthetic, with_soft_labels


@pytest.mark.parametrize(
    ("made", "line"),
    [
        (synthetic(), "SyntheticSet(3 classes x 2 images, 3 x 8 x 8 px)"),
        (synthetic(ipc=1, factor=2), "SyntheticSet(3 classes x 1 image (4 decoded), 3 x 8 x 8 px)"),
        (
            synthetic(counts=(1, 2, 2), facts={"data": "/home/me/photos", "method": "mmd"}),
            "SyntheticSet(photos: 3 classes x 1 to 2 images, 3 x 8 x 8 px; method mmd)",
        ),
        (
            synthetic(facts={"data": "hf:me/photos"}),
            "SyntheticSet(hf:me/photos: 3 classes x 2 images, 3 x 8 x 8 px)",
        ),
    ],
)
def test_a_set_is_one_line(made, line):
    assert repr(made) == line


def test_soft_labels_are_named(digits):
    assert repr(with_soft_labels(digits)).endswith("(8 decoded), 1 x 8 x 8 px; soft labels)")


def test_a_result_is_a_line_without_its_history():
    history = [{"iteration": float(i)} for i in range(1000)]
    result = DistillResult(synthetic(), synthetic(), 1000, 2.0, False, history, None, 1.0)
    assert len(repr(result)) < 400


def test_a_notebook_shows_picture_names_and_accuracy():
    score = {"accuracy_mean": 0.512, "network": "convnet", "protocol": "quick"}
    made = synthetic(facts={"data": "a<b"}, scores=(score,))
    shown = made._repr_html_()
    assert "a&lt;b: 3 classes x 2 images" in shown
    assert "cat, dog, Käfer" in shown
    assert "accuracy 51.2 % (convnet, quick)" in shown
    (encoded,) = re.findall(r'src="data:image/png;base64,([^"]+)"', shown)
    with Image.open(io.BytesIO(base64.b64decode(encoded))) as picture:
        assert (np.asarray(picture) == np.asarray(made.picture())).all()
    assert not re.findall(r"https?:", shown)


def test_in_a_notebook_the_set_itself_is_displayed(monkeypatch):
    shown = []
    interactive = types.ModuleType("IPython.core.getipython")
    interactive.get_ipython = lambda: types.SimpleNamespace(kernel=object())
    displaying = types.ModuleType("IPython.display")
    displaying.display = shown.append
    for name, module in {
        "IPython": types.ModuleType("IPython"),
        "IPython.core": types.ModuleType("IPython.core"),
        "IPython.core.getipython": interactive,
        "IPython.display": displaying,
    }.items():
        monkeypatch.setitem(sys.modules, name, module)
    made = synthetic()
    made.show()
    assert shown == [made]


def test_on_a_screen_the_viewer_opens_the_picture(monkeypatch):
    opened = []
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(ImageShow, "show", lambda picture, title=None: opened.append(picture.size) or True)
    synthetic().show()
    assert opened == [synthetic().picture().size]


@pytest.mark.parametrize("variable", ["", "DISPLAY"])
def test_without_screen_or_viewer_the_remedy_is_named(monkeypatch, variable):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    if variable:
        monkeypatch.setenv(variable, ":0")
    monkeypatch.setattr(ImageShow, "_viewers", [])
    with pytest.raises(InputError, match=r"no screen .*picture\(\)\.save\('set\.png'\)"):
        synthetic().show()
