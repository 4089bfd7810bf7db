"""Bodies of HTTP requests: read within limits of size and time, whatever they claim to be."""

import asyncio
import zlib

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from zoo.serving.server.errors import invalid

_MEMBERS = 16  # gzip files behind each other in one body
_PLAIN = ("", "identity")
_PACKED = ("gzip", "x-gzip", "deflate")


class Room:
    """Memory for the bodies that have come, in whole or in part, shared by all requests; a mere claim takes none.

    A body may hold `each` bytes beside it, so that small ones wait for nobody. When it is full, one body at a time may
    go beyond it: bodies that all are there in part cannot stop each other, and they hold at most
    `most + longest body` together.

    Args:
        most: Bytes of all bodies together.
        each: Bytes of each body that are not counted.

    Example:

        body = await room.receive(request, 2**26, held)
    """

    def __init__(self, most, each):
        self._left, self._each, self._beyond, self._freed = most, each, None, asyncio.Event()

    async def receive(self, request, most, held):
        """Receive the body of a request, and hold its memory.

        Args:
            request: `aiohttp.web.Request`.
            most: Most bytes of it.
            held: `contextlib.ExitStack`, which gives the memory back when it is closed.

        Returns:
            Bytes.

        Raises:
            HTTPRequestEntityTooLarge: It is larger.
        """
        body, share = bytearray(), _Share()
        held.callback(self._give_back, share)
        while part := await request.content.readany():
            body += part
            if len(body) > most:
                raise web.HTTPRequestEntityTooLarge(max_size=most, actual_size=len(body))
            if (size := len(body) - self._each - share.size) > 0:
                await self._take(share, size)
        return bytes(body)

    async def _take(self, share, size):
        while self._left < size and self._beyond not in (None, share):
            self._freed.clear()
            await self._freed.wait()
        if self._left < size:
            self._beyond = share
        self._left -= size
        share.size += size

    def _give_back(self, share):
        self._left += share.size
        if self._beyond is share:
            self._beyond = None
        self._freed.set()


class _Share:
    """What one body holds."""

    size = 0


def encoding_of(request):
    """Return how the body of a request is packed: "gzip", "x-gzip" or "deflate", or "" if it is not.

    Raises:
        ServingError: It is packed otherwise.

    Example:

        encoding_of(request)  # "gzip"
    """
    encoding = request.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in (*_PLAIN, *_PACKED):
        raise invalid(f"Content-Encoding must be gzip, deflate or identity. Received: {encoding[:100]!r}")
    return "" if encoding in _PLAIN else encoding


async def read_body(request, most, deadline, room, held):
    """Read the body of a request, as it was sent.

    Args:
        request: `aiohttp.web.Request`.
        most: Most bytes.
        deadline: Time of the event loop at which it must have come.
        room: `Room`.
        held: `contextlib.ExitStack`, which gives the room back when it is closed.

    Returns:
        Bytes.

    Raises:
        ServingError: It cannot be read.
        HTTPRequestEntityTooLarge: It is larger.
        HTTPRequestTimeout: It did not come in time, or there was no room for it.

    Example:

        with contextlib.ExitStack() as held:
            body = await read_body(request, 2**26, asyncio.get_running_loop().time() + 30, room, held)
    """
    try:
        async with asyncio.timeout_at(deadline):
            return await room.receive(request, most, held)
    except TimeoutError:
        raise web.HTTPRequestTimeout(text="The body did not come in time, or there was no room for it") from None
    except (web.RequestPayloadError, HttpProcessingError, ConnectionError) as error:  # or its client has gone
        raise invalid(f"The body cannot be read: {error}") from None


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
