"""A connection to both APIs of TF Serving that returns failures instead of raising them: gRPC, and REST by urllib."""

import urllib.error
import urllib.request
from dataclasses import dataclass

import grpc

from zoo.serving.client import connect, split_address

_SECONDS = 60  # longest time to wait for an answer


@dataclass(frozen=True)
class Failure:
    """How a gRPC call failed.

    Attributes:
        code: Name of the status code, such as `"NOT_FOUND"`.
        details: The server's message.
    """

    code: str
    details: str


class Connection:
    """A connection to a server of TF Serving's API.

    Args:
        target: `host:port` of the gRPC API.
        rest_target: `host:port` of the REST API; None means the same host, and the port after that of gRPC.

    Raises:
        ValueError: A target is not of the form host:port.

    Example:

        with Connection("localhost:8500") as connection:
            status, body = connection.send("GET", "/v1/models/wgan_gp")
    """

    def __init__(self, target, rest_target=None):
        """Prepare the connection; it is made at the first request."""
        host, port = split_address(target)
        self.target = target
        self.rest_target = rest_target or f"{host}:{port + 1}"
        split_address(self.rest_target)
        self._channel, *self._stubs = connect(target, ("grpc.enable_http_proxy", 0))
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def call(self, method, request):
        """Call a method of the gRPC API.

        Args:
            method: `"Predict"`, `"GetModelMetadata"` or `"GetModelStatus"`.
            request: Its request message.

        Returns:
            The response message, or a `Failure`.

        Raises:
            ConnectionError: No server answers.

        Example:

            connection.call("Predict", request).outputs
        """
        stub = next(stub for stub in self._stubs if hasattr(stub, method))
        try:
            return getattr(stub, method)(request, timeout=_SECONDS)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.UNAVAILABLE:
                raise ConnectionError(
                    f"No gRPC server answers at {self.target} ({error.details()}). Start one, or correct --target."
                ) from None
            return Failure(error.code().name, error.details())

    def send(self, method, path, body=None):
        """Send a request to the REST API.

        Args:
            method: `"GET"` or `"POST"`.
            path: Path, such as `/v1/models/wgan_gp`.
            body: Text, or None.

        Returns:
            `(HTTP status, text of the answer)`.

        Raises:
            ConnectionError: No server answers.

        Example:

            connection.send("POST", "/v1/models/wgan_gp:predict", '{"instances": [{"seed": 0}]}')
        """
        request = urllib.request.Request(
            f"http://{self.rest_target}{path}",
            data=None if body is None else body.encode(),
            headers={"Content-Type": "application/json"},
            method=method,
        )
        try:
            with self._opener.open(request, timeout=_SECONDS) as response:
                return response.status, response.read().decode(errors="replace")
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode(errors="replace")
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise ConnectionError(
                f"No REST server answers at {self.rest_target} ({reason}). Start one, or correct --rest."
            ) from None

    def close(self):
        """Close the connection."""
        self._channel.close()

    def __enter__(self):
        """Return the connection itself."""
        return self

    def __exit__(self, *_):
        """Close the connection."""
        self.close()
