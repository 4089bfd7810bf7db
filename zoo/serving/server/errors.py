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
_CODES = {code.value[0]: code for code in StatusCode}


class ServingError(Exception):
    """A request that is answered with an error.

    Attributes:
        code: `grpc.StatusCode`.
        message: What the client reads.
    """

    def __init__(self, code, message):
        super().__init__(message)
        self.code, self.message = code, message

    @property
    def http_status(self):
        """Status of an HTTP answer; 500 where TF Serving knows no better."""
        return _HTTP.get(self.code, 500)


def invalid(message):
    """Return the error of a request that is wrong in itself."""
    return ServingError(StatusCode.INVALID_ARGUMENT, message)


def from_tensorflow(error):
    """Return what to answer for an error that TensorFlow reported while it ran.

    Args:
        error: `zoo.serving.loader.library.TensorFlowError`.
    """
    return ServingError(_CODES.get(error.code, StatusCode.UNKNOWN), error.reason)
