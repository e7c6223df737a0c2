"""The table of the first page, by hand."""

from tools.pages.home import home_table

from accuracy_rows import ROWS


def test_the_home_page_has_few_numbers():
    text = home_table([("cifar10-ipc10", ROWS[2], ROWS[1]), ("digits-ipc1", ROWS[0], None)])
    assert text.splitlines()[2:] == ["| CIFAR-10 | 10 | **66.0 %** | 35.0 % |", "| Digits | 1 | **90.0 %** | - |"]
