"""The table of the gallery, by hand."""

from __future__ import annotations

from tools.pages.gallery import gallery_table


def test_the_table_of_sets_has_a_line_for_each_score():
    score = {"accuracy_mean": 0.5, "accuracy_std": 0.01, "accuracy_low": 0.475, "accuracy_high": 0.525}
    score |= {"accuracies": [0.49, 0.51], "protocol": "quick"}
    told = {"class_names": ["a", "b"], "ipc": 3, "bits": 8, "images_hash": "0123456789abcdef"}
    told["scores"] = [score, score | {"protocol": "brief"}]
    plain = {**told, "facts": {"method": "ncfm", "variant": ""}}
    other = {**told, "facts": {"method": "mmd", "variant": "distill.factor=1"}, "scores": [score]}
    lines = gallery_table([("x", plain, 12_345), ("y", other, 1_234_567)]).splitlines()
    assert lines[2] == "| x | 2 x 3 | ncfm | 12 kB, 8 bits | 50.0 ± 1.0 | 47.5 to 52.5 | 2 x quick | `01234567` |"
    assert "2 x brief" in lines[3]
    assert lines[4].startswith("| y | 2 x 3 | mmd (distill.factor=1) | 1,235 kB, 8 bits |")
    assert len(lines) == 5
