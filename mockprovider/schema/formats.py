"""The string formats of JSON Schema 2020-12 (validation, section 7.3): making and judging them.

Made values are ordinary: mail at example.com, addresses from the blocks set aside for documentation (RFC 2606, 5737,
3849), instants of the years 2023 to 2025 in UTC. Judged is a little more leniently: a time or an instant without an
offset passes, because common pattern libraries ask for those beside `format`. An unknown format is an annotation.
"""

from __future__ import annotations

import datetime
import ipaddress
import random
import re
from collections.abc import Callable
from typing import Final

from .pattern import matches

__all__ = ["FORMATS", "fits", "formatted"]

_PEOPLE = (
    "ada",
    "alan",
    "barbara",
    "carla",
    "dennis",
    "edith",
    "farid",
    "grace",
    "ines",
    "john.doe",
    "kim.lee",
    "maria",
)
_HOSTS = ("www", "api", "shop", "docs", "mail", "status")
_DOMAINS = ("example.com", "example.org", "example.net")
_ROUTES = ("articles/42", "docs/start", "products/1207", "blog/hello", "reports/2024/q3", "about", "search?q=lamp")
_HEX = "0123456789abcdef"
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def _letters(rng: random.Random, count: int) -> str:
    return "".join(rng.choice(_LETTERS) for _ in range(count))


def _hex(rng: random.Random, count: int) -> str:
    return "".join(rng.choice(_HEX) for _ in range(count))


# ---------------------------------------------------------------------------------------------- ordinary values


def _date(rng: random.Random) -> str:
    return f"{rng.randrange(2023, 2026)}-{rng.randrange(1, 13):02}-{rng.randrange(1, 29):02}"


def _time(rng: random.Random) -> str:
    return f"{rng.randrange(24):02}:{rng.randrange(0, 60, 5):02}:{rng.randrange(60):02}Z"


def _datetime(rng: random.Random) -> str:
    return f"{_date(rng)}T{_time(rng)}"


def _duration(rng: random.Random) -> str:
    number = rng.randrange(1, 13)
    return rng.choice([f"P{number}D", f"PT{number}H", f"PT{number}H30M", f"PT{5 * number}M", f"P{number}W"])


def _email(rng: random.Random) -> str:
    return f"{rng.choice(_PEOPLE)}@{rng.choice(_DOMAINS)}"


def _hostname(rng: random.Random) -> str:
    return f"{rng.choice(_HOSTS)}.{rng.choice(_DOMAINS)}"


def _ipv4(rng: random.Random) -> str:
    return f"{rng.choice(['192.0.2', '198.51.100', '203.0.113'])}.{rng.randrange(1, 255)}"


def _ipv6(rng: random.Random) -> str:
    return f"2001:db8::{rng.randrange(1, 65536):x}:{rng.randrange(1, 65536):x}"


def _uuid(rng: random.Random) -> str:
    return f"{_hex(rng, 8)}-{_hex(rng, 4)}-4{_hex(rng, 3)}-{rng.choice('89ab')}{_hex(rng, 3)}-{_hex(rng, 12)}"


def _uri(rng: random.Random) -> str:
    return f"https://{rng.choice(_DOMAINS)}/{rng.choice(_ROUTES)}"


def _reference(rng: random.Random) -> str:
    return f"/{rng.choice(_ROUTES)}"


def _template(rng: random.Random) -> str:
    return f"https://{rng.choice(_DOMAINS)}/{rng.choice(['users', 'orders', 'items'])}/{{id}}"


def _pointer(rng: random.Random) -> str:
    return f"/{rng.choice(['items', 'data', 'results'])}/{rng.randrange(10)}"


def _relative_pointer(rng: random.Random) -> str:
    return f"{rng.randrange(1, 4)}/{rng.choice(['name', 'id', 'items'])}"


def _regex(rng: random.Random) -> str:
    return rng.choice(["^[a-z]+$", r"^\d{4}$", "[A-Z]{2}", "^(yes|no)$"])


# ------------------------------------------------------------------------------------- values of a given length


def _email_of(rng: random.Random, length: int) -> str | None:
    host = "@example.com" if length > 12 else "@b.test" if length > 7 else "@a.aa"
    local = min(length - len(host), 60)  # RFC 5321: a local part of at most 64 octets
    if local < 1:
        return None
    rest = length - local - len(host)
    if rest == 0:
        return _letters(rng, local) + host
    label = _hostname_of(rng, rest - 1) if rest > 1 else None
    return f"{_letters(rng, local)}@{label}.{host[1:]}" if label else _email_of(rng, length - 1)


def _hostname_of(rng: random.Random, length: int) -> str | None:
    if not 1 <= length <= 250:  # RFC 1035: labels of at most 63 octets, 253 in all
        return None
    return _letters(rng, length) if length <= 60 else f"{_letters(rng, 58)}.{_hostname_of(rng, length - 59)}"


def _ipv4_of(rng: random.Random, length: int) -> str | None:
    if not 7 <= length <= 15:
        return None
    digits = [1, 1, 1, 1]
    for _ in range(length - 7):
        digits[rng.choice([index for index in range(4) if digits[index] < 3])] += 1
    return ".".join(str(rng.randrange((0, 1, 10, 100)[n], (0, 10, 100, 200)[n])) for n in digits)


def _ipv6_of(rng: random.Random, length: int) -> str | None:
    if not 2 <= length <= 39:
        return None
    if length == 2:
        return "::"
    groups = 8 if length > 36 else -(-(length - 2 + 1) // 5)  # eight groups, or fewer after `::`
    start = "" if groups == 8 else "::"
    digits = [1] * groups
    for _ in range(length - len(start) - max(groups - 1, 0) - groups):
        digits[rng.choice([index for index in range(groups) if digits[index] < 4])] += 1
    return start + ":".join(rng.choice("123456789abcdef") + _hex(rng, n - 1) for n in digits)


def _seconds_of(value: str, length: int) -> str | None:
    """The time with a fraction of a second that makes it so long."""
    if length == len(value):
        return value
    digits = length - len(value) - 1
    return f"{value[:-1]}.{'250'[:digits].ljust(digits, '0')}Z" if digits >= 1 else None


def _time_of(rng: random.Random, length: int) -> str | None:
    return _seconds_of(_time(rng), length)


def _datetime_of(rng: random.Random, length: int) -> str | None:
    return _seconds_of(_datetime(rng), length)


def _duration_of(rng: random.Random, length: int) -> str | None:
    if not 3 <= length <= 9:
        return None
    return f"P{rng.randrange(10 ** (length - 3), 10 ** (length - 2))}D"


def _uri_of(rng: random.Random, length: int) -> str | None:
    start = "https://example.com/" if length > 22 else "urn:"
    return start + _letters(rng, length - len(start)) if length > len(start) else None


def _path_of(rng: random.Random, length: int) -> str | None:
    return "/" + _letters(rng, length - 1) if length else ""


def _regex_of(rng: random.Random, length: int) -> str | None:
    return _letters(rng, length)


def _relative_pointer_of(rng: random.Random, length: int) -> str | None:
    return "0" + (_path_of(rng, length - 1) or "") if length else None


def _fixed(_: random.Random, __: int) -> str | None:
    return None


# --------------------------------------------------------------------------------------------------- judging


def _is(expression: str) -> Callable[[str], bool]:
    compiled = re.compile(expression)
    return lambda text: compiled.fullmatch(text) is not None


def _is_date(text: str) -> bool:
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        return False
    try:
        datetime.date.fromisoformat(text)
    except ValueError:
        return False
    return True


_is_time = _is(r"([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)(\.[0-9]+)?([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])?")


def _is_datetime(text: str) -> bool:
    return text[10:11] in {"T", "t"} and _is_date(text[:10]) and _is_time(text[11:])


def _is_address(kind: Callable[[str], object]) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        try:
            kind(text)
        except ValueError:
            return False
        return "%" not in text

    return check


def _is_regex(text: str) -> bool:
    try:
        matches(text, "", ())
    except ValueError:
        return False
    return True


_is_duration = _is(
    r"P(?!$)([0-9]+Y)?([0-9]+M)?([0-9]+D)?(T(?=[0-9])([0-9]+H)?([0-9]+M)?([0-9]+(\.[0-9]+)?S)?)?|P[0-9]+W"
)
_is_hostname = _is(
    r"(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*"
)
_is_uuid = _is(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_is_uri = _is(r"[A-Za-z][A-Za-z0-9+.-]*:([!#$&'()*+,./:;=?@\[\]_~A-Za-z0-9-]|%[0-9A-Fa-f]{2})*")
_is_reference = _is(r"([!#$&'()*+,./:;=?@\[\]_~A-Za-z0-9-]|%[0-9A-Fa-f]{2})*")
_is_email = _is(r"[^\s@]+@[^\s@]+")
_no_space = _is(r"[^\s<>\"\\^`]*")
_is_pointer = _is(r"(/([^~/]|~[01])*)*")
_is_relative_pointer = _is(r"(0|[1-9][0-9]*)(#|(/([^~/]|~[01])*)*)")

_Make = Callable[[random.Random], str]
_MakeOf = Callable[[random.Random, int], str | None]

FORMATS: Final[dict[str, tuple[_Make, _MakeOf, Callable[[str], bool]]]] = {
    "date": (_date, _fixed, _is_date),
    "date-time": (_datetime, _datetime_of, _is_datetime),
    "duration": (_duration, _duration_of, _is_duration),
    "email": (_email, _email_of, _is_email),
    "hostname": (_hostname, _hostname_of, _is_hostname),
    "idn-email": (_email, _email_of, _is_email),
    "idn-hostname": (_hostname, _hostname_of, _no_space),
    "ipv4": (_ipv4, _ipv4_of, _is_address(ipaddress.IPv4Address)),
    "ipv6": (_ipv6, _ipv6_of, _is_address(ipaddress.IPv6Address)),
    "iri": (_uri, _uri_of, _no_space),
    "iri-reference": (_reference, _path_of, _no_space),
    "json-pointer": (_pointer, _path_of, _is_pointer),
    "regex": (_regex, _regex_of, _is_regex),
    "relative-json-pointer": (_relative_pointer, _relative_pointer_of, _is_relative_pointer),
    "time": (_time, _time_of, _is_time),
    "uri": (_uri, _uri_of, _is_uri),
    "uri-reference": (_reference, _path_of, _is_reference),
    "uri-template": (_template, _uri_of, _no_space),
    "uuid": (_uuid, _fixed, _is_uuid),
}
"""By name: an ordinary value, one of a given length (None if there is none), and the judgement."""


def fits(name: str, text: str) -> bool:
    """Whether the text is in the format; an unknown format allows everything."""
    return name not in FORMATS or FORMATS[name][2](text)


def formatted(rng: random.Random, name: str, low: int, high: int) -> str | None:
    """A value of this (known) format, of `low` to `high` characters; None if none is known."""
    make, make_of, _ = FORMATS[name]
    for _attempt in range(8):
        text = make(rng)
        if low <= len(text) <= high:
            return text
    for length in range(low, min(high, low + 40) + 1):
        sized = make_of(rng, length)
        if sized is not None:
            return sized
    return None
