"""``ncfm pretrain --out`` and ``teachers.pool``: the folder stands for the training, and says so."""

from __future__ import annotations

import pytest
import torch

import ncfm
from ncfm._utils.checks import InputError
from ncfm.config.resolve import config_of_set, resolve_config
from ncfm.training.fit import accuracy
from ncfm.training.pool_files import FACTS_FILE, read_facts
from tiny import NETWORK, SETTINGS

TEACHERS = {key: value for key, value in SETTINGS.items() if key.startswith("teachers.")}
RUN = {key: value for key, value in SETTINGS.items() if not key.startswith("teachers.")}


@pytest.fixture
def folder(images, tmp_path):
    out = tmp_path / "pool"
    ncfm.pretrain(images, settings=TEACHERS | {"teachers.number": 2, "teachers.seed": 7}, out=out)
    return out


def test_the_pool_that_is_returned_is_the_one_in_the_folder(images, tmp_path):
    pool = ncfm.pretrain(images, settings=TEACHERS, out=tmp_path / "pool")
    again = ncfm.pretrain(images, settings={"teachers.pool": str(tmp_path / "pool")})
    assert pool.fingerprints == again.fingerprints


def test_facts_have_the_accuracy_of_the_stored_weights(folder, images):
    pool, facts = ncfm.pretrain(images, settings={"teachers.pool": str(folder)}), read_facts(folder)
    for index, stored in enumerate(facts.accuracies):
        assert stored == accuracy(
            pool.trained(index), images.test.images, images.test.labels, statistics=pool.statistics
        )
    assert pool.accuracies == facts.accuracies
    assert facts.seconds == pytest.approx(pool.seconds, abs=2e-3)


def test_a_run_takes_the_settings_of_its_teachers_from_the_folder(folder, images):
    config = resolve_config(images, 1, None, {"teachers.pool": str(folder)}, 3)
    teachers = config.teachers
    assert (teachers.network, teachers.number, teachers.epochs, teachers.seed) == (NETWORK, 2, 1, 7)
    assert config.seed == 3


def test_a_run_with_the_folder_trains_nothing_and_is_the_run_of_its_weights(folder, images, tmp_path, monkeypatch):
    from ncfm.training import pretraining

    monkeypatch.setattr(pretraining, "fit", None)  # a training would fail
    with_pool = RUN | {"teachers.pool": str(folder)}
    one = ncfm.distill(images, ipc=1, settings=with_pool, out=tmp_path / "one").synthetic
    two = ncfm.distill(images, ipc=1, settings=with_pool, out=tmp_path / "two").synthetic
    assert torch.equal(one.images, two.images)
    assert one.facts["config"]["teachers"]["number"] == 2
    assert one.facts["variant"].startswith("teachers.pool=pool,teachers.network=convnet1w8")


def test_a_plan_counts_no_training_of_teachers(folder, images):
    from ncfm.config.build import build_machine
    from ncfm.config.pools import TEACHERS as SOURCE

    config = resolve_config(images, 1, None, {"teachers.pool": str(folder)}, None)
    assert SOURCE.num_missing(images, config, build_machine(config.machine, 8)) == 0


def test_a_set_evaluates_without_the_folder_if_told_to(folder, images):
    config = resolve_config(images, 1, None, {"teachers.pool": str(folder)}, None)
    recorded = config.model_dump(mode="json")
    for file in folder.iterdir():
        file.unlink()
    found = config_of_set(recorded, {"teachers.pool": None}, None)
    assert (found.teachers.pool, found.teachers.epochs, found.teachers.seed) == (None, 1, 7)


# --- refused ------------------------------------------------------------------------------------------------


def test_settings_that_contradict_the_folder_are_refused(folder, images):
    with pytest.raises(InputError, match=r"teachers.epochs=5 contradicts the pool .* whose teachers have 1"):
        resolve_config(images, 1, None, {"teachers.pool": str(folder), "teachers.epochs": 5}, None)
    same = {"teachers.pool": str(folder), "teachers.epochs": 1}
    assert resolve_config(images, 1, None, same, None).teachers.epochs == 1


def test_an_existing_folder_is_never_replaced(folder, images):
    before = (folder / FACTS_FILE).read_bytes()
    with pytest.raises(InputError, match="exists already; choose a new folder"):
        ncfm.pretrain(images, settings=TEACHERS, out=folder)
    assert (folder / FACTS_FILE).read_bytes() == before


def test_a_written_pool_is_not_written_again(folder, images, tmp_path):
    with pytest.raises(InputError, match="is a written pool already"):
        ncfm.pretrain(images, settings={"teachers.pool": str(folder)}, out=tmp_path / "copy")


def test_code_that_only_the_folder_names_is_not_imported(folder, images):
    facts = (folder / FACTS_FILE).read_text()
    (folder / FACTS_FILE).write_text(facts.replace(f'"network": "{NETWORK}"', '"network": "evil_module:make"'))
    with pytest.raises(InputError, match=r"imported only if you name it yourself: teachers.network=evil_module:make"):
        resolve_config(images, 1, None, {"teachers.pool": str(folder)}, None)


@pytest.mark.parametrize("value", ['"many"', "0", "null", "-2"])
def test_hostile_settings_in_the_folder_are_refused(folder, images, value):
    facts = (folder / FACTS_FILE).read_text()
    (folder / FACTS_FILE).write_text(facts.replace('"number": 2', f'"number": {value}'))
    with pytest.raises(ncfm.NcfmError):
        resolve_config(images, 1, None, {"teachers.pool": str(folder)}, None)


def test_trajectories_need_more_than_a_pool(folder, images, tmp_path):
    settings = RUN | {"teachers.pool": str(folder), "objective.name": "mtt"}
    with pytest.raises(InputError, match="mtt matches whole trajectories"):
        ncfm.distill(images, ipc=1, settings=settings, out=tmp_path / "run")


# --- the card and the command -------------------------------------------------------------------------------


def test_the_card_says_what_the_teachers_are(folder, images):
    card, facts = (folder / "README.md").read_text(), read_facts(folder)
    assert card.startswith("# Teachers of few digits\n")
    assert "2 networks trained on few digits" in card
    assert f"| fingerprint of the training split | {images.fingerprint} |" in card
    assert "number=2, epochs=1" in card
    mean = 100 * sum(facts.accuracies) / 2
    assert f"| accuracy on the test split, % | {mean:.1f} ± " in card


def test_the_command_writes_a_pool_and_says_how_to_use_it(ncfm_, tmp_path):
    out = tmp_path / "pool"
    settings = [f"--set={key}={value}" for key, value in TEACHERS.items()]
    done = ncfm_("pretrain", "digits", "--out", str(out), *settings)
    assert done.code == 0, done.err
    assert f"Distil with them: --set teachers.pool={out}" in done.out
    assert "1 teacher, " in done.out
    assert " % on the test split" in done.out
    assert len(read_facts(out).accuracies) == 1
