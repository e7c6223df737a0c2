"""Sets by address: the gallery that comes with the package, another one, and the hub."""

import pytest
import torch

import ncfm
from ncfm._utils.checks import InputError
from ncfm.formats import export
from ncfm.formats.reading import is_set
from ncfm.synthetic.addresses import gallery_names, is_address, local_folder
from sets import synthetic


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """Repositories as folders: what is asked of the library, and a function that fills one."""
    asked = []

    def download(repository, *, repo_type, revision, allow_patterns):
        asked.append((repository, repo_type, revision, tuple(allow_patterns)))
        place = tmp_path / "hub" / repository
        if not place.is_dir():
            raise ConnectionError("Name or service not known.\nmore")
        return str(place)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    return asked, tmp_path / "hub"


def test_a_set_of_the_gallery_loads_by_its_name():
    found = ncfm.load("gallery:cifar10-ipc10")
    assert (found.facts["data"], found.ipc, found.decoded_ipc) == ("cifar10", 10, 40)
    assert {"cifar10-ipc10", "digits-ipc1"} <= set(gallery_names())


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(InputError, match=r"Unknown set gallery:cifar10-ipc11\. Did you mean 'cifar10-ipc1\d?'\? Known"):
        ncfm.load("gallery:cifar10-ipc11")


def test_another_gallery_is_a_folder(monkeypatch, tmp_path):
    ncfm.save(synthetic(), tmp_path / "mine")
    monkeypatch.setenv("NCFM_GALLERY", str(tmp_path))
    assert gallery_names() == ["mine"]
    assert torch.equal(ncfm.load("gallery:mine").images, synthetic().images)


def test_a_gallery_that_is_not_there_is_refused_with_the_remedy(monkeypatch, tmp_path):
    monkeypatch.setenv("NCFM_GALLERY", str(tmp_path / "none"))
    with pytest.raises(InputError, match=r"found none in .*none\. Set NCFM_GALLERY to its folder in a clone"):
        ncfm.load("gallery:digits-ipc1")


def test_another_gallery_is_a_repository(monkeypatch, hub):
    asked, place = hub
    ncfm.save(synthetic(), place / "me" / "sets" / "mine")
    monkeypatch.setenv("NCFM_GALLERY", "hf:me/sets@main")
    assert torch.equal(ncfm.load("gallery:mine").images, synthetic().images)
    ((repository, kind, revision, patterns),) = asked
    assert (repository, kind, revision) == ("me/sets", "dataset", "main")
    assert patterns[:2] == ("mine/set.json", "mine/*.safetensors")


@pytest.mark.parametrize("to", ["hf", "ncfm"])
@pytest.mark.parametrize("stored", [False, True])
def test_what_was_uploaded_comes_back_exactly(hub, to, stored):
    asked, place = hub
    made = synthetic(factor=2, facts={"data": "digits", "method": "ncfm"}, scores=({"accuracy_mean": 0.5},))
    made = made if to == "ncfm" else ncfm.SyntheticSet(**{**vars(made), "scores": ()})
    export(made, place / "me" / "set", to=to, stored=stored) if to == "hf" else ncfm.save(made, place / "me" / "set")
    found = ncfm.load("hf:me/set")
    assert torch.equal(found.images, made.images)
    assert (found.factor, found.facts, found.scores) == (2, made.facts, made.scores)
    assert asked[0][:3] == ("me/set", "dataset", None)


def test_a_repository_without_a_set_is_refused(hub):
    _, place = hub
    (place / "me" / "data").mkdir(parents=True)
    with pytest.raises(InputError, match=r"hf:me/data holds no set of ncfm \(set.json\).*ncfm evaluate FILES --on"):
        ncfm.load("hf:me/data")


def test_a_hub_out_of_reach_is_refused_with_the_remedy(hub):
    with pytest.raises(InputError, match=r"hf:me/none .*ConnectionError: Name or service not known\)\. Check the name"):
        ncfm.load("hf:me/none")


@pytest.mark.parametrize("place", ["hf:", "hf:name", "hf:a/b/c", "hf:a b/c", "hf:../x", "hf:a/b@"])
def test_other_forms_of_an_address_are_refused(place):
    with pytest.raises(InputError, match=r"Expected hf:owner/name or hf:owner/name@revision"):
        local_folder(place)


def test_a_path_stays_a_path(tmp_path):
    assert local_folder(tmp_path) == tmp_path
    assert not is_address(tmp_path)
    assert is_set("gallery:none")  # `ncfm.load` says what is wrong with it


def test_nothing_is_written_to_an_address():
    for place in ("gallery:new", "hf:me/new"):
        with pytest.raises(InputError, match=r"is not a folder of yours to write to; upload with ncfm.push_to_hub"):
            ncfm.save(synthetic(), place)
    with pytest.raises(InputError, match=r"gallery:digits-ipc1 is not a folder .*--out report.html"):
        ncfm.write_report("gallery:digits-ipc1", with_data=False)
