"""Keys, tokens, cookies, organisations and accounts do not reach the disk.

Request headers are kept by an allow-list; of everything else, what is secret is masked, byte for byte, so that nothing
moves. What is secret: what begins as keys do, what stands where keys stand (members of JSON, parameters of URLs, some
headers), and the exchange's own keys, wherever they come back, also in base64. A request is redacted in the same way
before it is compared with recordings, so a redacted recording still matches.

A limit: what a model spells out over several events does not stand in one piece, and is not found.
"""

from __future__ import annotations

from mockprovider.redaction.mask import MARK, Mask
from mockprovider.redaction.redactor import HeadMask, Redactor, WireMask, removed
from mockprovider.redaction.rules import Rules

__all__ = ["MARK", "HeadMask", "Mask", "Redactor", "Rules", "WireMask", "removed"]
