"""What is secret does not stay: whatever it looks like, wherever it stands, however the stream is cut."""

from __future__ import annotations

import base64
import gzip
import itertools
import json
import random
import time
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mockprovider.errors import SettingError
from mockprovider.recording import RecordedRequest, Recording
from mockprovider.recording.lifting import Lifter
from mockprovider.redaction import Redactor, Rules, WireMask, removed
from mockprovider.redaction.rules import PREFIXES

BODY = "Ab1Cd2Ef3Gh4Ij5Kl6Mn7Op8Qr9St0"
KEY = "my-own-key/with+signs=" + BODY
"""A key that nothing but the request tells."""

TEXTS = {
    **{prefix: f"{prefix}{BODY}" for prefix in PREFIXES},
    "bearer": f"Authorization: Bearer {BODY}/x+y==",
    "bearer in a URL": f"?a=Bearer%20{BODY}",
    "JWT": f"eyJ{BODY}.eyJ{BODY}.{BODY}",
    "line": f"\\nsk-{BODY}",
    "unicode": f"\\u003dsk-{BODY}",
    "URL": f"%3Dsk-{BODY}",
    "field": f'{{"api_key": "{BODY}"}}',
    "field with escapes": f'{{"password":"a\\"{BODY}"}}',
    "field in a text": f'{{"arguments":"{{\\"client_secret\\": \\"{BODY}\\"}}"}}',
    "upper": f'{{"API_KEY" : "{BODY}"}}',
    "account": f'{{"user_id":"{BODY}"}}',
    "parameter": f"https://x.example/v1?alt=sse&key={BODY}&b=1",
    "signed": f"https://x.example/v1?X-Amz-Signature={BODY}",
    "user": f"postgres://admin:{BODY}@db.example/x",
    "PEM": f"-----BEGIN RSA PRIVATE KEY-----\n{BODY}\n{BODY}\n-----END RSA PRIVATE KEY-----",
}


def same(masked: bytes, whole: bytes, data: bytes) -> None:
    """The two masks of the data differ at most in dots and backslashes; or who it was is known only at the @."""
    if b"@" in data:
        assert masked.endswith(b"@" + data.partition(b"@")[2])
        return
    differ = [at for at, (one, other) in enumerate(zip(masked, whole, strict=True)) if one != other]
    assert {data[at : at + 1] for at in differ} <= {b".", b"\\"}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_secret_is_masked_wherever_the_stream_is_cut(text: str) -> None:
    """Cut anywhere into two, and into single bytes, all of it that is a letter or digit is masked, and nothing else."""
    data = f'data: {{"content":"take {text} now"}}\n\n'.encode()
    whole = Redactor().stream().feed(data)
    assert len(whole) == len(data)
    assert BODY[:3].encode() not in whole
    assert whole.startswith(b'data: {"content":"take ')
    assert whole.endswith(b' now"}\n\n') or "BEGIN" in text
    for at in range(len(data)):
        mask = Redactor().stream()
        first, second = mask.feed(data[:at]), mask.feed(data[at:])
        assert len(first) == at
        same(first + second, whole, data)
    mask = Redactor().stream()
    same(b"".join(mask.feed(data[at : at + 1]) for at in range(len(data))), whole, data)
    assert mask.flush() == b""


@pytest.mark.parametrize(
    "text",
    [
        "a task-force, risk-free; org-mode and proj_x; Basic understanding",
        '{"token":"Hello","logprob":-0.1,"bytes":[72]}',
        '{"usage":{"completion_tokens":3,"secret":7},"model":"gpt-4o"}',
        "http://127.0.0.1:8000/v1?alt=sse&page=3 and a@b.example",
        base64.b64encode(random.Random(1).randbytes(3000)).decode(),
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    """Words, log probabilities, addresses and pictures come through untouched."""
    mask = Redactor(secrets=["sk-" + BODY]).stream()
    assert mask.feed(text.encode()) == text.encode()


@pytest.mark.parametrize("spelled", [KEY, quote(KEY, safe=""), json.dumps(KEY + "✓é")[1:-1], KEY + "✓é"])
@pytest.mark.parametrize("step", [1, 5, 13, 64, 1000])
def test_a_known_text_is_masked_from_its_eighth_character_at_the_latest(spelled: str, step: int) -> None:
    """In each spelling: at most its first seven characters stay where it comes in pieces, and none where not."""
    secret = KEY if "✓" not in spelled and "u2713" not in spelled else KEY + "✓é"
    data = b'{"echo":"' + spelled.encode() + b'"}'
    mask = Redactor(secrets=[secret]).stream()
    masked = b"".join(mask.feed(data[at : at + step]) for at in range(0, len(data), step))
    assert len(masked) == len(data)
    assert spelled[7:12].encode() not in masked
    if step == 1000:
        assert masked == b'{"echo":"' + b"X" * len(spelled.encode()) + b'"}'


@pytest.mark.parametrize("secret", [KEY, f"sk-ant-api03-{BODY}", f"Bearer {BODY}", f'"api_key":"{BODY}"'])
@pytest.mark.parametrize("before", [b"", b" ", b"a ", b"xyz "])
@pytest.mark.parametrize("url_safe", [False, True])
@pytest.mark.parametrize("path", ["", "/", "/a", "/ab"])
def test_base64_is_looked_through(secret: str, before: bytes, url_safe: bool, path: str) -> None:
    """A secret is found in base64 of each alignment and alphabet, also behind a path, and cut anywhere."""
    encode = base64.urlsafe_b64encode if url_safe else base64.b64encode
    text = path.encode() + encode(before + secret.encode() + b" and more after it")
    for step in (1000, 17):
        mask = Redactor(secrets=[KEY]).stream()
        masked = b"".join(mask.feed(text[at : at + step]) for at in range(0, len(text), step))
        assert len(masked) == len(text)
        at = len(path)
        decoded = base64.b64decode(masked[at:].replace(b"-", b"+").replace(b"_", b"/") + b"==")
        assert BODY[6:11].encode() not in decoded
        assert secret.encode() not in decoded


def test_long_tokens_are_masked_to_their_end() -> None:
    """A token of many kilobytes that comes in small pieces, plain or in base64, is masked to its last character."""
    token = "eyJ" + BODY * 300
    for text in (token, base64.b64encode(token.encode()).decode()):
        data = f'"{text}" after'.encode()
        for step in (50, 400, 10_000):
            mask = Redactor().stream()
            masked = b"".join(mask.feed(data[at : at + step]) for at in range(0, len(data), step))
            assert masked.endswith(b'" after')
            assert data[400:420] not in masked
            assert data[-40:-20] not in masked


@given(
    st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=5), st.sampled_from([b"", b"sk-", b'"secret":"'])
)
def test_the_mask_changes_no_length(data: bytes, cuts: list[int], lead: bytes) -> None:
    """Each answer is as long as what was fed, and every byte is the given one or the mark."""
    data = data[:100] + lead + data[100:]
    mask = Redactor(secrets=["secret-literal"]).stream()
    ends = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    for begin, end in itertools.pairwise(ends):
        masked = mask.feed(data[begin:end])
        assert len(masked) == end - begin
        assert all(new in (old, ord("X")) for new, old in zip(masked, data[begin:end], strict=True))


@pytest.mark.parametrize(
    "unit",
    [
        base64.b64encode(random.Random(2).randbytes(1200)),
        b"sk-",
        b'"api_key":"',
        b"\\",
        b"://a:",
        b"?key=",
        b"aaaaaaaaa",
    ],
)
def test_the_time_is_linear(unit: bytes) -> None:
    """Four times as much takes about four times as long, not sixteen: for a long run of base64, and for the worst."""

    def seconds(size: int) -> float:
        data = unit * (size // len(unit))
        best = 1e9
        for _ in range(2):
            mask = Redactor(secrets=["a" * 40, KEY]).stream()
            began = time.process_time()
            for at in range(0, len(data), 1 << 16):
                mask.feed(data[at : at + (1 << 16)])
            best = min(best, time.process_time() - began)
        return best

    assert seconds(1 << 20) < 11 * seconds(1 << 18)


def test_request_headers_are_kept_by_a_list() -> None:
    """What is on the list is kept; keys, cookies and what nobody knows are not; both can be changed."""
    headers = [
        ("Content-Type", "application/json"),
        ("Authorization", f"Bearer {BODY}"),
        ("Cookie", f"a={BODY}"),
        ("X-My-Own", BODY),
        ("OpenAI-Organization", "org-" + BODY),
        ("User-Agent", f"me/1 sk-{BODY}"),
    ]
    kept = Redactor().headers(headers)
    assert kept == (("Content-Type", "application/json"), ("User-Agent", "me/1 sk-" + "X" * len(BODY)))
    rules = Rules(keep_headers=("x-my-own",), redact_headers=("user-agent",))
    assert Redactor(rules).headers(headers) == (("Content-Type", "application/json"), ("X-My-Own", BODY))


RESPONSE = [
    ("Content-Type", "text/event-stream"),
    ("Content-Length", "12345678901"),
    ("x-ratelimit-remaining-tokens", "29999"),
    ("x-request-id", "req_123"),
    ("Set-Cookie", "__cf_bm=abc; path=/; Secure"),
    ("openai-organization", "acme-corp"),
    ("openai-project", "proj_1"),
    ("anthropic-organization-id", "uuid"),
    ("CF-RAY", "1-FRA"),
    ("x-custom", f"sk-{BODY}"),
    ("location", f"/v1?key={BODY}&x=1"),
]
MASKED = [
    *RESPONSE[:4],
    ("Set-Cookie", "XXXXXXX=XXX; XXXX=X; XXXXXX"),
    ("openai-organization", "XXXXXXXXX"),
    ("openai-project", "XXXXXX"),
    ("anthropic-organization-id", "XXXX"),
    ("CF-RAY", "XXXXX"),
    ("x-custom", "sk-" + "X" * len(BODY)),
    ("location", f"/v1?key={'X' * len(BODY)}&x=1"),
]


@pytest.mark.parametrize("step", [1, 3, 10, 5000])
def test_response_headers_are_masked_however_they_come(step: int) -> None:
    """Values that name an account, or are secret, are masked in a head cut anywhere; the framing is never touched."""
    assert Redactor(secrets=["12345678901"]).response_headers(RESPONSE) == tuple(MASKED)
    head = "HTTP/1.1 200 OK\r\n" + "".join(f"{name}: {value}\r\n" for name, value in RESPONSE)
    folded = b"set-cookie: a=b;\r\n c=d\r\nx: y\r\n\r\n"
    mask = WireMask(Redactor(secrets=["12345678901"]))
    data = head.encode() + folded
    masked = b"".join(mask.feed(data[at : at + step]) for at in range(0, len(data), step))
    expected = "HTTP/1.1 200 OK\r\n" + "".join(f"{name}: {value}\r\n" for name, value in MASKED)
    assert masked == expected.encode() + b"set-cookie: X=X;\r\n X=X\r\nx: y\r\n\r\n"


def test_headers_can_be_kept_and_redacted_by_name() -> None:
    """A user's rules come before ours, for response headers too, but never for those that frame the message."""
    rules = Rules(keep_headers=("CF-Ray", "openai-project"), redact_headers=("X-Request-Id", "content-length"))
    masked = dict(Redactor(rules).response_headers(RESPONSE))
    assert (masked["CF-RAY"], masked["openai-project"]) == ("1-FRA", "proj_1")
    assert masked["x-request-id"] == "XXXXXXX"
    assert masked["Content-Length"] == "12345678901"


def test_content_is_masked_across_chunks_and_reads() -> None:
    """A key that is split over HTTP chunks and reads is masked, trailers are, and the framing stays."""
    key = f"sk-ant-{BODY}"
    chunks = [key[at : at + 5].encode() for at in range(0, len(key), 5)]
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    wire = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body + b"0\r\nSet-Cookie: abc\r\n\r\n"
    for step in (1, 4, 11, 1000):
        mask, lifter, content = WireMask(Redactor()), Lifter(), b""
        masked = b"".join(mask.feed(wire[at : at + step]) for at in range(0, len(wire), step))
        content = lifter.feed(masked).content
        assert content == b"sk-" + b"X" * (len(key) - 3)
        assert masked.endswith(b"0\r\nSet-Cookie: XXX\r\n\r\n")
        assert lifter.complete


def test_what_is_no_http_is_masked_too() -> None:
    """Garbage is kept, but without the keys in it."""
    data = f"\x00nonsense sk-{BODY}\n".encode()
    assert WireMask(Redactor()).feed(data) == b"\x00nonsense sk-" + b"X" * len(BODY) + b"\n"


def test_a_request_knows_its_own_keys() -> None:
    """The keys in its headers, cookies and target are found in its body, plain, packed or in base64."""
    basic = base64.b64encode(b"someone:pass-word-1").decode()
    headers = (("Authorization", f"Basic {basic}"), ("X-Api-Key", KEY), ("Cookie", "a=1; session=cookie-value"))
    body = f"{KEY} pass-word-1 cookie-value query-key-1 {base64.b64encode(KEY.encode()).decode()}".encode()
    target = f"/v1/projects/acme/x?key=query-key-1&q={quote(KEY, safe='')}"
    redactor = Redactor()
    for sent in (body, gzip.compress(body)):
        kept = redactor.request(RecordedRequest("POST", target, headers, sent))
        assert kept.headers == ()
        for secret in (KEY, BODY, "pass-word-1", "cookie-value", "query-key-1", "acme"):
            assert secret.encode() not in kept.body
            assert secret not in kept.target
        assert kept.body.decode().split()[-1].startswith("XXXX")
        assert kept.target.startswith("/v1/projects/XXXX/x?key=XXXXXXXXXXX&q=XX")
    assert redactor.request(kept) == kept
    assert redactor.body(b"\x1f\x8bdamaged") == b"XXXXXXXXX"


def test_texts_of_the_user() -> None:
    """A text is masked wherever it stands, and what follows one that ends in `*`; a very short one is refused."""
    redactor = Redactor(Rules(texts=("Acme", "tok:*")))
    assert redactor.text("an Acme product, tok:abc def") == "an XXXX product, tok:XXX def"
    with pytest.raises(SettingError, match="at least three characters"):
        Rules(texts=("a*",))


def test_a_recording_is_redacted_afterwards() -> None:
    """All of it, with times and framing as they were; what was removed is told without being shown."""
    request = RecordedRequest(
        "POST", f"/v1?key={KEY}", (("authorization", f"Bearer {BODY}"), ("accept", "x")), b"a sk-" + BODY.encode()
    )
    head = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 50\r\n\r\n"
    content = f"say sk-{BODY} twice".encode().ljust(50)
    recording = Recording.of(request, [(0.5, head), (0.25, content)], ending="end", recorded="now")
    redacted = Redactor().recording(recording)
    assert redacted.content == b"say sk-" + b"X" * len(BODY) + content[7 + len(BODY) :]
    assert (redacted.duration, redacted.ending, redacted.recorded) == (0.75, "end", "now")
    assert Redactor().recording(redacted) == redacted
    lines = removed(recording, redacted)
    assert lines == [
        "request header authorization: left out",
        f"request target: /v1?key={'X' * len(KEY)}",
        "request body: 30 bytes at 5, after 'a sk-'",
        "response header Set-Cookie: masked",
        "response content: 30 bytes at 7, after 'say sk-'",
    ]
    assert BODY not in "".join(lines)
    assert removed(redacted, redacted) == []
