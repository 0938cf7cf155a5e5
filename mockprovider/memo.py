"""Replies that come again: a short one without gaps is rendered once, and its bytes are kept.

What differs from one request to its repetition are ids and stamps. The reply is rendered through all levels with a
random mark in the place of each, and the bytes are cut at the marks; a repetition fills in its own values. Whatever is
not that simple (gaps, faults, gates, promised writes, long or endless replies) is rendered each time. A property test
proves that both give the same bytes.
"""

from __future__ import annotations

import secrets
import string
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Any

from mockprovider.dialects.base import Voice
from mockprovider.reply import Reply, Text
from mockprovider.timeline import End, Timed
from mockprovider.wire import Burst, TransferEncoder

__all__ = ["Kept", "Memo"]

_LIMIT = 256
_SIZE = 32 * 1024
"""Bytes of a reply that is kept: what leaves in one write."""


_LETTERS = (string.ascii_letters.encode() * 5)[:256]
"""A letter for each byte."""

Value = Callable[[Voice, str], str]
"""What stands at a mark, from the exchange's voice and the date."""


class _Marked(Voice):
    """A voice whose every id is a mark; it remembers what stands behind each."""

    __slots__ = ("_stamp", "marks")

    marks: dict[bytes, Value]

    @property
    def created(self) -> int:
        """A number that is a mark once somebody has asked for it."""
        self.marks[str(self._stamp).encode()] = lambda voice, date: str(voice.created)
        return self._stamp

    @created.setter
    def created(self, value: int) -> None:
        self._stamp = value

    def id(self, length: int, purpose: str, *parts: object) -> str:
        return self._mark(length, lambda voice, date: voice.id(length, purpose, *parts))

    def hex(self, length: int, purpose: str, *parts: object) -> str:
        return self._mark(length, lambda voice, date: voice.hex(length, purpose, *parts))

    def uuid(self, purpose: str, *parts: object) -> str:
        return self._mark(36, lambda voice, date: voice.uuid(purpose, *parts))

    def moment(self) -> str:
        return self._mark(20, lambda voice, date: voice.moment())

    def _mark(self, length: int, value: Value) -> str:
        mark = secrets.token_bytes(length).translate(_LETTERS).decode()
        self.marks[mark.encode()] = value
        return mark


class Kept:
    """The bytes of a response, cut into marks and what is between them, and what each mark stands for, and where.

    keeps: whether the connection may be kept after it.
    """

    __slots__ = ("keeps", "pieces", "replies", "values")

    def __init__(self, data: bytes, marks: dict[bytes, Value], replies: tuple[Reply, ...], keeps: bool) -> None:
        self.pieces = _cut(data, marks)
        self.values = [
            (value, [at for at, piece in enumerate(self.pieces) if piece == mark]) for mark, value in marks.items()
        ]
        self.replies = replies  # a key may hold their identities, which must not be given to others
        self.keeps = keeps

    def fill(self, voice: Voice, date: str) -> bytes:
        """The response with this voice's ids and stamps, and this date."""
        parts = self.pieces.copy()
        for value, places in self.values:
            said = value(voice, date).encode()
            for at in places:
                parts[at] = said
        return b"".join(parts)


def _cut(data: bytes, marks: Iterable[bytes]) -> list[bytes]:
    """The marks in the data and what is between them. (To compile a pattern takes longer than everything else.)"""
    pieces = [data]
    for mark in marks:
        cut: list[bytes] = []
        for piece in pieces:
            first, *others = piece.split(mark)
            cut.append(first)
            for other in others:
                cut += mark, other
        pieces = cut
    return pieces


Render = Callable[[Voice, str, TransferEncoder], Iterator[Timed[Any]]]


class Memo:
    """Kept responses by what they depend on, the least recently used falling out."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, Kept | None] = OrderedDict()

    def kept(
        self,
        key: Hashable,
        voice: Voice,
        date: str,
        replies: tuple[Reply, ...],
        render: Render,
        transfer: Callable[[], TransferEncoder],
    ) -> Kept | None:
        """The whole response, to be filled in with a voice and a date; None: render it.

        key: everything that the bytes depend on besides ids, stamp and date. render: makes the actions with a given
        voice, date and transfer encoder; transfer: makes a new encoder.
        """
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        kept = self._kept[key] = _learn(voice, date, replies, render, transfer())
        if len(self._kept) > _LIMIT:
            self._kept.popitem(last=False)
        return kept


def _learn(
    voice: Voice, date: str, replies: tuple[Reply, ...], render: Render, transfer: TransferEncoder
) -> Kept | None:
    """The response with marks, or None where it is not one write of moderate size that ends cleanly."""
    if any(isinstance(part, Text) and not isinstance(part.text, str) for reply in replies for part in reply.parts):
        return None
    created = secrets.randbelow(9_000_000_000) + 1_000_000_000
    marked = _Marked(voice.ask, voice.reply, voice.seed, voice.key, created, voice.ttft)
    marked.marks = {}
    stamp = marked._mark(len(date), lambda voice, date: date)
    data: list[bytes] = []
    size = 0
    for gap, item, _ in render(marked, stamp, transfer):
        if type(item) is End and gap == 0:
            break
        piece = item.whole if type(item) is Burst and item.joins and not item.gaps else item
        if type(piece) is not bytes or gap or size > _SIZE:
            return None
        data.append(piece)
        size += len(piece)
    else:
        return None
    whole = b"".join(data)
    # A mark that is nowhere was not used as it stands: something was derived from it.
    if not all(mark in whole for mark in marked.marks):
        return None
    return Kept(whole, marked.marks, replies, transfer.keeps)
