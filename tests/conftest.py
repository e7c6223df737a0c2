"""What every test runs under."""

from __future__ import annotations

import gc
import itertools
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
import torch
from filelock import FileLock

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


CACHE = "NCFM_CACHE"
COMPILE = """
import os
from filelock import FileLock
from ncfm import kernels
with FileLock(os.environ["NCFM_CACHE"] + "/lock"):
    kernels.available()
"""


def pytest_configure(config: pytest.Config) -> None:
    """Compile the kernels while the workers collect the tests: seconds, which each of them would need for itself."""
    if hasattr(config, "workerinput") or config.option.collectonly:
        return
    folder = tempfile.TemporaryDirectory(prefix="kernels")
    Path(folder.name, "kernels").mkdir()
    os.environ[CACHE] = folder.name  # of the workers, too, until a test has a cache of its own
    compiling = subprocess.Popen([sys.executable, "-c", COMPILE], stderr=subprocess.DEVNULL)
    config.add_cleanup(folder.cleanup)
    config.add_cleanup(compiling.wait)  # comes first


def pytest_collection_finish() -> None:
    """Spare the garbage collector all objects of imports and collected tests, which stay to the end."""
    gc.freeze()


@pytest.fixture(scope="session")
def built_kernels() -> Path:
    """Where all tests find the compiled kernels: processes that tests start would each compile them for seconds."""
    folder = os.environ[CACHE]
    with FileLock(f"{folder}/lock"):
        kernels.available()
    return Path(folder, "kernels")


@pytest.fixture(scope="session")
def new_cache(tmp_path_factory: pytest.TempPathFactory, built_kernels: Path) -> Callable[[], Path]:
    """Makes caches with nothing but the kernels. Pytest's own numbering reads the names of all folders every time."""
    parent, numbers = tmp_path_factory.mktemp("caches"), itertools.count()

    def make() -> Path:
        folder = parent / str(next(numbers))
        folder.mkdir()
        (folder / "kernels").symlink_to(built_kernels)
        return folder

    return make


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, new_cache: Callable[[], Path]) -> Path:
    """A cache of its own for every test, but for the kernels: no teacher of another test or of the user is found."""
    folder = new_cache()
    monkeypatch.setenv(CACHE, str(folder))
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
