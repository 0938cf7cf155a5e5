"""HTML pages as proxies, content delivery networks and websites answer them where JSON or a stream was due."""

from __future__ import annotations

from http import HTTPStatus

__all__ = ["page"]

_EDGE = {
    520: "Web server is returning an unknown error",
    521: "Web server is down",
    522: "Connection timed out",
    523: "Origin is unreachable",
    524: "A timeout occurred",
    525: "SSL handshake failed",
    526: "Invalid SSL certificate",
    530: "Origin error",
}
"""Cloudflare's own statuses and their names."""

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="UTF-8">
<title>{title}</title>
<style>body {{ font-family: sans-serif; margin: 3em auto; max-width: 40em }}</style>
</head>
<body>
{body}
</body>
</html>
"""


def phrase(status: int) -> str:
    """The name of a status: the registered one, Cloudflare's, or a word for its class."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return _EDGE.get(status, "Overloaded" if status == 529 else "Error")


def page(status: int) -> bytes:
    """The page: a sign-in page for a success, an error page of a proxy for all else."""
    if status < 400:
        body = (
            "<h1>Sign in to continue</h1>\n"
            '<form method="post" action="/login">\n'
            '<input name="user"> <input name="password" type="password"> <button>Sign in</button>\n'
            "</form>"
        )
        return _PAGE.format(title="Sign in", body=body).encode()
    name = phrase(status)
    body = (
        f"<h1>{name} <small>Error code {status}</small></h1>\n"
        "<p>The proxy in front of this service got no valid answer from it. Please try again in a few minutes.</p>\n"
        "<hr>\n<p>Ray ID: 8f2c1d7e9a3b4c5d</p>"
    )
    return _PAGE.format(title=f"{status}: {name}", body=body).encode()
