"""The examples of docs/how-to/extend.md: each is right by itself, and runs from the command line as the page has it."""

import importlib.util
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import ncfm
from ncfm.distillation.objectives import CharacteristicMatching
from ncfm.formats.content import Content
from strategies import rng
from tiny import SETTINGS

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "extend"
PAGE = (ROOT / "docs" / "how-to" / "extend.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^    (ncfm .*)$", PAGE, flags=re.MULTILINE)


def example(name):
    """An example as a module, apart from what other tests have imported under its name."""
    specification = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_page_has_every_example_and_each_names_its_command():
    files = sorted(EXAMPLES.glob("*.py"))
    assert [path.stem for path in files] == ["my_data", "my_export", "my_network", "my_objective", "my_sampler"]
    for path in files:
        text = path.read_text(encoding="utf-8")
        assert f"```python\n{text}```" in PAGE
        assert [line for line in text.splitlines() if line in COMMANDS]


# --- by themselves --------------------------------------------------------------------------------------------------


def test_the_objective_is_0_for_equal_samples_and_adds_means_and_spreads():
    objective = example("my_objective").MomentMatching(spread_weight=2.0)
    real = torch.tensor([[[0.0, 0.0], [2.0, 0.0]]])  # means 1 and 0, standard deviations 1 and 0
    assert float(objective.discrepancy(real, real, rng(0))) == 0
    other = torch.tensor([[[1.0, 3.0], [1.0, 3.0]]])  # means 1 and 3, no spread
    assert float(objective.discrepancy(real, other, rng(0))) == pytest.approx(3**2 + 2 * 1, rel=5e-3)
    assert (objective.adversary, objective.state()) == (None, {})


def test_the_objective_has_a_slope_at_one_image_per_class():
    objective = example("my_objective").MomentMatching()
    one = torch.ones(1, 1, 2, requires_grad=True)
    objective.discrepancy(torch.zeros(1, 5, 2), one, rng(0)).sum().backward()
    assert one.grad.flatten().tolist() == [2, 2]  # of the squared means; the spread of one image is fixed


def test_the_sampler_draws_frequencies_along_the_axes():
    sampler = example("my_sampler").AxisFrequencies(num_features=5, num_frequencies=4000, scale=1.5)
    t = sampler.sample(rng(0))
    assert t.shape == (4000, 5)
    assert bool(((t != 0).sum(1) == 1).all())
    assert float(t.square().sum(1).mean()) == pytest.approx(1.5**2, rel=0.1)
    assert torch.equal(t, sampler.sample(rng(0)))
    assert not torch.equal(t, sampler.sample(rng(1)))
    assert CharacteristicMatching(sampler).adversary is None  # nothing to learn
    x = torch.randn(500, 5, generator=rng(2))
    assert float(ncfm.CharacteristicDiscrepancy(5, sampler)(x, x + 1)) > 0.2


def test_the_network_takes_every_size():
    make = example("my_network").make
    assert make(channels=3, num_classes=7, image_size=20)(torch.zeros(2, 3, 20, 20)).shape == (2, 7)


def test_the_data_source_has_two_classes_of_discs():
    discs = example("my_data").discs()
    assert (discs.class_names, discs.image_size, discs.channels) == (("small", "large"), 16, 1)
    assert (len(discs.train.labels), len(discs.test.labels)) == (80, 40)
    small, large = (discs.train.images[discs.train.labels == label].float().mean() for label in (0, 1))
    assert large > 3 * small


def test_the_export_writes_the_pixels_of_every_class(tmp_path, digits):
    images = torch.rand(10, 3, 1, 8, 8, generator=rng(0))
    content = Content.of(ncfm.SyntheticSet(images, digits.class_names, digits.statistics), stored=True, bits=8)
    example("my_export").write(content, tmp_path)
    assert (tmp_path / "classes.txt").read_text() == "".join(f"{name}\n" for name in digits.class_names)
    written = np.stack([np.load(tmp_path / f"{label}.npy") for label in range(10)])
    assert np.abs(written / 255 - images.numpy()).max() <= 0.5 / 255 + 1e-6


# --- from the command line ------------------------------------------------------------------------------------------


@pytest.fixture
def run(ncfm_, tmp_path, monkeypatch):
    """Run commands of the page in a folder with the examples, distillations with tiny settings."""
    for path in EXAMPLES.glob("*.py"):
        shutil.copy(path, tmp_path)
        monkeypatch.delitem(sys.modules, path.stem, raising=False)
    monkeypatch.chdir(tmp_path)
    tiny = [part for key, value in SETTINGS.items() for part in ("--set", f"{key}={value}")]

    def run(command):
        words = command.split()[1:]
        if words[0] == "distill":  # what the page sets comes last, over the tiny settings
            words[2:2] = ["--recipe", "none", *tiny]
        done = ncfm_(*words)
        assert done.code == 0, done.err
        return done

    return run


def command(*parts):
    """The page's one command with these parts."""
    (found,) = (line for line in COMMANDS if all(part in line for part in parts))
    return found


def recorded(folder):
    """The configuration that a run folder records."""
    return ncfm.load(folder).facts["config"]


def test_the_objective_from_the_command_line(run):
    run(command("distill", "objective.name"))
    assert recorded("runs/digits-ipc1")["objective"]["name"] == "my_objective:MomentMatching"


def test_the_sampler_from_the_command_line(run):
    run(command("distill", "frequencies.family"))
    assert recorded("runs/digits-ipc1")["frequencies"]["family"] == "my_sampler:AxisFrequencies"


def test_the_network_from_the_command_line(run):
    run(command("distill", "teachers.network"))
    assert recorded("runs/digits-ipc1")["teachers"]["network"] == "my_network:make"
    assert "my_network:make" in run(command("evaluate", "--networks")).out


def test_the_data_source_from_the_command_line(run):
    run(command("distill", "my_data:discs"))
    (folder,) = Path("runs").iterdir()
    made = ncfm.load(folder)
    assert (made.class_names, made.images.shape) == (("small", "large"), (2, 1, 1, 16, 16))


def test_the_export_from_the_command_line(run):
    run("ncfm distill digits --ipc 1")
    run(command("export"))
    images, labels = ncfm.load("runs/digits-ipc1").decoded()
    written = np.load("digits-npy/3.npy")
    assert np.abs(written / 255 - images[labels == 3].numpy()).max() <= 0.5 / 255 + 1e-6
    assert Path("digits-npy/classes.txt").read_text().split() == list("0123456789")
