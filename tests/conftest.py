"""Every run of the suite is the same run: no chance, no deadlines on a machine that others use too."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("suite", derandomize=True, deadline=None, max_examples=60)
settings.load_profile("suite")
