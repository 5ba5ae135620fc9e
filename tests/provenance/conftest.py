"""What the tests of this folder share: an image, a model, and finished outputs."""

from __future__ import annotations

from pathlib import Path

import pytest
from interrupted import make_finished


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image, a model, and what a run in peace makes of them; not to be changed."""
    return make_finished(tmp_path_factory.mktemp("finished"))
