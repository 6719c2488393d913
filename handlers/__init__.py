"""The handlers that come with the bridge. Copy one as the start of your own."""

from __future__ import annotations

from bridge import Router
from handlers import assist, summary

router = Router("handlers")
router.include(assist.router, summary.router)
