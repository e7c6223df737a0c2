"""What is compared: methods by name, and the variants of ablations."""

from __future__ import annotations

import pytest

from ncfm._utils.checks import NcfmError
from ncfm.config.keys import nest
from ncfm.config.layers import make_config
from ncfm.config.methods import METHODS, ablation_names, read_ablation
from ncfm.workflows.compare import choose_methods


@pytest.mark.parametrize("name", ablation_names())
def test_every_ablation_of_the_package_is_valid_and_has_variants_that_differ(name):
    variants = read_ablation(name)
    assert len(variants) >= 2
    assert all(method.name in {m.name for m in METHODS.values()} for method in variants.values())
    made = [tuple(sorted(method.settings_over(make_config(), {}).items())) for method in variants.values()]
    assert len(set(made)) == len(variants)


def test_the_ablation_of_the_discrepancy_has_the_weights_of_the_methods():
    variants = read_ablation("discrepancy")
    assert {name: variant.name for name, variant in variants.items()} == {
        "ncfd": "ncfm",
        "mmd": "mmd",
        "mean": "mean",
        "dsdm": "dsdm",
        "mse": "mse",
    }
    assert variants.pop("ncfd").settings == {}
    assert {name: variant.settings for name, variant in variants.items()} == {
        name: METHODS[name].settings for name in ("mmd", "mean", "dsdm", "mse")
    }


def test_methods_come_before_variants_named_by_their_ablation():
    chosen = choose_methods(["random"], ["calibration"])
    assert list(chosen) == ["random", "calibration: on", "calibration: off"]
    assert chosen["calibration: off"].settings == {"distill.calibration_weight": 0.0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[variants.x]\n'distill.factr' = 1", "distill.factr.*Did you mean"),
        ("[variants.x]\n'distill.factor' = 'a'", "variant 'x'.*distill.factor"),
        ("variants = 3", "a table of variants"),
        ("method = 'nfcm'\n[variants.x]", "expected a method"),
        ("other = 1\n[variants.x]", "nothing else"),
        ("[variants.x]\n'distill.init' = { times = 2 }", "a number to multiply by 2.*distill.init is 'mosaic'"),
        ("[variants.x]\n'distill.iterations' = { times = inf }", "a finite number to multiply distill.iterations by"),
        ("[variants.x]\n'distill.iteration' = { times = 2 }", "distill.iteration is None"),
        ("[variants.x]\n'distill.iterations' = { twice = 2 }", "distill.iterations"),
        ("[variants]\nx = 1", "expected settings of variant 'x'"),
        ("[variants", "Could not read"),
        ("[variants.x]\n'data.deviation' = 'images'", "data.deviation cannot vary, since the variants"),
    ],
)
def test_wrong_ablations_are_told(tmp_path, text, message):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(NcfmError, match=f"(?s){message}"):
        read_ablation(str(path))


def test_a_multiple_is_of_what_recipe_and_user_say(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("""[variants.x]
'distill.iterations' = { times = 0.2 }
'distill.adversary_lr' = { times = 10 }
'distill.factor' = 1
""")
    method = read_ablation(str(path))["x"]
    user = {"distill.iterations": 57, "distill.factor": 3}
    made = method.settings_over(make_config(nest({"distill.adversary_lr": 0.002, **user})), user)
    assert made == {"distill.iterations": 11, "distill.adversary_lr": pytest.approx(0.02), "distill.factor": 3}
    assert method.settings_over(make_config(nest({"distill.iterations": 1})), {})["distill.iterations"] == 1


def test_nothing_to_compare_is_refused():
    with pytest.raises(NcfmError, match="number of methods"):
        choose_methods([], [])
