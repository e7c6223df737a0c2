"""Settings as text: in the syntax of --set, with those marked that are not the default."""

from pathlib import Path

import pytest

from ncfm.config.keys import nest, parse_setting
from ncfm.config.layers import make_config
from ncfm.report.run_folder import RunFolder
from ncfm.report.settings import setting_text, settings_table


@pytest.mark.parametrize("value", [3, 0.5, True, "convnet", "3", "true", ["a", "b"]])
def test_a_setting_is_read_as_it_was(value):
    assert parse_setting(f"key={setting_text(value)}") == ("key", value)


def test_changes_from_the_defaults_are_marked():
    run = RunFolder(Path("mine"), config=make_config(nest({"distill.iterations": 7})))
    table = {key: (value, changed) for key, value, changed in settings_table(run)}
    assert table["distill.iterations"] == ("7", True)
    assert [key for key, (_, changed) in table.items() if changed] == ["distill.iterations"]


def test_settings_of_another_version_are_listed_as_they_are():
    run = RunFolder(Path("mine"), stored={"distill": {"iterations": 7, "gone": None}, "seed": 1})
    assert settings_table(run) == [
        ("distill.iterations", "7", False),
        ("distill.gone", "None", False),
        ("seed", "1", False),
    ]
