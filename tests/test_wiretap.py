"""The observer itself: what it says about bytes and endings that are known."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wiretap import Call, Parser, Tap, WireError, calls, parse, tapping

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_chunked_body() -> None:
    """Chunks are taken apart with their sizes, extensions and trailers read over."""
    data = CHUNKED + b'5\r\nhello\r\n00A;a=b; c="d"\r\n, \r\nworld\n\r\n0\r\nx-last: 1\r\n\r\n'
    (response,) = parse(data)
    assert (response.status, response.reason, response.framing) == (200, "OK", "chunked")
    assert response.pieces == [b"hello", b", \r\nworld\n"]
    assert response.trailers == [("x-last", "1")]
    assert response.head_ends == len(CHUNKED)
    assert response.chunk_ends == [data.index(b"00A"), data.index(b"0\r\nx-last")]
    assert response.ends == len(data)


def test_declared_length_and_pipelining() -> None:
    """Responses that follow one another on a connection are told apart by their declared lengths."""
    one = b"HTTP/1.1 200 OK\r\ncontent-length:  3 \r\n\r\nabc"
    two = b"HTTP/1.1 404 \r\nContent-Length: 0\r\nA: 1\r\nA: 2\r\n\r\n"
    first, second = parse(one + two)
    assert (bytes(first.body), first.begins, first.ends) == (b"abc", 0, len(one))
    assert (second.status, second.reason, second.begins) == (404, "", len(one))
    assert second.all("a") == ["1", "2"]
    with pytest.raises(WireError, match="2 times"):
        second.header("a")


def test_bodies_that_cannot_be() -> None:
    """HEAD, 1xx, 204 and 304 have no body whatever they declare; interim responses are no answers."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"
    interim = b"HTTP/1.1 100 Continue\r\n\r\n"
    empty = b"HTTP/1.1 204 No Content\r\n\r\n"
    found = parse(interim + head + empty + b"HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\n", "HEAD")
    assert [response.status for response in found] == [200, 204, 304]
    assert [bytes(response.body) for response in found] == [b"", b"", b""]


def test_body_until_the_end() -> None:
    """Without a declared length the body goes on until the connection ends, and is not complete before."""
    parser = Parser()
    parser.feed(b"HTTP/1.1 200 OK\r\n\r\nabc")
    assert parser.finished == []
    parser.feed(b"def")
    parser.eof()
    (response,) = parser.finished
    assert (response.framing, bytes(response.body)) == ("close", b"abcdef")


@pytest.mark.parametrize(
    "cut",
    [b"", b"HTTP/1.1 200", CHUNKED[:-2], CHUNKED, CHUNKED + b"5\r\nhel", CHUNKED + b"0\r\n", CHUNKED + b"1\r\na\r\n"],
)
def test_incomplete(cut: bytes) -> None:
    """A response that was cut short is never called complete."""
    parser = Parser()
    parser.feed(cut)
    parser.eof()
    assert parser.finished == []
    assert parser.idle is (cut == b"")


@pytest.mark.parametrize(
    "bad",
    [
        b"HTTP/1.1 200 OK\nA: b\r\n\r\n",
        b"HTTP/1.1  200 OK\r\n\r\n",
        b"http/1.1 200 OK\r\n\r\n",
        b"0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\x00\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\nTransfer-Encoding: chunked\r\n\r\n",
        CHUNKED + b"ZZ\r\n",
        CHUNKED + b"-1\r\n",
        CHUNKED + b"0x5\r\nhello\r\n",
        CHUNKED + b"5\nhello\r\n",
        CHUNKED + b"5\r\nhello!!",
        CHUNKED + b"5\r\nhello\n0\r\n",
        CHUNKED + b"0\r\n\r\n" + b"left over\r\n",
    ],
)
def test_illegal(bad: bytes) -> None:
    """What RFC 9112 does not allow is refused, never read in some lenient way."""
    with pytest.raises(WireError):
        parse(bad)


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6), st.data())
def test_any_division(pieces: list[bytes], data: st.DataObject) -> None:
    """However the bytes are divided into reads, the parser finds the same responses."""
    wire = CHUNKED + b"".join(b"%X\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    wire = wire + b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n\r\n" + wire
    cuts = sorted(data.draw(st.sets(st.integers(1, len(wire) - 1), max_size=12)))
    parser = Parser()
    for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True):
        parser.feed(wire[start:end])
    assert [response.pieces for response in parser.responses] == [pieces, [], pieces]
    assert parser.responses == parse(wire)


def test_long_connections() -> None:
    """What was read is let go, and positions still count from the connection's beginning."""
    parser = Parser()
    one = b"HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n" + b"x" * 50_000
    for _ in range(20):
        parser.feed(one[:777])
        parser.feed(one[777:])
    assert [response.ends for response in parser.finished] == [len(one) * (n + 1) for n in range(20)]
    assert len(parser._data) < 4 * len(one)


@contextlib.asynccontextmanager
async def _peers(*, reading: bool = True, keen: bool = False) -> AsyncIterator[tuple[Tap, socket.socket]]:
    """A tap, and the socket at the other end of its connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with tapping(listener.getsockname()[1], reading=reading, keen=keen) as tap:
            peer, _ = listener.accept()
            with peer:
                peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                yield tap, peer


async def test_reads_are_writes() -> None:
    """A write is one read, with the time at which it came, as long as the loop turns in between."""
    async with _peers() as (tap, peer):
        for part in (b"HTTP/1.1 200 OK\r\n", b"Content-Length: 2\r\n\r\na", b"b"):
            peer.sendall(part)
            await tap.until(lambda part=part: tap.data.endswith(part))  # type: ignore[misc]
        assert tap.sizes == [17, 22, 1]
        assert [read.time for read in tap.reads] == sorted(read.time for read in tap.reads)
        assert bytes((await tap.response(0)).body) == b"ab"


@pytest.mark.parametrize("ending", ["open", "eof", "reset"])
async def test_endings(ending: str) -> None:
    """FIN, RST and a connection that stays open are told apart, and bytes before the end are not lost."""
    async with _peers() as (tap, peer):
        peer.sendall(b"HTTP/1.1 200 OK\r\n\r\nabc")
        await tap.until(lambda: tap.reads)
        if ending == "reset":
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if ending == "open":
            with pytest.raises(AssertionError, match="open; came"):
                await tap.end(timeout=0.01)
        else:
            peer.close()
            assert await tap.end() == ending
        assert tap.ending == ending
        assert tap.data.endswith(b"abc")


async def test_a_keen_tap_reads_first() -> None:
    """What is sent in different rounds of the loop comes to a keen tap as different reads, whatever else is ready."""
    async with _peers(keen=True) as (tap, peer):
        loop = asyncio.get_running_loop()
        other, mine = socket.socketpair()
        done = loop.create_future()
        left = 20

        def again() -> None:
            # Ready in every round, and registered before the tap could be: the order of events is no help.
            nonlocal left
            left -= 1
            peer.sendall(b"x")
            if not left:
                loop.remove_reader(mine)
                done.set_result(None)

        tap.strict = False
        other.sendall(b"!")
        loop.add_reader(mine, again)
        await done
        await tap.until(lambda: len(tap.data) == 20)
        assert tap.sizes == [1] * 20
        other.close()
        mine.close()


async def test_not_reading() -> None:
    """A tap that does not read leaves what comes with the kernel, and has it all when it goes on."""
    async with _peers(reading=False) as (tap, peer):
        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc")
        await asyncio.sleep(0)
        assert tap.reads == []
        tap.resume()
        assert bytes((await tap.response(0)).body) == b"abc"


async def test_illegal_bytes_surface() -> None:
    """Whoever waits on a tap is told at once that what came is not legal."""
    async with _peers() as (tap, peer):
        peer.sendall(b"nonsense\r\n")
        with pytest.raises(WireError, match="no status line"):
            await tap.end()


@pytest.mark.parametrize("how", ["half_close", "close", "reset"])
async def test_leaving(how: str) -> None:
    """The peer sees FIN where the tap closes or half-closes, and ECONNRESET where it resets."""
    async with _peers() as (tap, peer):
        getattr(tap, how)()
        if how == "reset":
            with pytest.raises(ConnectionResetError):
                peer.recv(1)
        else:
            assert peer.recv(1) == b""


def test_trace_of_calls() -> None:
    """Of strace's lines those become calls, in order, that sent to a TCP connection."""
    peer = b"<TCP:[127.0.0.1:80->127.0.0.1:52]>"
    lines = [
        b"28 socket(AF_INET) = 3",
        b'28 write(2<\\x2f\\x64>, "\\x61", 1) = 1',
        b"28 sendto(7" + peer + rb', "\x61\x0a", 2, 0, NULL, 0) = 2',
        rb'sendmsg(12<TCPv6:[[::1]:80->[::1]:99]>, {msg_iov=[{iov_base="\x01"}, {iov_base="\x02\x03"}]}, 0) = 3',
        b"31 sendto(7" + peer + rb', "\x62", 1, MSG_NOSIGNAL, NULL, 0) = -1 EPIPE (Broken pipe)',
        b"31 --- SIGPIPE ---",
        b"31 write(7" + peer + rb', ""..., 0) = 0',
    ]
    assert calls(b"\n".join(lines)) == [
        Call(52, b"a\n", 2),
        Call(99, b"\1\2\3", 3),
        Call(52, b"b", -1),
        Call(52, b"", 0),
    ]
