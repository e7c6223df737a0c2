"""The content cache: entries are found or count as missing, and those of the version before are still found."""

from __future__ import annotations

import json

import numpy as np
import PIL
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from ncfm._utils.cache import CacheEntry
from ncfm._utils.checks import NcfmError
from ncfm._utils.files import content_hash
from ncfm._utils.types import LabelledImages, Statistics
from ncfm.baselines import rded, selection
from ncfm.data import load_images
from ncfm.data.cache import source_key
from ncfm.evaluation import Student, StudentCache, students_key
from ncfm.evaluation.protocols import Protocol
from ncfm.networks import create_network
from ncfm.training import experts, pretraining
from ncfm.training.checkpoint import TrainingCheckpoint
from ncfm.training.recipe import TrainingRecipe, make_optimizer
from strategies import rng
from tiny import NETWORK, random_pool

FACTS = {"seconds": 1.5, "name": "é"}
TENSORS = {"a": torch.arange(6.0).view(2, 3), "b": torch.tensor(3)}


@pytest.fixture
def entry(tmp_path):
    return CacheEntry("things", "key", tmp_path / "things")


def parse(entry):
    return entry.facts(), entry.tensors()


def test_an_entry_is_read_as_it_was_written(entry):
    assert entry.read(parse) is None
    entry.write(TENSORS, FACTS, {"data": "digits"})
    facts, tensors = entry.read(parse)
    assert facts == FACTS
    assert tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)
    assert sorted(path.name for path in entry.folder.iterdir()) == ["key.json", "key.safetensors"]
    assert CacheEntry("things", "other", entry.place).read(parse) is None


def test_entries_are_below_the_cache_folder(own_cache):
    CacheEntry("things", "key").write(facts=FACTS)
    assert json.loads((own_cache / "things" / "key.json").read_text()) == FACTS
    assert CacheEntry("things", "key").path == own_cache / "things" / "key"
    assert CacheEntry("things", "key").checkpoint_path == own_cache / "things" / "unfinished-key.safetensors"


@pytest.mark.parametrize(
    "read",
    [
        lambda facts: facts["gone"],
        lambda facts: facts[0],
        lambda facts: facts.gone,
        lambda facts: float(facts["name"]),
        lambda facts: int(float("inf")),
        lambda facts: [][0],
        lambda facts: torch.zeros(2).view(3),
        lambda facts: None,
    ],
)
def test_an_entry_of_another_form_counts_as_missing(entry, read):
    entry.write(facts=FACTS)
    assert entry.read(lambda entry: read(entry.facts())) is None


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000])
@pytest.mark.parametrize("name", ["key.json", "key.safetensors"])
def test_a_damaged_file_counts_as_missing_and_is_replaced(entry, name, content):
    entry.write(TENSORS, FACTS)
    (entry.folder / name).write_bytes(content)
    assert entry.read(parse) is None
    entry.write(TENSORS, FACTS)
    assert entry.read(parse) is not None


def test_an_error_that_is_no_matter_of_the_file_is_raised(entry):
    def stopped(entry):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        entry.read(stopped)


def test_a_disk_that_cannot_be_written_is_no_failure(entry):
    entry.folder.write_text("a file in the place of the folder")
    entry.write(TENSORS, FACTS)
    assert entry.read(parse) is None


# --- entries of the version before --------------------------------------------------------------------------
# Written here by hand, file by file: paths, names, keys and layouts must not change.

RECIPE = TrainingRecipe(epochs=1, optimizer="sgd", lr=0.05, batch_size=32, schedule="constant")
TEACHER_KEY = "5c03c3386d0c06fa142523b91801398d"
EXPERT_KEY = "008fa4f10a082953de463e05f1a7144b"
STUDENTS_KEY = "064d81aa42d4a2be1ccaeaa4fed57e49"


def fail(*_, **__):
    raise AssertionError("computed again")


def weights(seed):
    return create_network(NETWORK, channels=1, num_classes=10, image_size=8, seed=seed).state_dict()


def write_pair(folder, key, facts, tensors):
    folder.mkdir()
    (folder / f"{key}.json").write_text(json.dumps(facts))
    save_file(tensors, folder / f"{key}.safetensors")


def test_a_teacher_is_found(images, own_cache, monkeypatch):
    initial, trained = weights(3), weights(4)
    tensors = {f"initial.{k}": v for k, v in initial.items()} | {f"trained.{k}": v for k, v in trained.items()}
    write_pair(own_cache / "teachers", TEACHER_KEY, {"epochs": 1, "seconds": 2.5}, tensors)
    monkeypatch.setattr(pretraining, "fit", fail)
    pool = pretraining.pretrain(images, network=NETWORK, num_teachers=1, recipe=RECIPE)
    assert pool.seconds == 2.5
    assert all(torch.equal(pool._initial[0][name], initial[name]) for name in initial)
    assert all(torch.equal(pool._trained[0][name], trained[name]) for name in trained)


def test_a_trajectory_is_found(images, own_cache, monkeypatch):
    states = torch.arange(2.0)[:, None].expand(2, sum(v.numel() for v in weights(0).values())).half().contiguous()
    write_pair(own_cache / "experts", EXPERT_KEY, {"seconds": 2.5}, {"states": states})
    monkeypatch.setattr(experts, "fit", fail)
    pool = experts.record_experts(images, network=NETWORK, num_experts=1, recipe=RECIPE)
    assert pool.seconds == 2.5
    assert torch.equal(pool.trajectories[0].states, states)


def test_a_selection_is_found(images, own_cache, monkeypatch):
    pool, none = random_pool(images), torch.zeros(10, dtype=torch.int64)
    key = content_hash("selection 1", "herding", images.fingerprint, "2", pool.fingerprint(0), none)
    at = images.train.offsets[:, None] + torch.tensor([5, 3])
    (own_cache / "selections").mkdir()
    save_file({"positions": at}, own_cache / "selections" / f"{key}.safetensors", {"data": "x", "method": "herding"})
    monkeypatch.setattr(selection, "choose_by_features", fail)
    assert torch.equal(selection.choose("herding", images, pool, ipc=2, factor=1, generator=rng(0)), at)


def test_realistic_crops_are_found(images, own_cache, monkeypatch):
    pool = random_pool(images)
    seeds = torch.randint(2**32, (10,), generator=rng(0))
    options = repr((4, 5, None, 0.08, 1.0))
    key = content_hash("crops 1", images.fingerprint, options, *pool.fingerprints, seeds)
    at = images.train.offsets[:, None] + torch.arange(4)
    boxes = torch.tensor([1, 2, 5]).expand(10, 4, 3).contiguous()
    (own_cache / "selections").mkdir()
    save_file({"positions": at, "boxes": boxes}, own_cache / "selections" / f"{key}.safetensors")
    monkeypatch.setattr(rded, "draw_crops", fail)
    found = rded.choose_crops(images, pool, ipc=1, factor=2, generator=rng(0))
    assert torch.equal(found.positions, at)
    assert torch.equal(found.boxes, boxes)


def test_a_student_is_found(images, own_cache):
    recipe = TrainingRecipe(3, "adamw", 0.01, 32, "cosine", "crop_scale")
    two = LabelledImages(torch.zeros(2, 1, 8, 8), torch.tensor([0, 1]))
    key = students_key(
        two,
        images.test,
        statistics=Statistics((0.5,), (0.25,)),
        protocol=Protocol("tiny", recipe, num_runs=2, looks=1),
        network=NETWORK,
        seed=3,
        numerics="x",
    )
    assert key == STUDENTS_KEY
    facts = {"accuracies": [0.5, 0.75], "confusion": [[1, 0], [2, 3]], "calibration_error": 0.125, "seconds": 2.5}
    facts["conditions"] = {"device": "a CPU", "versions": {"torch": "2.11"}}
    (own_cache / "students").mkdir()
    (own_cache / "students" / f"{key}-1.json").write_text(json.dumps(facts))
    cache = StudentCache(key)
    assert cache.get(0) is None
    assert cache.get(1) == Student((0.5, 0.75), ((1, 0), (2, 3)), 0.125, 2.5, facts["conditions"])


def test_decoded_images_are_found(tmp_path, own_cache, monkeypatch):
    for label in ("cat", "dog"):
        (tmp_path / "mine" / label).mkdir(parents=True)
        Image.fromarray(np.full((4, 4, 3), 7, dtype=np.uint8)).save(tmp_path / "mine" / label / "0.png")
    load_images(str(tmp_path / "mine"))
    (place,) = (own_cache / "images").iterdir()
    monkeypatch.setattr("ncfm.data.assembly.decode_all", fail)
    decoded = np.arange(2 * 3 * 4 * 4, dtype=np.uint8).reshape(2, 3, 4, 4)
    facts = {"class_names": ["cat", "dog"], "problems": ["one"], "counts": {"train": [1, 1]}, "fingerprint": "abc"}
    (place / "facts.json").write_text(json.dumps(facts | {"statistics": [[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]]}))
    np.save(place / "train.npy", decoded)
    found = load_images(str(tmp_path / "mine"))
    assert torch.equal(found.train.images, torch.from_numpy(decoded))
    assert found.train.labels.tolist() == [0, 1]
    assert (found.class_names, found.problems, found.fingerprint) == (("cat", "dog"), ("one",), "abc")
    assert found.statistics[:2] == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


def test_the_key_of_decoded_images(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    of_content = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # SHA-256 of b"abc"
    parts = ("decoder 4", f"pillow {PIL.__version__}", "('x', 8)", "/".join((tmp_path / "a").parts[-3:]), of_content)
    assert source_key([tmp_path / "a"], "x", 8) == content_hash(*parts)


# --- checkpoints of the version before ----------------------------------------------------------------------


def write_checkpoint(path, module):
    """A training of which 2 epochs of 7 steps are done, by plain SGD with momentum."""
    network = {f"network.{name}": value + 1 for name, value in module.state_dict().items()}
    momentum = {
        f"optimizer.{i}.momentum_buffer": torch.full_like(p, 2.0).detach() for i, p in enumerate(module.parameters())
    }
    tensors = network | momentum | {"generator": rng(5).get_state()}
    told = json.dumps({"epoch": 2, "steps": 14, "seconds": 3.5, "notes": [0.25]})
    checksum = content_hash(told, *(part for name in sorted(tensors) for part in (name, tensors[name][None])))
    path.parent.mkdir()
    save_file(tensors, path, {"told": told, "checksum": checksum})


def test_a_checkpoint_is_resumed(own_cache):
    module = create_network(NETWORK, channels=1, num_classes=10, image_size=8, seed=0)
    expected = {name: value + 1 for name, value in module.state_dict().items()}
    checkpoint = StudentCache("key").checkpoint([1])
    assert checkpoint.path == own_cache / "students" / "unfinished-key-1.safetensors"
    write_checkpoint(checkpoint.path, module)
    optimizer, schedule = make_optimizer(RECIPE, module, 28)
    generator = rng(0)
    assert checkpoint.resume(module, optimizer, schedule, generator) == 2
    assert all(torch.equal(value, expected[name]) for name, value in module.state_dict().items())
    assert all(bool((state["momentum_buffer"] == 2).all()) for state in optimizer.state.values())
    assert len(optimizer.state) == len(list(module.parameters()))
    assert schedule.last_epoch == 14
    assert torch.equal(generator.get_state(), rng(5).get_state())
    assert (checkpoint.notes, checkpoint.earlier) == ([0.25], 3.5)


def test_the_checkpoint_of_a_teacher_stands_beside_the_teachers(images, own_cache):
    def stop(*_):
        raise NcfmError("enough")

    options = {"network": NETWORK, "num_teachers": 1, "recipe": RECIPE}
    with pytest.raises(NcfmError, match="enough"):
        pretraining.pretrain(images, on_epoch=stop, **options)
    path = own_cache / "teachers" / f"unfinished-{TEACHER_KEY}.safetensors"
    assert path.is_file()
    module = create_network(NETWORK, channels=1, num_classes=10, image_size=8, seed=0)
    assert TrainingCheckpoint(path).resume(module, *make_optimizer(RECIPE, module, 2), rng(0)) == 1
