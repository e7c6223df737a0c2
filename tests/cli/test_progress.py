"""What the command line shows while it works."""

import io
import re

import pytest
from rich.console import Console

from ncfm.cli import _progress
from ncfm.cli._progress import BarReporter
from ncfm.workflows.distilling import _note


@pytest.fixture
def shown(monkeypatch):
    """Show on a terminal or not, to a string, with a clock that the test moves."""

    def show(terminal, width=150):
        screen, now = io.StringIO(), [0.0]
        monkeypatch.setattr(_progress, "errors", Console(file=screen, force_terminal=terminal, width=width))
        monkeypatch.setattr(_progress.time, "monotonic", lambda: now[0])
        return screen, now

    return show


def run(now, seconds=1.0, steps=300):
    with BarReporter() as reporter:
        reporter.begin("distilling", steps, unit="iteration")
        for i in range(1, steps + 1):
            now[0] += seconds
            reporter.update(i, f"discrepancy {1 / i:.4f}, 1 s/it, 20 MiB")
        reporter.end()


def test_a_log_has_a_line_a_minute_with_the_time_left(shown):
    screen, now = shown(False)
    run(now)
    assert screen.getvalue().splitlines() == [
        "distilling: 300 iterations",
        "distilling: 60 of 300, 0:04:00 left, discrepancy 0.0167, 1 s/it, 20 MiB",
        "distilling: 120 of 300, 0:03:00 left, discrepancy 0.0083, 1 s/it, 20 MiB",
        "distilling: 180 of 300, 0:02:00 left, discrepancy 0.0056, 1 s/it, 20 MiB",
        "distilling: 240 of 300, 0:01:00 left, discrepancy 0.0042, 1 s/it, 20 MiB",
        "distilling: done in 0:05:00, discrepancy 0.0033, 1 s/it, 20 MiB",
    ]


def test_a_short_stage_has_two_lines_and_no_control_codes(shown):
    screen, now = shown(False)
    run(now, seconds=0.01)
    begin, end = screen.getvalue().splitlines()
    assert begin == "distilling: 300 iterations"
    assert end == "distilling: done in 0:00:03, discrepancy 0.0033, 1 s/it, 20 MiB"
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", screen.getvalue())


def test_a_terminal_has_a_bar_with_time_and_note(shown, monkeypatch):
    screen, now = shown(True)
    monkeypatch.setenv("TERM", "xterm")
    run(now, steps=30)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())
    assert "30/30 iterations" in text
    assert "discrepancy 0.0333, 1 s/it, 20 MiB" in text
    assert "done in" not in text


def test_a_remark_is_one_line_in_a_log_and_whole_words_in_a_terminal(shown, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    remark = "a remark of some words that do not fit into one line of a narrow terminal"
    for terminal, lines in ((False, [remark]), (True, [remark[:38], remark[39:]])):
        screen, _ = shown(terminal, width=40)
        BarReporter().remark(remark)
        assert [line.rstrip() for line in screen.getvalue().splitlines()] == lines


NOTE = "discrepancy 0.1736, 0.432 s/it, 887 MiB"


def seen(reporter, width):
    """The bars as a terminal of this width shows them now."""
    screen = io.StringIO()
    Console(file=screen, width=width).print(reporter._bars.get_renderable())
    return [line.rstrip() for line in screen.getvalue().splitlines()]


def halfway(shown, width, first, second, note):
    """The bars of a finished stage and of one in its middle, 20 s a unit."""
    _, now = shown(True, width=width)
    with BarReporter() as reporter:
        for (stage, total, unit), done in ((first, first[1]), (second, second[1] // 2)):
            reporter.begin(stage, total, unit)
            for i in range(1, done + 1):
                now[0] += 20
                reporter.update(i, note if done < total else "")
            if done == total:
                reporter.end()
        return seen(reporter, width)


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        (60, ["teachers   12/12 epochs         0:04:00", "distilling 100/200 iterations   0:33:20 left"]),
        (
            80,
            [
                "teachers   ━━━━━━━━ 12/12 epochs         0:04:00",
                "distilling ━━━━     100/200 iterations   0:33:20 left discrepancy 0.1736",
            ],
        ),
        (
            100,
            [
                "teachers   ━━━━━━━━━━━━ 12/12 epochs         0:04:00",
                "distilling ━━━━━━       100/200 iterations   0:33:20 left " + NOTE,
            ],
        ),
    ],
)
def test_the_bars_at_three_widths(shown, width, lines):
    found = halfway(shown, width, ("teachers", 12, "epoch"), ("distilling", 200, "iteration"), NOTE)
    assert [re.sub(" +", " ", line) for line in found] == [re.sub(" +", " ", line) for line in lines]
    assert all(len(line) <= width for line in found)


@pytest.mark.parametrize("width", [60, 80, 100])
def test_numbers_are_whole_whatever_the_name(shown, width):
    long = "evaluating entropic: a name of many words"
    found = halfway(shown, width, ("teachers", 1200, "epoch"), (long, 9000, "iteration"), NOTE)
    assert all(len(line) <= width for line in found)
    assert "1200/1200 epochs" in found[0]
    assert "4500/9000 iterations" in found[1]
    assert "25:00:00 left" in found[1]
    assert found[1].startswith("evaluating")


def test_no_time_is_guessed_from_two_units(shown):
    _, now = shown(True)
    with BarReporter() as reporter:
        reporter.begin("distilling", 200, "iteration")
        for i in (1, 2, 3, 4):
            now[0] += 60
            reporter.update(i)
            assert ("left" in seen(reporter, 100)[0]) == (i >= 3)


def test_a_resumed_run_is_not_taken_for_a_fast_one(shown):
    screen, now = shown(False)
    with BarReporter() as reporter:
        reporter.begin("distilling", 1000, "iteration")
        for i in range(900, 913):
            now[0] += 10
            reporter.update(i)
    assert screen.getvalue().splitlines()[1:] == [
        "distilling: 905 of 1000, 0:15:50 left",
        "distilling: 911 of 1000, 0:14:50 left",
    ]


def test_a_narrow_terminal_cuts_the_note_and_nothing_else(shown, monkeypatch):
    screen, now = shown(True, width=70)
    monkeypatch.setenv("TERM", "xterm")
    run(now, steps=30)
    last = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue()).splitlines()[-1]
    assert last.startswith("distilling")
    assert "30/30 iterations" in last
    assert "discrepancy 0.0333" in last  # a part of the note, whole
    assert len(last.rstrip()) <= 70


def test_one_unit_is_not_in_the_plural(shown):
    screen, _ = shown(False)
    with BarReporter() as reporter:
        reporter.begin("teachers", 1, unit="epoch")
    assert screen.getvalue() == "teachers: 1 epoch\n"


def test_quiet_is_silent_on_a_terminal_too(shown):
    screen, _ = shown(True)
    with BarReporter(quiet=True) as reporter:
        reporter.begin("teachers", 3)
        reporter.update(2)
        reporter.end()
    assert screen.getvalue() == ""


def test_a_note_tells_loss_time_and_memory():
    costs = {"seconds_per_iteration": 0.43219, "memory_mb": 887.4}
    assert _note({"discrepancy": 0.17361} | costs) == "discrepancy 0.1736, 0.432 s/it, 887 MiB"
    assert _note({"gap": 0.5} | costs) == "gap 0.5000, 0.432 s/it, 887 MiB"
    assert _note({"discrepancy": 0.17361}) == "discrepancy 0.1736"


def test_remarks_are_printed_where_the_user_looks(shown):
    screen, _ = shown(False)
    with BarReporter() as reporter:
        reporter.remark("digits: distill.factor=1: tiles of [4] px")
    with BarReporter(quiet=True) as reporter:
        reporter.remark("unheard")
    assert screen.getvalue() == "digits: distill.factor=1: tiles of [4] px\n"
