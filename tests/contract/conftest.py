from __future__ import annotations

from pathlib import Path

import pytest
from engines import OPENERS, Store


@pytest.fixture(params=sorted(OPENERS))
def open_engine(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty store of each engine: `open_engine()` opens a worker on it."""
    return Store(request.param, str(tmp_path / "bridge.db"))
