"""A recording of an exchange of which only the content is known, such as one from another tool's file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mockprovider.recording.lifting import RecordedHead
from mockprovider.recording.model import RecordedRequest, Recording

__all__ = ["made"]


def made(
    request: RecordedRequest,
    head: RecordedHead,
    content: bytes,
    *,
    source: Mapping[str, Any],
    pieces: Sequence[bytes] | None = None,
    gaps: Sequence[float] | None = None,
    recorded: str = "",
) -> Recording:
    """A recording with this content.

    pieces: the content as it came, one read each; else it is one read, and its boundaries are marked as synthetic.
    gaps: seconds before the head and before each piece; else they are 0, and the timing is marked as synthetic.
    source: its `synthetic` may name more. The framing is what the head says; where it says nothing, or a length that is
    not the content's, the head is mended and the framing marked as synthetic. ValueError where the pieces are not the
    content, or the gaps are too many or too few.
    """
    synthetic = set(source.get("synthetic", ()))
    if pieces is None:
        synthetic.add("boundaries")
        pieces = [content]
    elif b"".join(pieces) != content:
        raise ValueError("the pieces are not the content")
    pieces = [piece for piece in pieces if piece]  # an empty chunk would end the message
    if gaps is None:
        synthetic.add("timing")
        gaps = [0.0] * (len(pieces) + 1)
    if len(gaps) != len(pieces) + 1:
        raise ValueError(f"expected {len(pieces) + 1} gaps, for the head and each piece with content, got {len(gaps)}")
    bodyless = request.method == "HEAD" or head.status in (204, 304)
    mended, chunked = (head, False) if bodyless else _framed(head, len(content))
    if mended != head:
        synthetic.add("framing")
    writes = [] if bodyless else [b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece for piece in pieces]
    if chunked:
        writes = [*writes[:-1], (writes[-1] if writes else b"") + b"0\r\n\r\n"]
    wires = list(zip([*gaps, 0.0], [mended.encode(), *writes], strict=False))
    source = {**source, "synthetic": sorted(synthetic)}
    return Recording.of(request, wires, recorded=recorded, ending="end", source=source)


def _framed(head: RecordedHead, size: int) -> tuple[RecordedHead, bool]:
    """The head with a framing for a content of this size, and whether that is chunked."""
    if (head.header("transfer-encoding") or "").lower().endswith("chunked"):
        return head, True
    length = head.header("content-length")
    if length is not None and length == str(size):
        return head, False
    if length is not None:
        headers = [(k, str(size)) if k.lower() == "content-length" else (k, v) for k, v in head.headers]
        return RecordedHead(head.version, head.status, head.reason, tuple(headers)), False
    chunked = (*head.headers, ("Transfer-Encoding", "chunked"))
    return RecordedHead(head.version, head.status, head.reason, chunked), True
