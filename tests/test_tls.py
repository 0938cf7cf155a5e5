"""`--tls`: real clients trust the certificate when they are told to, and what a fault does stays true under TLS."""

from __future__ import annotations

import datetime
import re
import ssl
import stat
from typing import TYPE_CHECKING

import httpx
import openai
import pytest

from mockprovider import MockProvider
from mockprovider.errors import SettingError
from mockprovider.server import tls

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest.importorskip("trustme", reason="the extra mockprovider[tls] is not installed")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The user's data directory."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def provider(data: Path) -> Iterator[MockProvider]:
    """A server that speaks TLS."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(data))
        with MockProvider(tls=True, reply="Hello over TLS", chunking="join=false") as running:
            yield running


def trusting(provider: MockProvider) -> httpx.Client:
    """A client that trusts the server's authority and nobody else."""
    assert provider.authority is not None
    return httpx.Client(verify=ssl.create_default_context(cafile=str(provider.authority)), timeout=10)


def prompt(provider: MockProvider, faults: str = "") -> tuple[str, dict[str, object], dict[str, str]]:
    """The URL, body and headers of a request for a stream."""
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    return provider.openai_url + "/chat/completions", body, {"x-mockprovider-faults": faults}


def test_a_client_that_trusts_the_authority_streams(provider: MockProvider) -> None:
    """OpenAI's SDK, told what to trust, reads the whole stream from the https URL."""
    assert provider.openai_url.startswith("https://127.0.0.1:")
    trusted = ssl.create_default_context(cafile=str(provider.authority))
    with (
        openai.DefaultHttpxClient(verify=trusted) as http,
        openai.OpenAI(base_url=provider.openai_url, api_key="k", http_client=http) as client,
    ):
        stream = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}], stream=True)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == "Hello over TLS"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_the_loopback_s_names_are_certified(provider: MockProvider, host: str) -> None:
    """The certificate is for every name under which this machine reaches itself."""
    with trusting(provider) as http:
        assert http.get(provider.url.replace("127.0.0.1", host) + "/_mock/health").status_code == 200


def test_nobody_trusts_it_by_default(provider: MockProvider) -> None:
    """Without the authority a client refuses the connection: nothing on this machine was told to trust it."""
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(provider.url + "/_mock/health")


@pytest.mark.parametrize("faults", ["reset(after=2)", "close(after=2)", "half-close(after=2)"])
def test_a_broken_stream_is_broken_under_tls(provider: MockProvider, faults: str) -> None:
    """A stream that is cut or reset reaches the client as an error after what was sent, not as an end."""
    url, body, headers = prompt(provider, faults)
    text, broken = b"", False
    with trusting(provider) as http, http.stream("POST", url, json=body, headers=headers) as response:
        try:
            for part in response.iter_raw():
                text += part
        except httpx.TransportError:
            broken = True
    assert broken
    assert b"Hello" in text
    assert b"[DONE]" not in text


def test_the_authority_can_sign_nothing_more(provider: MockProvider, data: Path) -> None:
    """The only private key on disk is the server's own, and only its owner may read it."""
    files = [path for path in data.rglob("*") if path.is_file()]
    keys = [path for path in files if b"PRIVATE KEY" in path.read_bytes()]
    assert [path.name for path in keys] == ["server.pem"]
    assert len(re.findall(rb"BEGIN [A-Z ]*PRIVATE KEY", keys[0].read_bytes())) == 1
    assert stat.S_IMODE(keys[0].stat().st_mode) == 0o600
    assert stat.S_IMODE(keys[0].parent.stat().st_mode) == 0o700


def test_a_certificate_is_kept(tmp_path: Path) -> None:
    """Whoever has trusted the authority once need not do it again, until its year is nearly over."""
    first = tls.certificate(tmp_path)
    assert tls.certificate(tmp_path) == first
    soon = datetime.date.today() + datetime.timedelta(days=10)  # noqa: DTZ011
    first.server.parent.rename(tmp_path / f"{soon}-old")
    again = tls.certificate(tmp_path)
    assert again != first
    assert again.authority.read_bytes() != (tmp_path / f"{soon}-old" / "authority.pem").read_bytes()


def test_other_names_need_another_certificate(tmp_path: Path) -> None:
    """A server that is reached under a further name gets a certificate that has it."""
    assert tls.certificate(tmp_path, "dev.example") != tls.certificate(tmp_path)
    assert tls.certificate(tmp_path, "dev.example") == tls.certificate(tmp_path, "dev.example")


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """The refusal names the folder."""
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingError, match=r"tls: .*file"):
        tls.certificate(tmp_path / "file" / "tls")
