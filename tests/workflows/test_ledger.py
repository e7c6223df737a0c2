"""Published sets re-evaluated."""

import numpy as np
import pytest

import ncfm
from ncfm._utils.seeding import generator
from ncfm._utils.types import LabelledImages
from ncfm.baselines import select
from ncfm.config.keys import nest
from ncfm.config.layers import make_config
from ncfm.results.files import read_rows
from ncfm.workflows import ledger as workflow
from ncfm.workflows.ledger import _protocol_names, _same_for_all, content_of
from tiny import NETWORK, SETTINGS, few

EVALUATED = {"evaluate.network": NETWORK, "evaluate.runs": 2, "evaluate.epochs": 3, "teachers.network": NETWORK}


@pytest.fixture(scope="module")
def folder(digits, tmp_path_factory):
    """A set of another program, a distilled one with a recipe of its own, and a file without an entry."""
    folder = tmp_path_factory.mktemp("sets")
    picked = few(digits, 2).train
    np.savez(folder / "theirs.npz", images=picked.images.numpy(), labels=picked.labels.numpy())
    own = ncfm.distill("digits", ipc=1, settings=SETTINGS | {"evaluate.augment": "crop", "evaluate.looks": 2})
    ncfm.save(own.synthetic, folder / "ours")
    (folder / "README").touch()
    (folder / "ledger.toml").write_text(
        '["theirs.npz"]\non = "digits"\nmethod = "picks"\npublished = 81.5\nsource = "here"\nnote = "a note"\n'
    )
    return folder


@pytest.fixture(scope="module")
def rows(folder, tmp_path_factory):
    results = tmp_path_factory.mktemp("results") / "ledger.csv"
    with pytest.warns(UserWarning, match="left out, since they have no entry: README"):
        found = ncfm.ledger(folder, settings=EVALUATED, results=results)
    return found, results


def test_every_set_is_evaluated_by_one_protocol(rows, folder, digits):
    found, results = rows
    ours, theirs = found
    assert [row["name"] for row in read_rows(results)] == [ours.name, theirs.name] == ["ours", "theirs.npz"]
    for row in found:  # whatever the recipe of a set says
        assert (row.protocol, row.network, row.num_runs) == ("dsa-2021@epochs=3", NETWORK, 2)
        assert row.content == content_of(folder / row.name)
    assert (theirs.dataset, theirs.ipc, theirs.method, theirs.num_images) == ("digits", 2, "picks", 20)
    assert (theirs.published, theirs.source, theirs.note) == (81.5, "here", "a note")
    assert (ours.dataset, ours.ipc, ours.method, ours.published) == ("digits", 1, "ncfm", None)
    images = few(digits, 2).train
    same = ncfm.evaluate(images.labelled(), "digits", settings=EVALUATED | {"evaluate.protocol": "dsa-2021"}, seed=0)
    assert theirs.accuracy_mean == same.accuracy_mean
    assert (theirs.accuracy_low, theirs.accuracy_high) == (same.interval.low, same.interval.high)


def test_the_random_images_are_as_many_as_the_set_stores(rows, digits):
    theirs = rows[0][1]
    picked = select("random", digits, None, ipc=2, factor=1, generator=generator(0, "random")).decoded()
    assert len(picked.images) == 20
    same = ncfm.evaluate(
        LabelledImages(*picked), "digits", settings=EVALUATED | {"evaluate.protocol": "dsa-2021"}, seed=0
    )
    assert theirs.random_mean == same.accuracy_mean
    assert theirs.herding_mean != theirs.random_mean


@pytest.mark.filterwarnings("ignore:.*left out, since they have no entry")
def test_what_has_been_evaluated_is_not_evaluated_again(rows, folder, tmp_path):
    _, results = rows
    before = results.read_text()
    assert ncfm.ledger(folder, settings=EVALUATED, results=results) == []
    assert results.read_text() == before
    again = ncfm.ledger(folder, settings=EVALUATED, only=["theirs.npz"], results=tmp_path / "other.csv")
    assert [row.name for row in again] == ["theirs.npz"]
    assert again[0].accuracy_mean == rows[0][1].accuracy_mean
    longer = ncfm.ledger(folder, settings=EVALUATED | {"evaluate.epochs": 4}, only=["theirs.npz"], results=results)
    assert [row.protocol for row in longer] == ["dsa-2021@epochs=4"]


def test_rows_of_a_protocol_whose_name_begins_alike_are_other_rows():
    names = {
        (epochs, labels): _protocol_names(make_config(nest(_same_for_all({"evaluate.epochs": epochs}))), labels)
        for epochs in (30, 300, 1000)
        for labels in ("hard", "soft", "auto", "teacher")
    }
    assert names[30, "hard"] == ["dsa-2021@epochs=30"]
    assert names[300, "auto"] == ["dsa-2021@epochs=300", "dsa-2021@epochs=300,labels=soft(T=1 weight=1)"]
    assert names[1000, "auto"] == ["dsa-2021", "dsa-2021@labels=soft(T=1 weight=1)"]
    assert names[1000, "teacher"] == ["dsa-2021@labels=teacher(T=1 weight=1)"]
    assert names[300, "soft"] == names[300, "auto"][1:]


def test_labels_of_an_entry_that_are_not_known_are_refused_before_the_first_set(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(workflow, "evaluate", lambda *a, **k: pytest.fail("a set was evaluated"))
    entries = tmp_path / "entries.toml"
    entries.write_text('["theirs.npz"]\non = "digits"\nlabels = "sofd"\n')
    with (
        pytest.warns(UserWarning, match="left out"),
        pytest.raises(ncfm.InputError, match=r"labels of theirs\.npz 'sofd'.*Did you mean 'soft'"),
    ):
        ncfm.ledger(folder, entries=entries, settings=EVALUATED)


@pytest.mark.filterwarnings("ignore:.*left out, since they have no entry")
def test_a_row_of_more_epochs_is_not_taken_for_one_of_fewer(rows, folder, tmp_path):
    known = tmp_path / "known.csv"
    known.write_text(rows[1].read_text().replace("dsa-2021@epochs=3,", "dsa-2021@epochs=30,"))
    assert "dsa-2021@epochs=30," in known.read_text()
    (again,) = ncfm.ledger(folder, settings=EVALUATED, only=["theirs.npz"], results=known)
    assert again.protocol == "dsa-2021@epochs=3"
    assert again.accuracy_mean == rows[0][1].accuracy_mean


@pytest.mark.filterwarnings("ignore:.*left out, since they have no entry")
def test_unknown_names_are_refused(folder):
    with pytest.raises(ncfm.InputError, match=r"no set 'their'; its sets are ours, theirs.npz"):
        ncfm.ledger(folder, only=["their"], settings=EVALUATED)


@pytest.mark.filterwarnings("ignore:.*left out, since they have no entry")
def test_a_set_that_cannot_be_evaluated_says_why(folder, tmp_path):
    entries = tmp_path / "entries.toml"
    entries.write_text('["theirs.npz"]\non = "digits"\nleft_out = "It has no pixels."\n')
    with pytest.warns(UserWarning, match=r"theirs\.npz: left out\. It has no pixels\."):
        assert ncfm.ledger(folder, entries=entries, only=["theirs.npz"], settings=EVALUATED) == []


@pytest.mark.filterwarnings("ignore:.*left out", "ignore:.*its labels", "ignore:.*labels are")
def test_mosaics_and_soft_labels_are_read_as_the_entry_says(digits, tmp_path):
    mosaics = select("mosaic", digits, None, ipc=1, factor=2, generator=generator(0, "mosaic"))
    images, labels = mosaics.images.flatten(0, 1), np.eye(10)[mosaics.stored_labels.numpy()] * 4.0 - 0.4
    np.savez(tmp_path / "theirs.npz", images=images.numpy(), labels=labels)
    entry = '["theirs.npz"]\non = "digits"\nfactor = 2\nlabels = "hard"\n'
    (tmp_path / "ledger.toml").write_text(entry)
    (row,) = ncfm.ledger(tmp_path, settings=EVALUATED)
    assert (row.ipc, row.num_images) == (1, 40)
    same = ncfm.evaluate(mosaics.decoded(), "digits", settings=EVALUATED | {"evaluate.protocol": "dsa-2021"}, seed=0)
    assert row.accuracy_mean == same.accuracy_mean
