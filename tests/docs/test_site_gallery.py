"""The gallery page: every set with its picture and a download that loads."""

import io
import zipfile

import pytest
from tools.site_gallery import gallery_files, gallery_page, sets

import ncfm


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
