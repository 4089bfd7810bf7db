"""Errors as TF Serving answers them: a code of gRPC, its status in HTTP, and a message."""

from grpc import StatusCode

# `ToHTTPStatusCode` of tensorflow_serving/model_servers/http_server.cc
_HTTP = {
    StatusCode.CANCELLED: 499,
    StatusCode.INVALID_ARGUMENT: 400,
    StatusCode.FAILED_PRECONDITION: 400,
    StatusCode.OUT_OF_RANGE: 400,
    StatusCode.UNAUTHENTICATED: 401,
    StatusCode.PERMISSION_DENIED: 403,
    StatusCode.NOT_FOUND: 404,
    StatusCode.ABORTED: 409,
    StatusCode.ALREADY_EXISTS: 409,
    StatusCode.RESOURCE_EXHAUSTED: 429,
    StatusCode.UNIMPLEMENTED: 501,
    StatusCode.UNAVAILABLE: 503,
    StatusCode.DEADLINE_EXCEEDED: 504,
}
# Characters of a message, which gRPC sends in a header of 8 kB: each character beyond ASCII may take 12 of them.
_LONGEST, _LONGEST_ENCODED = 2400, 600
_CODES = {code.value[0]: code for code in StatusCode}


class ServingError(Exception):
    """A request that is answered with an error.

    Attributes:
        code: `grpc.StatusCode`.
        message: What the client reads; a longer one, such as with a long name that it sent, is cut in its middle.
    """

    def __init__(self, code, message):
        self.code, self.message = code, _cut(message)
        super().__init__(self.message)

    @property
    def http_status(self):
        """Status of an HTTP answer; 500 where TF Serving knows no better."""
        return _HTTP.get(self.code, 500)


def invalid(message):
    """Return the error of a request that is wrong in itself."""
    return ServingError(StatusCode.INVALID_ARGUMENT, message)


def late(seconds):
    """Return the error of a request that has used up its time."""
    return ServingError(StatusCode.DEADLINE_EXCEEDED, f"The request took longer than {1000 * seconds:.0f} ms")


def from_tensorflow(error):
    """Return what to answer for an error that TensorFlow reported while it ran.

    Args:
        error: `zoo.serving.loader.library.TensorFlowError`.
    """
    return ServingError(_CODES.get(error.code, StatusCode.UNKNOWN), error.reason)


def _cut(message):
    most = _LONGEST if message.isascii() else _LONGEST_ENCODED
    return message if len(message) <= most else f"{message[: most // 2]} … {message[-most // 2 + 10 :]}"
