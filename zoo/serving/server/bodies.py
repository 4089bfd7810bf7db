"""Bodies of HTTP requests: read within limits of size and time, whatever they claim to be."""

import asyncio
import zlib

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from zoo.serving.server.errors import invalid

_MEMBERS = 16  # gzip files behind each other in one body
_PLAIN = ("", "identity")
_PACKED = ("gzip", "x-gzip", "deflate")


async def read_body(request, most, seconds):
    """Read the body of a request, and unpack what is packed.

    Args:
        request: `aiohttp.web.Request` of an application with `client_max_size`, which bounds what is sent.
        most: Most bytes after unpacking.
        seconds: Time within which it must have come.

    Returns:
        Bytes.

    Raises:
        ServingError: It is not what its `Content-Encoding` says.
        HTTPRequestEntityTooLarge: It is larger.
        HTTPRequestTimeout: It did not come in time.

    Example:

        body = await read_body(request, 2**26, 30)
    """
    encoding = request.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in (*_PLAIN, *_PACKED):
        raise invalid(f"Content-Encoding must be gzip, deflate or identity. Received: {encoding[:100]!r}")
    try:
        async with asyncio.timeout(seconds):
            body = await request.read()
    except TimeoutError:
        raise web.HTTPRequestTimeout(text=f"The body did not come within {1000 * seconds:.0f} ms") from None
    except (web.RequestPayloadError, HttpProcessingError, ConnectionError) as error:  # or its client has gone
        raise invalid(f"The body cannot be read: {error}") from None
    return body if encoding in _PLAIN else await asyncio.to_thread(unpack, body, encoding, most)


def unpack(body, encoding, most):
    """Unpack a body, as far as it is allowed to reach.

    Args:
        body: Bytes.
        encoding: "gzip", "x-gzip" or "deflate".
        most: Most bytes to return.

    Returns:
        Bytes.

    Raises:
        ServingError: It is not of that kind, or ends too early.
        HTTPRequestEntityTooLarge: It is larger.

    Example:

        unpack(gzip.compress(b"{}"), "gzip", 1000)  # b"{}"
    """
    parts, size, members = [], 0, 0
    bits = 31 if encoding != "deflate" else 15 if body[:1] and body[0] & 15 == zlib.DEFLATED else -15
    while body or not members:
        members += 1
        stream = zlib.decompressobj(bits)
        try:
            parts.append(stream.decompress(body, most - size + 1))
        except zlib.error as error:
            raise invalid(f"The body is not what Content-Encoding: {encoding} says: {error}") from None
        size += len(parts[-1])
        if size > most:
            raise web.HTTPRequestEntityTooLarge(max_size=most, actual_size=size)
        if not stream.eof or members > _MEMBERS:
            raise invalid(f"The body is not what Content-Encoding: {encoding} says: it is cut short or in pieces")
        body = stream.unused_data
    return b"".join(parts)
