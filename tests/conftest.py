"""What every test runs under."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
import torch

from commands import ncfm_  # noqa: F401  # a fixture
from ncfm import kernels
from ncfm.data.digits import load_digits_set
from ncfm.data.image_set import ImageSet
from ncfm.training.teachers import TeacherPool
from tiny import few, random_pool

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# The same examples in every run, so that a failure is one for everybody; no deadline, machines may be busy.
hypothesis.settings.register_profile("ncfm", derandomize=True, deadline=None)
hypothesis.settings.load_profile("ncfm")


@pytest.fixture(scope="session")
def built_kernels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all tests find the compiled kernels: processes that tests start would each compile them for seconds."""
    cache = tmp_path_factory.mktemp("built")
    (cache / "kernels").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NCFM_CACHE", str(cache))
        kernels.available()
    return cache / "kernels"


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, built_kernels: Path) -> Path:
    """A cache of its own for every test, but for the kernels: no teacher of another test or of the user is found."""
    folder = tmp_path_factory.mktemp("cache")
    (folder / "kernels").symlink_to(built_kernels)
    monkeypatch.setenv("NCFM_CACHE", str(folder))
    return folder


@pytest.fixture(autouse=True)
def with_kernels() -> Iterator[None]:
    """A run that switches the kernels off does so for its process."""
    yield
    kernels.enable(True)


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """One thread: the problems are tiny, and sums over threads could differ in the last bit."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def saved_figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are written; their files are written too."""
    from matplotlib.figure import Figure  # slow to import

    figures, plain = list[Figure](), Figure.savefig

    def savefig(figure: Figure, *args: Any, **kwargs: Any) -> None:
        figures.append(figure)
        plain(figure, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", savefig)
    return figures


@pytest.fixture(scope="session")
def digits() -> ImageSet:
    """The digits, read once; nothing may change them in place."""
    return load_digits_set()


@pytest.fixture(scope="module")
def images(digits: ImageSet) -> ImageSet:
    """Eight training images of every class, and the whole test split."""
    return few(digits)


@pytest.fixture(scope="module")
def pool(images: ImageSet) -> TeacherPool:
    """Two teachers that were never trained."""
    return random_pool(images)


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Writes a module of the user's own, by name and text, into a folder that becomes the current one."""
    names = []

    def write(name: str, text: str) -> None:
        (tmp_path / f"{name}.py").write_text(text)
        names.append(name)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])  # the package is to find it
    yield write
    for name in names:
        sys.modules.pop(name, None)
