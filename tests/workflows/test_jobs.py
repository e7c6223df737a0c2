"""The jobs of a comparison: which have the same result, and networks that they share."""

from types import SimpleNamespace

from ncfm._utils.compute import Compute
from ncfm._utils.progress import Silent
from ncfm.config.layers import make_config
from ncfm.config.methods import METHODS
from ncfm.config.schema import RunConfig
from ncfm.workflows import jobs
from ncfm.workflows.jobs import Job, Pools


def test_jobs_of_one_method_and_configuration_have_the_same_result(tmp_path):
    ncfm, mean = METHODS["ncfm"], METHODS["mean"]
    job = Job("ncfm", ncfm, RunConfig(), None, {})
    assert job.same == Job("objective: default", ncfm, RunConfig(), tmp_path, {}).same
    assert job.same != Job("ncfm", mean, RunConfig(), None, {}).same
    assert job.same != Job("ncfm", ncfm, make_config({"seed": 1}), None, {}).same


def test_networks_of_one_key_are_obtained_once(monkeypatch):
    obtained = []
    monkeypatch.setattr(jobs, "obtain", lambda source, *_: obtained.append(source.name) or object())
    pools = Pools(None, Compute(), Silent())
    teachers, experts = (
        SimpleNamespace(name=name, key=lambda config: repr(config.teachers)) for name in ("teachers", "experts")
    )
    first = pools.get(teachers, RunConfig())
    assert pools.get(teachers, make_config({"seed": 1})) is first
    assert pools.get(teachers, make_config({"teachers": {"epochs": 1}})) is not first
    assert pools.get(experts, RunConfig()) is not first
    assert obtained == ["teachers", "teachers", "experts"]
