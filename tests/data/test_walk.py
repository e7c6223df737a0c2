"""Files below a folder: images through links, litter left out, all others counted."""

from __future__ import annotations

import os
from collections import Counter

from ncfm.data.walk import files_below, files_in, folders_in, is_litter, remarks_on_files


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_litter_is_left_out(tmp_path):
    litter = ["@eaDir/a.jpg", "a/@eaDir/a.png/b.jpg", "__MACOSX/a/._a.png", "Thumbs.db", "a/thumbs.DB", "desktop.ini"]
    hidden = [".DS_Store", ".git/a.png", "a/.ipynb_checkpoints/a.png", "a/._a.png"]
    touch(tmp_path, *litter, *hidden, "a/a.png")
    found = files_below(tmp_path)
    assert found.images == [tmp_path / "a" / "a.png"]
    assert found.others == Counter()
    assert folders_in(tmp_path) == [tmp_path / "a"]
    assert not any(map(is_litter, ("eaDir", "thumbs", "a.png")))


def test_all_others_are_counted_by_suffix(tmp_path):
    touch(tmp_path, "x.PNG", "a/y.jfif", "a.TXT", "a/b.txt", "c/d/e.heic", "c/LICENSE", "archive.tar.gz")
    found = files_below(tmp_path)
    assert found.images == [tmp_path / "a" / "y.jfif", tmp_path / "x.PNG"]
    assert found.others == {".txt": 2, ".heic": 1, "": 1, ".gz": 1}
    assert files_in(tmp_path).images == [tmp_path / "x.PNG"]
    assert files_in(tmp_path).others == {".txt": 1, ".gz": 1}


def test_links_are_followed_and_no_folder_is_read_twice(tmp_path):
    touch(tmp_path, "elsewhere/more/1.png", "cat/0.png", "dog/0.png")
    cat = tmp_path / "cat"
    (cat / "more").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (cat / "up").symlink_to("..")
    (cat / "self").symlink_to(".")
    (cat / "again").symlink_to(tmp_path / "elsewhere" / "more")
    (tmp_path / "elsewhere" / "loop").symlink_to(cat)
    (cat / "file.png").symlink_to(tmp_path / "dog" / "0.png")
    (cat / "gone.png").symlink_to("nowhere")
    (cat / "eternal.txt").symlink_to("eternal.txt")
    found = files_below(cat)
    assert [str(path.relative_to(cat)) for path in found.images] == ["0.png", "again/1.png", "file.png", "gone.png"]
    assert [str(path.relative_to(cat)) for path in found.repeated] == ["more/loop", "more/more", "self", "up"]
    assert found.others == {".txt": 1}


def test_a_folder_with_the_name_of_an_image_is_a_folder(tmp_path):
    touch(tmp_path, "odd.png/1.png")
    assert files_below(tmp_path).images == [tmp_path / "odd.png" / "1.png"]


def test_pipes_are_not_read(tmp_path):
    os.mkfifo(tmp_path / "x.png")
    assert files_below(tmp_path).others == {".png": 1}


def test_what_is_left_unread_is_said(tmp_path):
    touch(
        tmp_path, *(f"cat/{i}.txt" for i in range(1200)), "cat/a.heic", "cat/b/c/x.png", "cat/b/y.png", "z.png", "n.md"
    )
    (tmp_path / "cat" / "loop").symlink_to("..")
    assert remarks_on_files(tmp_path, [(tmp_path / "cat", files_below(tmp_path / "cat"))]) == (
        "1,202 files left unread: 1,200 .txt, 1 .heic, 1 .md",
        "1 image left unread, in no class folder: z.png",
        "2 images in folders below that of the class, such as cat/b/c",
        "left out links to folders that are read already, or contain them: cat/loop",
    )


def test_nothing_is_said_of_a_tidy_folder(tmp_path):
    touch(tmp_path, "cat/0.png", "dog/0.png", ".DS_Store")
    assert remarks_on_files(tmp_path, [(path, files_below(path)) for path in folders_in(tmp_path)]) == ()
