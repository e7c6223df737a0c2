"""The front door: every name resolves, importing changes nothing, and a whole round works in a few lines."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys

import pytest
import torch

import ncfm
from ncfm._utils.progress import Silent
from ncfm._utils.types import LabelledImages
from ncfm.data.splitting import with_test_split
from tiny import SETTINGS

IMPORTING = """
import random, signal, sys, warnings
import numpy, torch
torch.set_num_threads(3)
torch.manual_seed(5)

def world():
    return [
        torch.get_num_threads(), torch.get_num_interop_threads(), torch.get_default_dtype(),
        torch.is_grad_enabled(), torch.are_deterministic_algorithms_enabled(), torch.get_float32_matmul_precision(),
        torch.backends.cudnn.benchmark, torch.random.get_rng_state().tolist(), random.getstate(),
        [str(v) for v in numpy.random.get_state()], signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM),
        sys.excepthook is sys.__excepthook__, len(warnings.filters),
    ]

warnings.simplefilter("error")
before = world()
import ncfm
print([name for name in %r if name in sys.modules])
ncfm.networks.register_network
[getattr(ncfm, name) for name in ncfm.__all__]  # what is imported at first use is held to the same
after = world()
print([i for i, (a, b) in enumerate(zip(before, after)) if a != b])
print([name for name in ("sklearn", "scipy", "datasets", "typer") if name in sys.modules])
"""

# Needed to distil, to evaluate, to read data; not to load a set.
NOT_TO_LOAD = (
    *("datasets", "pyarrow", "pandas", "huggingface_hub", "sklearn", "scipy", "matplotlib"),
    *("pydantic", "typer", "rich", "jaxtyping"),
)


def test_importing_changes_nothing_and_stays_light():
    # Threads, random numbers, precision and signal handlers belong to the program that imports us.
    program = IMPORTING % (NOT_TO_LOAD,)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    at_first, changed, heavy = done.stdout.splitlines()
    assert at_first == "[]"
    assert changed == "[]"
    assert heavy == "[]"


LOADING = """
import sys
for name in %r:
    sys.modules[name] = None  # importing it fails
import ncfm
set = ncfm.load(sys.argv[1])
images, labels = next(iter(set.loader(batch_size=40, shuffle=False, normalized=False)))
print(images.shape, images.double().sum().item(), labels.tolist()[::4])
print(ncfm.save(set, sys.argv[1] + "-8-bit", bits=8))
"""


def test_a_set_loads_and_is_read_where_only_the_core_is_installed(tmp_path, digits):
    images = digits.train.labelled().images[:10, None]
    made = ncfm.SyntheticSet(images, digits.class_names, digits.statistics, factor=2)
    ncfm.save(made, tmp_path / "set")
    program = [sys.executable, "-c", LOADING % (NOT_TO_LOAD,), str(tmp_path / "set")]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    expected = f"torch.Size([40, 1, 8, 8]) {made.decoded().images.double().sum().item()} {list(range(10))}"
    assert done.stdout.splitlines() == [expected, f"{tmp_path / 'set'}-8-bit"]
    assert torch.equal(ncfm.load(tmp_path / "set-8-bit").images, images)  # real images have 8 bits


def test_names_that_are_imported_at_first_use():
    assert set(ncfm.__all__) <= set(dir(ncfm))
    with pytest.raises(AttributeError, match="module 'ncfm' has no attribute 'distil'"):
        ncfm.distil  # noqa: B018


def modules():
    return ["ncfm", *(m.name for m in pkgutil.walk_packages(ncfm.__path__, "ncfm.") if not m.name.endswith("__main__"))]


def test_every_module_is_imported_and_every_public_name_resolves():
    found = {name: importlib.import_module(name) for name in modules()}
    public = {name: module.__all__ for name, module in found.items() if hasattr(module, "__all__")}
    assert len(found) > 100
    assert {"ncfm", "ncfm.data", "ncfm.discrepancy", "ncfm.evaluation", "ncfm.networks"} <= public.keys()
    for module, names in public.items():
        assert len(names) == len(set(names)), module
        for name in names:
            value = getattr(found[module], name)
            assert value.__doc__ or not callable(value), f"{module}.{name}"


def test_the_front_functions_are_there():
    assert {"compare", "distill", "evaluate", "load", "pretrain", "load_images"} <= set(ncfm.__all__)
    assert ncfm.__version__.count(".") == 2


def test_a_round_trip(tmp_path, digits):
    state, threads = torch.random.get_rng_state(), torch.get_num_threads()
    result = ncfm.distill("digits", ipc=1, recipe="none", settings=SETTINGS, out=tmp_path / "run")
    loaded = ncfm.load(tmp_path / "run")
    assert isinstance(result, ncfm.DistillResult)
    assert torch.equal(loaded.images, result.synthetic.images)
    assert loaded == ncfm.load(str(tmp_path / "run" / "synthetic")).with_images(loaded.images)
    assert loaded.facts == result.synthetic.facts
    assert (loaded.facts["data"], loaded.facts["method"]) == ("digits", "ncfm")
    assert "distill.iterations=2" in loaded.facts["variant"]
    assert loaded.facts["data_fingerprint"] == digits.fingerprint
    images, labels = loaded.decoded()
    assert images.shape == (40, 1, 8, 8)
    assert labels.tolist() == [c for c in range(10) for _ in range(4)]

    # The set, its folder and its bare tensors give the same evaluation.
    of_set = ncfm.evaluate(loaded)
    of_folder = ncfm.evaluate(tmp_path / "run")
    of_tensors = ncfm.evaluate(LabelledImages(images, labels), digits, settings=SETTINGS)
    assert isinstance(of_set, ncfm.EvaluationResult)
    assert of_set.accuracies == of_folder.accuracies == of_tensors.accuracies
    assert of_set.protocol == "quick@epochs=2"  # the set's own recipe
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_an_image_set_serves_as_well_as_its_name(digits):
    by_name = ncfm.distill("digits", ipc=1, recipe="none", settings=SETTINGS)
    by_set = ncfm.distill(digits, ipc=1, recipe="none", settings=SETTINGS)
    assert torch.equal(by_name.synthetic.images, by_set.synthetic.images)


def test_the_seed_is_the_result(digits):
    first, again, other = (
        ncfm.distill(digits, ipc=1, recipe="none", settings=SETTINGS, seed=seed).synthetic.images for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_compare_gives_results_back(digits, tmp_path):
    scored = ncfm.compare(
        digits,
        ipc=1,
        methods=["ncfm", "full"],
        recipe="none",
        settings=SETTINGS | {"evaluate.epochs": 100},
        results=tmp_path / "rows.csv",
    )
    assert [s.name for s in scored] == ["ncfm", "full"]
    assert [s.storage for s in scored] == [1, 135]  # 1,343 images of 10 classes
    # 100 epochs of one batch; 1,343 images are 20 batches of 64, so 5 epochs are as many steps.
    assert [s.evaluation.epochs for s in scored] == [100, 5]
    assert scored[1].evaluation.accuracy_mean > scored[0].evaluation.accuracy_mean
    assert len((tmp_path / "rows.csv").read_text().splitlines()) == 3


def test_a_reporter_hears_every_stage(digits):
    heard = []

    class Reporter(Silent):
        def begin(self, stage, total, unit="step"):
            heard.append([stage, unit, total, 0])

        def update(self, done, note=""):
            heard[-1][3] = done

    result = ncfm.distill(digits, ipc=1, recipe="none", settings=SETTINGS, reporter=Reporter())
    ncfm.evaluate(result.synthetic, digits, settings=SETTINGS, reporter=Reporter())
    assert heard == [["teachers", "epoch", 1, 1], ["distilling", "iteration", 2, 2], ["students", "epoch", 4, 4]]


# --- what the other commands do -----------------------------------------------------------------------------


class Heard(Silent):
    """A reporter that remembers its stages and their units."""

    def __init__(self):
        self.stages = []

    def begin(self, stage, total, unit="step"):
        self.stages.append((stage, unit))


@pytest.fixture
def run(tmp_path):
    """The folder of a tiny run that recorded diagnoses."""
    settings = SETTINGS | {"machine.diagnose_every": 1}
    ncfm.distill("digits", ipc=1, recipe="none", settings=settings, out=tmp_path / "run")
    return tmp_path / "run"


def test_a_plan_reports_its_progress(digits):
    reporter = Heard()
    found = ncfm.plan(digits, ipc=1, settings=SETTINGS, steps=1, reporter=reporter)
    assert isinstance(found, ncfm.Plan)
    assert [stage.name for stage in found.stages] == ["teachers", "distilling", "students", "testing"]
    assert reporter.stages == [("timing", "step")]


def test_a_row_is_reproduced_by_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = ncfm.reproduce("digits-ipc1", settings=SETTINGS, results="rows.csv")
    assert isinstance(found, ncfm.Reproduction)
    assert (found.row.name, found.new.dataset, found.new.ipc) == ("digits-ipc1", "digits", 1)
    assert found.new.accuracy_mean == found.evaluation.accuracy_mean
    assert len(ncfm.load("runs/reproduce/digits-ipc1").scores) == 1
    assert len((tmp_path / "rows.csv").read_text().splitlines()) == 2
    with pytest.raises(ncfm.NcfmError, match="Did you mean 'digits-ipc1'"):
        ncfm.reproduce("digit-ipc1")


def test_downstream_tasks_of_a_run_report_progress_and_append_rows(run, digits, tmp_path):
    reporter, grid = Heard(), ["convnet1w2", "convnet1w4", "convnet1w8"]
    common = {"reporter": reporter, "settings": {"evaluate.epochs": 1}}
    scores = ncfm.score(run, digits, full_epochs=1, results=tmp_path / "score.csv", **common)
    memories = ncfm.continual(run, digits, steps=2, methods=["random"], results=tmp_path / "continual.csv", **common)
    ranked = ncfm.search(run, digits, networks=grid, full_epochs=1, results=tmp_path / "search.csv", **common)
    assert isinstance(scores, ncfm.ScoreResult)
    assert isinstance(memories["set"], ncfm.ContinualResult)
    assert isinstance(ranked, ncfm.SearchResult)
    lines = {path.stem: len(path.read_text().splitlines()) for path in tmp_path.glob("*.csv")}
    assert lines == {"score": 1 + 1, "continual": 1 + 2 * 2, "search": 1 + 3}
    assert reporter.stages == [
        ("students, hard labels", "epoch"),
        ("students", "epoch"),
        ("students, no augmentation", "epoch"),
        ("random images", "student"),
        ("random images, no augmentation", "student"),
        ("full dataset", "epoch"),
        ("memory set", "student"),
        ("memory random", "student"),
        *((f"{name} on the {where}", "epoch") for name in grid for where in ("set", "full dataset")),
    ]


def test_a_report_says_where_it_is_and_what_is_missing(run):
    written = ncfm.write_report(run, with_data=False)
    assert written.path == run / "report.html"
    assert written.path.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert "--no-data" in written.missing["data"]


def test_a_run_is_diagnosed(run, tmp_path):
    found = ncfm.diagnose(run)
    assert [entry["iteration"] for entry in found.entries] == [1, 2]
    assert found.class_names == tuple("0123456789")
    assert len(found.entries[-1]["learned.discrepancy"]) == 10
    with pytest.raises(ncfm.NcfmError, match=r"machine\.diagnose_every"):
        ncfm.diagnose(tmp_path)


def test_a_dataset_is_described(digits, tmp_path):
    card = ncfm.describe("digits", picture=tmp_path / "digits.png")
    assert (card.num_classes, sum(card.train_counts), card.problems) == (10, len(digits.train), ())
    assert (tmp_path / "digits.png").read_bytes().startswith(b"\x89PNG")
    held_out = ncfm.describe(digits, settings={"data.validation": 0.5})
    assert sum(held_out.train_counts) == pytest.approx(len(digits.train) / 2, abs=10)


# --- teachers -----------------------------------------------------------------------------------------------

TAUGHT = SETTINGS | {"evaluate.labels": "teacher", "evaluate.temperature": 2.0, "evaluate.soft_weight": 0.5}


def test_students_learn_from_the_teachers_of_the_set(digits, own_cache):
    made = ncfm.distill(digits, ipc=1, recipe="none", settings=SETTINGS, seed=3).synthetic
    (teacher,) = (own_cache / "teachers").glob("*.safetensors")
    heard = []

    class Reporter(Silent):
        def begin(self, stage, total, unit="step"):
            heard.append(stage)

    # The set records how its teachers were trained, and they are found again, whatever the students' seed.
    asked = {key: value for key, value in TAUGHT.items() if key.startswith("evaluate.")}
    taught = ncfm.evaluate(made, digits, settings=asked, seed=8, reporter=Reporter())
    assert heard == ["teachers", "students"]
    assert list((own_cache / "teachers").glob("*.safetensors")) == [teacher]
    assert taught.protocol == "quick@epochs=2,labels=teacher(T=2 weight=0.5)"
    by_hard = ncfm.evaluate(made, digits, settings=asked | {"evaluate.labels": "hard"}, seed=8)
    assert by_hard.protocol == "quick@epochs=2"
    assert [s.confusion for s in taught.students] != [s.confusion for s in by_hard.students]


def test_students_of_another_teacher_are_not_mistaken_for_these(digits):
    train = digits.train.labelled()
    train = LabelledImages(train.images[::20], train.labels[::20])
    first, again, other = (
        ncfm.evaluate(train, digits, settings=TAUGHT | {"teachers.epochs": epochs}).students for epochs in (1, 1, 0)
    )
    assert first == again  # cached, including the seconds
    assert [s.confusion for s in first] != [s.confusion for s in other]


def test_teachers_are_asked_of_bare_tensors_and_external_sets_too(digits, tmp_path):
    x, y = digits.train.labelled()
    torch.save({"images": x[::40], "labels": y[::40]}, tmp_path / "theirs.pt")
    of_tensors = ncfm.evaluate(LabelledImages(x[::40], y[::40]), digits, settings=TAUGHT)
    of_file = ncfm.evaluate(tmp_path / "theirs.pt", digits, settings=TAUGHT)
    assert of_tensors.protocol == of_file.protocol == "quick@epochs=2,labels=teacher(T=2 weight=0.5)"
    assert of_tensors.accuracies == of_file.accuracies


def test_the_documented_formulas_are_exported():
    x = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    t = torch.randn(16, 3, generator=torch.Generator().manual_seed(1))
    assert float(ncfm.ncfd(x, x, t)) == pytest.approx(0, abs=1e-9)
    assert float(ncfm.gaussian_mmd(x, x, bandwidth=1.0)) == pytest.approx(0, abs=1e-6)
    assert ncfm.characteristic_function(x, t).real.shape == (16,)


def test_equal_samples_are_exactly_0_apart():
    x = torch.ones(8, 3)
    assert float(ncfm.ncfd(x, x, torch.ones(16, 3))) == 0  # as in the example of its docstring


# --- mistakes -----------------------------------------------------------------------------------------------


def test_a_set_of_other_classes_is_refused(digits):
    other = ncfm.ImageSet("letters", digits.train, digits.test, tuple("abcdefghij"))
    result = ncfm.distill(digits, ipc=1, recipe="none", settings=SETTINGS)
    with pytest.raises(ncfm.NcfmError, match=r"The set has classes 0, 1, .* the data a, b, "):
        ncfm.evaluate(result.synthetic, other)


def test_bare_tensors_need_data_to_evaluate_on(digits):
    with pytest.raises(ncfm.NcfmError, match="what data it was made from"):
        ncfm.evaluate(digits.train.labelled())


def test_resume_needs_a_folder():
    with pytest.raises(ncfm.NcfmError, match="resume needs the folder"):
        ncfm.distill("digits", ipc=1, recipe="none", settings=SETTINGS, resume=True)


def test_data_without_a_test_split_are_evaluated_on_a_part_set_aside(digits):
    alone = ncfm.ImageSet("alone", digits.train, None, digits.class_names)
    with pytest.warns(UserWarning, match="alone: no test split: .* were set aside"):
        result = ncfm.distill(alone, ipc=1, recipe="none", settings=SETTINGS)
    assert "no test split" in result.synthetic.facts["data_problems"][0]
    with pytest.warns(UserWarning, match="alone: no test split"):
        judged = ncfm.evaluate(result.synthetic, alone)
    assert len(judged.accuracies) == 2
    # The test images were not distilled from: the fingerprint is that of the rest.
    rest = with_test_split(alone, 0.2)
    assert result.synthetic.facts["data_fingerprint"] == rest.fingerprint != alone.fingerprint
