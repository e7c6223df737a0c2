"""The first tables of the site: grouped, sorted, and without numbers that compare unlike things."""

import io
import zipfile

import pytest
from tools.site_gallery import gallery_files, gallery_page, sets
from tools.site_tables import glance_table, grouped, grouped_tables, home_table

import ncfm


def row(dataset, ipc, method, accuracy, variant="", training_images="", network="convnet"):
    return {
        "dataset": dataset,
        "ipc": ipc,
        "method": method,
        "variant": variant,
        "network": network,
        "accuracy_mean": str(accuracy),
        "accuracy_std": "0.01",
        "accuracy_low": "0.1",
        "accuracy_high": "0.9",
        "num_runs": "3",
        "protocol": "quick",
        "training_images": training_images,
    }


ROWS = [
    row("digits", "1", "ncfm", 0.9),
    row("cifar10", "10", "random", 0.35, training_images="50000"),
    row("cifar10", "10", "ncfm", 0.66, training_images="50000"),
    row("cifar10", "10", "ncfm", 0.67, "gaussian", training_images="50000"),
    row("cifar10", "10", "herding", 0.38, training_images="50000"),
    row("cifar10", "2", "ncfm", 0.5),
    row("imagenette", "1", "ncfm", 0.4, training_images="1400"),
]


def test_groups_are_sorted_and_the_best_is_first():
    groups = grouped(ROWS)
    assert list(groups) == [("cifar10", "2"), ("cifar10", "10"), ("digits", "1"), ("imagenette", "1")]
    assert [r["accuracy_mean"] for r in groups["cifar10", "10"]] == ["0.67", "0.66", "0.38", "0.35"]


def test_a_line_for_each_group():
    lines = glance_table(ROWS).splitlines()[2:]
    assert lines == [
        "| CIFAR-10 | 2 | **50.0** | - | - |",
        "| CIFAR-10 | 10 | **66.0** | 38.0 (herding) | 71.8 |",
        "| Digits | 1 | **90.0** | - | - |",
        "| Imagenette (part) | 1 | **40.0** | - | - |",  # the paper used all of it
    ]


def test_a_heading_for_each_group():
    text = grouped_tables(ROWS)
    assert text.count("### ") == 4
    assert "### CIFAR-10, 10 images per class" in text
    assert "| **ncfm (gaussian)** | 67.0 ± 1.0 | 10.0 to 90.0 |" in text
    assert "*Trained and tested: 3 x convnet, quick.*" in text


def test_the_home_page_has_few_numbers():
    text = home_table([("cifar10-ipc10", ROWS[2], ROWS[1]), ("digits-ipc1", ROWS[0], None)])
    assert text.splitlines()[2:] == ["| CIFAR-10 | 10 | **66.0 %** | 35.0 % |", "| Digits | 1 | **90.0 %** | - |"]


def test_every_set_of_the_gallery_is_on_its_page():
    page, files = gallery_page(), dict(gallery_files())
    for folder, facts in sets():
        name = folder.name
        assert f"### {name}\n" in page
        assert f"(gallery/{name}.png)" in page
        assert f'ncfm.load("gallery:{name}")' in page
        assert f"{100 * facts['scores'][0]['accuracy_mean']:.1f} ± " in page
        assert files[f"gallery/{name}.png"].startswith(b"\x89PNG")
    assert len(files) == 2 * page.count("### ")


@pytest.mark.parametrize("name", ["digits-ipc1", "cifar10-ipc1"])
def test_a_download_loads(name, tmp_path):
    packed = dict(gallery_files())[f"gallery/{name}.zip"]
    zipfile.ZipFile(io.BytesIO(packed)).extractall(tmp_path)
    assert (ncfm.load(tmp_path / name).images == ncfm.load(f"gallery:{name}").images).all()
    assert (tmp_path / name / "README.md").is_file()
