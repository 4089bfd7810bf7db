"""Who may ask over HTTP: not a foreign web page in the browser of whoever runs the server.

A page of any site may make a browser send requests to this machine: plain ones without asking, and after its own name
was made to point here (DNS rebinding) all of them, answers included. Programs such as curl send no Origin, whatever
the type of their content, and are served as ever.
"""

import functools
import ipaddress
from urllib.parse import urlsplit

from aiohttp import web

_LONGEST = 300  # characters of a Host; names of the Internet have 253


def check_request(request, names=frozenset()):
    """Refuse a request that a foreign page made.

    Args:
        request: `aiohttp.web.Request`.
        names: Frozen set of names, beside localhost, under which browsers may reach the loopback address.

    Raises:
        HTTPForbidden: It came to the loopback address under another name, or from a page of another address.
        HTTPUnsupportedMediaType: A page posted something else than JSON, which browsers send without asking.

    Example:

        check_request(request, frozenset({"models.internal"}))
    """
    headers = request.headers
    if _is_loopback(request.transport):
        for host in headers.getall("Host", ()):
            if len(host) > _LONGEST or not _is_local(host, names):
                raise web.HTTPForbidden(
                    text=f"The Host of a request to this machine's own address must be localhost, an IP address, or a "
                    f"name given with --allowed-hosts. Received: {host[:100]!r}"
                )
    for origin in headers.getall("Origin", ()):
        if _place_of(origin).lower() != headers.get("Host", "").lower() or not _place_of(origin):
            raise web.HTTPForbidden(
                text=f"A page may only ask the server that it came from. Received a request from {origin[:100]!r}"
            )
    if request.method in ("GET", "HEAD"):
        return
    if headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
        raise web.HTTPForbidden(text="A page may only ask the server that it came from. Received one of another site")
    if "Origin" in headers and request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType(
            text=f"A page must send Content-Type: application/json. Received: {request.content_type[:100]!r}"
        )


def _is_loopback(transport):
    address = transport.get_extra_info("sockname") if transport else None
    return isinstance(address, tuple) and _is_own(address[0])


@functools.lru_cache(100)
def _is_own(address):
    ip = _ip(address)
    return ip is not None and (getattr(ip, "ipv4_mapped", None) or ip).is_loopback


@functools.lru_cache(100)
def _is_local(host, names):
    """Whether no name server can have made the name of a Host point here."""
    name = _name_of(f"//{host}")
    return name == "localhost" or name.endswith(".localhost") or name in names or _ip(name) is not None


def _place_of(origin):
    """Host and port of an Origin; "" if it has none, such as `null`."""
    try:
        return urlsplit(origin).netloc
    except ValueError:  # brackets that do not close
        return ""


def _name_of(address):
    try:
        return (urlsplit(address).hostname or "").rstrip(".")
    except ValueError:  # brackets that do not close
        return ""


def _ip(text):
    try:
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
