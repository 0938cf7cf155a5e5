"""The console: its page and files, which the server hands out as they are."""

from __future__ import annotations
