"""What tests of teachers share."""

from __future__ import annotations

import pytest

from ncfm.training import pretraining


@pytest.fixture
def trainings(monkeypatch):
    """Counts the teachers trained from here on."""
    count = []
    fit = pretraining.fit
    monkeypatch.setattr(pretraining, "fit", lambda *a, **k: (count.append(1), fit(*a, **k))[1])
    return count
