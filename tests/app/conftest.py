"""The model that the app opens with in tests."""

import pytest


@pytest.fixture
def model(monkeypatch, checkpoint_path):
    """The app opens with the small model of the tests."""
    monkeypatch.setenv("CAPTIONING_MODEL", str(checkpoint_path))
