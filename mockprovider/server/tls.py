"""A certificate for this machine, for `--tls`: made once, kept for a year, and trusted by nobody until a user says so.

The authority that signs it exists for a moment only: its private key is never written, so trusting it lets nobody sign
anything else. What is kept is the authority's certificate, which is public, and the server's own key, which only its
owner may read.
"""

from __future__ import annotations

import contextlib
import os
import ssl
import tempfile
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from mockprovider.errors import SettingError

__all__ = ["Certificate", "certificate", "certificate_folder"]

_DAYS = 397
"""How long a certificate is good for: browsers accept no more (CA/Browser Forum, ballot SC31)."""

_SPARE = 30
"""Days before its end from which a new one is made."""

_NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Certificate:
    """authority: what clients must trust; server: key and chain, in one file. Both are PEM."""

    authority: Path
    server: Path

    def context(self) -> ssl.SSLContext:
        """What a server needs to speak TLS with it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.server)
        context.set_alpn_protocols(["http/1.1"])
        return context


def certificate_folder() -> Path:
    """Where certificates are kept: in the user's data directory (XDG Base Directory Specification)."""
    data = os.environ.get("XDG_DATA_HOME", "")
    # A path that is not absolute is to be ignored, the specification says.
    base = Path(data) if Path(data).is_absolute() else Path.home() / ".local" / "share"
    return base / "mockprovider" / "tls"


def certificate(folder: Path | None = None, *names: str) -> Certificate:
    """The certificate of that folder for the loopback's names and these, made if there is none that is good.

    SettingError where the library that makes certificates is absent, or the folder cannot be written.
    """
    folder = certificate_folder() if folder is None else folder
    today = datetime.now(UTC).date()
    wanted = sorted({*_NAMES, *names})
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for kept in sorted(folder.iterdir(), reverse=True):
            if _good(kept, wanted, today):
                return _of(kept)
        return _made(folder, wanted, today + timedelta(days=_DAYS))
    except OSError as error:
        raise SettingError(f"tls: {error.filename or folder}: {error.strerror}") from error


def _of(kept: Path) -> Certificate:
    return Certificate(kept / "authority.pem", kept / "server.pem")


def _good(kept: Path, names: list[str], today: date) -> bool:
    """Whether the folder holds a certificate for these names that does not end soon."""
    try:
        until = date.fromisoformat(kept.name[:10])
        return (kept / "names").read_text().split() == names and until > today + timedelta(days=_SPARE)
    except (ValueError, OSError):
        return False


def _made(folder: Path, names: list[str], until: date) -> Certificate:
    try:
        import trustme
    except ModuleNotFoundError as error:
        raise SettingError("tls: this needs trustme; install it with: pip install 'mockprovider[tls]'") from error
    authority = trustme.CA(organization_name="mockprovider")
    issued = authority.issue_cert(*names, not_after=datetime(until.year, until.month, until.day))  # noqa: DTZ001  UTC
    # Written aside and moved into place as one, so that nobody meets half of it, or parts of two.
    made = Path(tempfile.mkdtemp(prefix=".new-", dir=folder))
    authority.cert_pem.write_to_path(made / "authority.pem")
    descriptor = os.open(made / "server.pem", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(issued.private_key_and_cert_chain_pem.bytes())
    (made / "names").write_text("\n".join(names))
    place = folder / f"{until}-{made.name.removeprefix('.new-')}"
    with contextlib.suppress(FileExistsError):
        made.rename(place)
    return _of(place)
