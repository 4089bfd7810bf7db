"""What a stranger sends costs the others nothing: no request of theirs, little memory, little time, no file."""

import concurrent.futures
import contextlib
import gzip
import http.client
import json
import random
import resource
import socket
import threading
import time
import tracemalloc
import zlib
from pathlib import Path

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2

from tests.helpers.servers import Server
from zoo.serving import Client, RequestError, run_native
from zoo.serving.formats import json_tensors
from zoo.serving.formats.protos import tensor_pb2
from zoo.serving.formats.tensors import to_array, varint
from zoo.serving.server.grpc_api import check_tensors
from zoo.serving.server.wire import count_fields

MB = 2**20
LIMIT = 8  # MiB that a request may have


def save(folder):
    """A model of signatures that need no batch, too, which `publish` would refuse."""
    module = tf.Module()

    def spec(shape, dtype="float32"):
        return tf.TensorSpec(shape, dtype)

    def decode(photo):
        return {"shape": tf.map_fn(lambda one: tf.shape(tf.io.decode_png(one)), photo, fn_output_signature=tf.int32)}

    def picture(side):
        return {"pixels": tf.fill([tf.shape(side)[0], side[0], side[0], 3], tf.constant(200, tf.uint8))}

    def kinds(a, b, c):
        return {"a": a, "b": b, "c": c}

    functions = {
        "serving_default": (lambda x: {"y": 2 * x}, [spec((None, 3), "float32")], ["x"]),
        "decode": (decode, [spec((None,), "string")], ["photo"]),
        "picture": (picture, [spec((None,), "int32")], ["side"]),
        "kinds": (kinds, [spec((None,), "int64"), spec((None,), "string"), spec((None,), "bool")], ["a", "b", "c"]),
        "scalar": (lambda x: {"y": 2 * x}, [spec(())], ["x"]),
        "words": (lambda x: {"y": tf.strings.upper(x)}, [spec((), "string")], ["x"]),
        "mean": (lambda x: {"y": tf.reduce_mean(x)}, [spec((None,))], ["x"]),
        "half": (lambda x: {"y": tf.cast(x, "float16")}, [spec((None,))], ["x"]),
    }
    signatures = {}
    for name, (function, specs, names) in functions.items():
        named = [tf.TensorSpec(one.shape, one.dtype, name) for one, name in zip(specs, names, strict=True)]
        signatures[name] = tf.function(function).get_concrete_function(*named)
    tf.saved_model.save(module, str(folder), signatures=signatures)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    base = tmp_path_factory.mktemp("strangers")
    save(base / "m" / "1")
    return base


@pytest.fixture(scope="module")
def server(base):
    with Server(base, max_request_mb=LIMIT) as server:
        yield server
        assert not [event for event in server.log if "fault" in event["event"]], server.log
        assert server.stop() == 0


def peak(server):
    """The most memory that the server has had, in bytes."""
    lines = Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def send(server, data, method="Predict", seconds=60):
    """Code of the answer to a serialized request, and its details or bytes."""
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(server.grpc, options) as channel:
        try:
            return "OK", channel.unary_unary(f"/tensorflow.serving.PredictionService/{method}")(data, timeout=seconds)
        except grpc.RpcError as error:
            return error.code().name, error.details()


def ask(server, body, path="/v1/models/m:predict", method="POST", **headers):
    """Status and JSON of the answer to a request with some headers."""
    connection = http.client.HTTPConnection(server.rest, timeout=60)
    with contextlib.closing(connection):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, response.read()


def request(signature="", name="m", **tensors):
    message = predict_pb2.PredictRequest()
    message.model_spec.name, message.model_spec.signature_name = name, signature
    for key, tensor in tensors.items():
        message.inputs[key].CopyFrom(tensor)
    return message.SerializeToString()


def tensor(dtype, *shape, **fields):
    message = tensor_pb2.TensorProto(dtype=dtype, **fields)
    message.tensor_shape.SetInParent()
    for size in shape:
        message.tensor_shape.dim.add().size = size
    return message


# S1: one bad row


def test_two_of_eight_clients_send_no_image_and_the_others_notice_nothing(server):
    """Without batching, each request is answered by what it holds; with it, too."""
    png = tf.io.encode_png(np.zeros((4, 5, 3), "uint8")).numpy()
    codes = {True: set(), False: set()}

    def one(number):
        good = number > 1
        data = request("decode", photo=tensor(7, 1, string_val=[png if good else b"no image"]))
        for _ in range(25):
            codes[good].add(send(server, data)[0])

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(one, range(8)))
    assert codes == {True: {"OK"}, False: {"INVALID_ARGUMENT"}}


# S2: a few bytes that ask for much

FEW = {
    "40 inputs that no signature has": ("", {f"z{n}": tensor(1, 2**21, float_val=[1]) for n in range(40)}),
    "one input and 39 others": ("", {"x": tensor(1, 1, 3), **{f"z{n}": tensor(1, 2**21) for n in range(39)}}),
    "one value for all": ("", {"x": tensor(1, 2**20, 3, float_val=[1])}),
    "no value at all": ("", {"x": tensor(1, 2**40, 3)}),
    "a product beyond 64 bits": ("", {"x": tensor(1, 2**62, 2**62, 2**62)}),
    "a negative size": ("", {"x": tensor(1, -1, 3)}),
    "unknown rank": ("", {"x": tensor_pb2.TensorProto(dtype=1, tensor_shape={"unknown_rank": True})}),
    "a thousand dimensions": ("", {"x": tensor(1, *[2] * 1000)}),
    "another dtype": ("", {"x": tensor(2, 2**20, 3, double_val=[1])}),
    "half precision": ("", {"x": tensor(19, 2**20, 3, half_val=[1])}),
    "content of another length": ("", {"x": tensor(1, 2**10, 3, tensor_content=b"1234")}),
    "content of no length that fits": ("", {"x": tensor(1, 1, 3, tensor_content=bytes(11))}),
    "a string repeated": ("decode", {"photo": tensor(7, 2**18, string_val=[bytes(1000)])}),
    "empty strings": ("decode", {"photo": tensor(7, 2**24)}),
    "strings as content": ("decode", {"photo": tensor(7, 1, tensor_content=b"\x01a")}),
    "three inputs within the limit each": (
        "kinds",
        {"a": tensor(9, 700_000), "b": tensor(7, 200_000), "c": tensor(10, 5_000_000)},
    ),
    "an integer beyond its dtype": ("picture", {"side": tensor(3, 1, int64_val=[1])}),
}


@pytest.mark.parametrize("case", [case for case in FEW if case != "an integer beyond its dtype"])
def test_a_small_message_that_asks_for_much_is_refused_before_anything_is_made(server, case):
    signature, tensors = FEW[case]
    data, before = request(signature, **tensors), peak(server)
    assert len(data) < 10_000
    started = time.perf_counter()
    for _ in range(3):
        code, details = send(server, data)
        assert code == "INVALID_ARGUMENT" and len(details) < 3000, details
    assert peak(server) - before < 50 * MB  # 40 tensors of 2**21 floats are 320
    assert time.perf_counter() - started < 10


def field(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data


def many(part, named=True):
    """A request of 6 MB, made of copies of one short field of a tensor, or of inputs."""
    tensor = part * (6 * MB // len(part))
    return field(1, field(1, b"m")) + (field(2, field(1, b"x") + field(2, tensor)) if named else tensor)


PARTS = {
    "dimensions": many(field(2, field(2, b"") * MB)),
    "shapes": many(field(2, b"")),
    "resources": many(field(14, b"")),
    "variants": many(field(15, b"")),
    "strings": many(field(8, b"")),
    "inputs": field(1, field(1, b"m")) + b"".join(field(2, field(1, b"%06d" % n)) for n in range(600_000)),
    "filters": many(field(3, b""), named=False),
    "numbers that are not packed": many(b"\x38\x01"),
    "fields that nobody knows": many(field(100, b"")),
    "groups": many(b"\x0b"),
}


@pytest.mark.parametrize("part", PARTS)
def test_messages_that_grow_when_they_are_parsed_are_refused_before(server, part):
    """An empty message takes two bytes on the wire and a hundred in memory: 6 MB would be 300."""
    before = peak(server)
    code, details = send(server, PARTS[part])
    assert code == "RESOURCE_EXHAUSTED" and "fields" in details
    assert peak(server) - before < 60 * MB


def test_fields_are_counted_as_they_were_written():
    """By hand: model_spec, name; an input, its key, its tensor; dtype, shape, two dimensions, their sizes; values."""
    message = predict_pb2.PredictRequest()
    message.model_spec.name = "m"
    message.inputs["x"].CopyFrom(tensor(1, 2, 3, float_val=[1, 2, 3]))
    data = message.SerializeToString()
    assert count_fields(data, message.DESCRIPTOR, 100) == 2 + 3 + 2 + 2 * 2 + 1
    assert count_fields(data, message.DESCRIPTOR, 5) == 6
    for end in range(len(data)):
        assert count_fields(data[:end], message.DESCRIPTOR, 100) <= 12


@pytest.mark.parametrize("case", FEW)
def test_rest_has_no_way_to_ask_for_more_than_it_sends(server, case):
    """JSON has no shape beside its values: whatever the names, memory grows with the bytes."""
    body = json.dumps({"signature_name": FEW[case][0], "inputs": {name: [[0]] for name in FEW[case][1]}})
    assert ask(server, body)[0] == 400


def random_tensor(chance):
    message = tensor_pb2.TensorProto(dtype=chance.choice([1, 2, 3, 4, 6, 7, 9, 10, 14, 19, 77]))
    for _ in range(chance.choice([0, 1, 1, 2, 3, 70])):
        message.tensor_shape.dim.add().size = chance.choice([-1, 0, 1, 2, 3, 1000, 2**20, 2**31, 2**62])
    fields = {"float_val": 1.0, "double_val": 1.0, "int_val": 1, "int64_val": 1, "bool_val": True, "half_val": 1}
    for name, value in chance.sample(sorted(fields.items()), 2):
        getattr(message, name).extend([value] * chance.choice([0, 1, 5]))
    message.string_val.extend([bytes(chance.choice([0, 10, 100_000]))] * chance.choice([0, 1, 3]))
    if chance.random() < 0.3:
        message.tensor_content = bytes(chance.choice([1, 4, 12, 4000]))
    return message


def test_whatever_tensors_are_sent_memory_stays_within_the_limit():
    """What passes takes what the checks say, what they refuse takes nothing. NumPy tells tracemalloc what it takes."""
    chance, limit, passed = random.Random(0), MB, 0
    names = {1: "float32", 2: "float64", 3: "int32", 4: "uint8", 6: "int8", 7: "string", 9: "int64", 10: "bool"}
    tracemalloc.start()
    try:
        for _ in range(3000):
            sent = {name: random_tensor(chance) for name in chance.sample("xyz", chance.randint(1, 3))}
            specs = {name: (names.get(sent[name].dtype, "float32"), None) for name in sent}
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            try:
                size = check_tensors("s", sent, specs, limit)
            except ValueError as error:
                assert len(str(error)) < 3000
                assert tracemalloc.get_traced_memory()[1] - before < 400_000  # one string, the error and its traceback
                continue
            arrays = [to_array(proto) for proto in sent.values()]
            passed += 1
            assert size <= limit and sum(array.nbytes for array in arrays) <= size
            assert tracemalloc.get_traced_memory()[1] - before < 4 * limit
    finally:
        tracemalloc.stop()
    assert passed > 300


# S4, D13: bodies


def zeros(megabytes):
    """A gzip file of that many megabytes of zeros, made without holding them."""
    packer = zlib.compressobj(9, wbits=31)
    return b"".join(packer.compress(bytes(MB)) for _ in range(megabytes)) + packer.flush()


BODIES = {
    "packed zeros": (413, zeros(300), "gzip"),
    "packed zeros, zlib": (413, zlib.compress(bytes(100 * MB)), "deflate"),
    "members without end": (400, gzip.compress(b"") * 10_000, "gzip"),
    "empty lists": (413, b'{"inputs": [' + b"[]," * (7 * MB // 3) + b"[]]}", ""),
    "empty objects": (413, b'{"instances": [' + b"{}," * (7 * MB // 3) + b"{}]}", ""),
    "lists in lists": (413, b'{"inputs": ' + b"[" * 3 * MB + b"]" * 3 * MB + b"}", ""),
    "some lists in lists": (400, b'{"inputs": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", ""),
    "lists that do not end": (400, b'{"inputs": ' + b"[" * 100_000, ""),
    "objects in objects": (400, b'{"a":' * 100_000 + b"1" + b"}" * 100_000, ""),
    "more than a request may have": (413, b" " * (LIMIT * MB + 1), ""),
    "no gzip": (400, b'{"inputs": [[1, 2, 3]]}', "gzip"),
    "no deflate": (400, b'{"inputs": [[1, 2, 3]]}', "deflate"),
    "half a gzip": (400, gzip.compress(b'{"inputs": [[1, 2, 3]]}')[:-9], "gzip"),
    "nothing, packed": (400, b"", "gzip"),
    "an encoding that nobody speaks": (400, b'{"inputs": [[1, 2, 3]]}', "br"),
    "digits without end": (400, b'{"inputs": [[' + b"9" * 5000 + b", 2, 3]]}", ""),
    "text without end": (400, b'{"inputs": "' + b'\\"' * MB, ""),
}


@pytest.mark.parametrize("case", BODIES)
def test_bodies_are_bounded_while_they_are_read(server, case):
    status, body, encoding = BODIES[case]
    before = peak(server)
    received, answer = ask(server, body, **({"Content_Encoding": encoding} if encoding else {}))
    assert (received, list(json.loads(answer))) == (status, ["error"]), answer
    assert peak(server) - before < 150 * MB  # 8 MiB of JSON may take 64, beside the body itself


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress, lambda body: zlib.compress(body)[2:-4]])
def test_packed_bodies_are_read(server, pack):
    encoding = "gzip" if pack is gzip.compress else "deflate"
    assert ask(server, pack(b'{"inputs": [[1, 2, 3]]}'), Content_Encoding=encoding) == (
        200,
        b'{"outputs":[[2.0,4.0,6.0]]}',
    )
    two = gzip.compress(b'{"inputs": ') + gzip.compress(b"[[1, 2, 3]]}")  # RFC 1952: members follow each other
    assert ask(server, two, Content_Encoding="gzip")[0] == 200


def test_a_body_that_breaks_off_is_the_fault_of_who_sent_it(server):
    host, _, port = server.rest.partition(":")
    for body in (b"zz\r\n{}\r\n0\r\n\r\n", b"5\r\n{}", b"ffffffffffffffffffffff\r\n{}"):
        with socket.create_connection((host, int(port)), timeout=10) as one:
            head = f"POST /v1/models/m:predict HTTP/1.1\r\nHost: {server.rest}\r\nTransfer-Encoding: chunked\r\n\r\n"
            one.sendall(head.encode() + body)
            one.shutdown(socket.SHUT_WR)
            answer = one.makefile("rb").read()
            assert not answer or answer.startswith(b"HTTP/1.1 400") or b" 400 " in answer[:20], answer


def longest_wait(server, function):
    """Seconds that `function` takes, and the longest that another client waits for an answer meanwhile."""
    waits, stop = [], threading.Event()
    data = request(x=tensor(1, 1, 3, float_val=[1]))

    def others():
        with grpc.insecure_channel(server.grpc) as channel:
            call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
            while not stop.is_set():
                started = time.perf_counter()
                call(data)
                waits.append(time.perf_counter() - started)
                time.sleep(0.005)

    thread = threading.Thread(target=others)
    thread.start()
    time.sleep(0.2)
    waits.clear()
    started = time.perf_counter()
    try:
        return function(), time.perf_counter() - started, max(waits, default=0)
    finally:
        stop.set()
        thread.join()


def test_a_large_answer_of_bytes_is_written_beside_the_others(server):
    """4 megapixels as uint8 over gRPC, which TF Serving and so we write as integers of one or two bytes."""
    data = request("picture", side=tensor(3, 1, int_val=[2000]))
    (code, answer), seconds, waited = longest_wait(server, lambda: send(server, data))
    assert code == "OK" and waited < max(0.5 * seconds, 0.5)
    pixels = predict_pb2.PredictResponse.FromString(answer).outputs["pixels"]
    assert len(pixels.int_val) == 2000 * 2000 * 3 and set(pixels.int_val[:100]) == {200}


def test_a_large_answer_in_json_is_written_in_parts(server):
    body = json.dumps({"signature_name": "picture", "inputs": [1000]})
    (status, answer), seconds, waited = longest_wait(server, lambda: ask(server, body))
    assert (
        status == 200
        and answer == b'{"outputs":[[' + b",".join([b"[" + b",".join([b"[200,200,200]"] * 1000) + b"]"] * 1000) + b"]]}"
    )
    assert waited < max(0.5 * seconds, 0.5)


# S5: pages of other sites

PAGES = {
    "curl": (200, {"Content_Type": "application/x-www-form-urlencoded"}),
    "a program without a type": (200, {}),
    "the page itself": (200, {"Origin": "http://{host}", "Content_Type": "application/json"}),
    "the page itself, says the browser": (200, {"Sec_Fetch_Site": "same-origin"}),
    "localhost": (200, {"Host": "localhost:8501"}),
    "a forwarded port": (200, {"Host": "127.0.0.1:9999"}),
    "another address": (200, {"Host": "[::1]:80"}),
    "a proxy that was named": (200, {"Host": "models.internal"}),
    "a page of elsewhere": (403, {"Origin": "http://evil.example", "Content_Type": "text/plain"}),
    "a page of another port": (403, {"Origin": "http://localhost:1", "Content_Type": "application/json"}),
    "a page without an origin": (403, {"Origin": "null"}),
    "a form of elsewhere": (403, {"Sec_Fetch_Site": "cross-site"}),
    "a name that was made to point here": (403, {"Host": "evil.example:8501"}),
    "a name and its page": (403, {"Host": "evil.example", "Origin": "http://evil.example"}),
    "a name that looks like an address": (403, {"Host": "127.0.0.1.evil.example"}),
    "a name that begins well": (403, {"Host": "localhost.evil.example"}),
    "brackets": (403, {"Host": "[::1"}),
    "a page that sends text": (415, {"Origin": "http://{host}", "Content_Type": "text/plain"}),
    "a page that sends a form": (415, {"Origin": "http://{host}", "Content_Type": "multipart/form-data; boundary=b"}),
}


@pytest.fixture(scope="module")
def careful(base):
    with Server(base, allowed_hosts="models.internal") as server:
        yield server


@pytest.mark.parametrize("case", PAGES)
def test_who_may_ask(careful, case):
    status, headers = PAGES[case]
    headers = {name: value.format(host=careful.rest) for name, value in headers.items()}
    received, answer = ask(careful, b'{"inputs": [[1, 2, 3]]}', **headers)
    assert received == status and (status == 200 or list(json.loads(answer)) == ["error"]), answer
    if status == 403 and "Sec_Fetch_Site" not in headers:  # nothing else is told either
        for path in ("/", "/page/models", "/v1/models/m", "/monitoring/prometheus/metrics"):
            assert ask(careful, None, path, "GET", **headers)[0] == 403


# S8: numbers and connections without end


@pytest.mark.parametrize("digits", [20, 4299, 4300, 4301, 7000])
def test_versions_without_end(server, digits):
    path = f"/v1/models/m/versions/{'9' * digits}"
    for where, method in ((f"{path}:predict", "POST"), (path, "GET"), (f"{path}/metadata", "GET")):
        status, answer = ask(server, b'{"inputs": [[1, 2, 3]]}' if method == "POST" else None, where, method)
        assert status == 400 and "to numeric" in json.loads(answer)["error"]
    assert ask(server, b'{"inputs": [[1, 2, 3]]}', f"/v1/models/m/versions/{'0' * digits}1:predict")[0] == 200


@pytest.mark.exhaustive
def test_connections_that_say_nothing_shut_nobody_out(base):
    """A process may have some files only: the server takes as many as the system allows, and lets go of idle ones."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
    try:
        server = Server(base, idle_seconds=2.0)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    with server, contextlib.ExitStack() as idle:
        host, _, port = server.rest.partition(":")
        silent = [idle.enter_context(socket.create_connection((host, int(port)), timeout=20)) for _ in range(300)]
        for number, one in enumerate(silent):
            one.sendall([b"", b"POST /v1/models/m:predict HTTP/1.1\r\nHost: localhost\r\nX: "][number % 2])
        started = time.perf_counter()
        assert server.ask("/v1/models/m:predict", {"inputs": [[1, 2, 3]]})[0] == 200
        assert time.perf_counter() - started < 10
        for one in silent[-2:]:
            assert one.recv(1000) == b"" or True  # closed, perhaps with a word; a time-out would raise


@pytest.mark.exhaustive
def test_a_reloaded_path_stays_in_the_base_directory(base, tmp_path):
    """`..`, links, relative paths and bytes that no path has; what is refused changes nothing."""
    pytest.importorskip("grpc")
    from google.protobuf import text_format
    from tensorflow_serving.apis import model_management_pb2, model_service_pb2_grpc

    inside, outside = tmp_path / "exports", tmp_path / "outside"
    save(outside / "1")
    inside.mkdir()
    (inside / "link").symlink_to(outside)
    (inside / "circle").symlink_to(inside / "circle")
    (inside / "m").symlink_to(base / "m")  # of its owner, who may
    (inside / "here").mkdir()
    save(inside / "here" / "1")
    (inside / "damaged" / "1").mkdir(parents=True)
    (inside / "damaged" / "1" / "saved_model.pb").write_bytes(b"no")

    def reload(server, *models):
        request = model_management_pb2.ReloadConfigRequest()
        for name, path in models:
            entry = f"config {{ name: {json.dumps(name)} base_path: {json.dumps(str(path))} }}"
            text_format.Merge(f"model_config_list {{ {entry} }}", request.config)
        try:
            with grpc.insecure_channel(server.grpc) as channel:
                model_service_pb2_grpc.ModelServiceStub(channel).HandleReloadConfigRequest(request, timeout=60)
            return "OK", ""
        except grpc.RpcError as error:
            return error.code().name, error.details()

    with Server(inside) as server:
        code, details = reload(server, ("here", inside / "here"))
        assert code == "PERMISSION_DENIED" and "--allow-reload-config" in details
    with Server(inside, allow_reload_config=True) as server:
        for path in (
            outside,
            "/",
            f"{inside}/../outside",
            "/models/../outside",
            "/models/../../outside",
            f"{inside}/link",
            "/models/link",
            "/models/circle",
            "here",
            "../outside",
            f"{inside}2",
        ):
            code, details = reload(server, ("new", path))
            assert code == "INVALID_ARGUMENT" and "base_path" in details, (path, code, details)
        request = model_management_pb2.ReloadConfigRequest()
        request.config.model_config_list.config.add(name="new", base_path=f"{inside}/here\0")
        with grpc.insecure_channel(server.grpc) as channel, pytest.raises(grpc.RpcError) as info:
            model_service_pb2_grpc.ModelServiceStub(channel).HandleReloadConfigRequest(request)
        assert info.value.code().name == "INVALID_ARGUMENT" and "NUL" in info.value.details()
        with Client(server.grpc) as client:
            assert client.predict("here", x=[[1, 2, 3]])["y"].tolist() == [[2, 4, 6]]
            assert reload(server, ("here", "/models/here"), ("again", inside / "here" / ".." / "here")) == ("OK", "")
            assert client.status("again") == {1: "AVAILABLE"}
            # A new model that does not load: TF Serving answers UNKNOWN, and why.
            code, details = reload(server, ("here", "/models/here"), ("damaged", "/models/damaged"))
            assert code == "UNKNOWN" and details.startswith(
                "1 model(s) did not become available: {{damaged due to error:"
            )
            code, details = reload(server, ("here", "/models/here"), ("nowhere", "/models/nowhere"))
            assert code == "UNKNOWN" and "nowhere" in details
            assert reload(server, ("here", "/models/here"), ("long", f"/models/{'x' * 5000}"))[0] == "UNKNOWN"
            with pytest.raises(RequestError, match="NOT_FOUND"):
                client.status("new")


# S9: scalars


@pytest.mark.exhaustive
def test_scalars_are_scalars(base):
    """TensorFlow's own shapes; TF Serving's batching refuses them, so that it is off here."""
    for signature, sent, received in (("scalar", 5, 10), ("words", "a", b"A"), ("mean", [1, 2], 1.5)):
        output = run_native(base / "m" / "1", signature, {"x": sent})["y"]
        assert output.shape == () and output.tolist() == received
    with Server(base, enable_batching=False) as server, Client(server.grpc) as client:
        for signature, sent, received in (("scalar", 5, 10.0), ("words", "a", "A"), ("mean", [1, 2], 1.5)):
            body = {"signature_name": signature, "inputs": sent}
            assert server.predict(body, "m") == (200, {"outputs": received})
            assert server.predict({**body, "inputs": {"x": sent}}, "m") == (200, {"outputs": received})
            array = client.predict("m", signature, x=sent)["y"]
            assert array.shape == () and array.tolist() == (received.encode() if received == "A" else received)
        assert client.predict("m", "scalar", x=np.float32(2))["y"] == 4
        assert server.predict({"signature_name": "mean", "instances": [1, 2]}, "m")[0] == 400  # it has no rows
        assert server.predict({"signature_name": "scalar", "inputs": [5]}, "m")[0] == 400
        # An output of a dtype that nobody can read is told, in words.
        with pytest.raises(RequestError, match="UNIMPLEMENTED: Output `y`: An array of dtype float16 cannot be sent"):
            client.predict("m", "half", x=[1])
        assert server.predict({"signature_name": "half", "inputs": [1]}, "m") == (
            400,
            {"error": "Failed to write JSON value for tensor type: float16"},
        )


# Bodies that do not come


@contextlib.contextmanager
def stalled(server, count, head, body):
    """Connections that send a part of a request."""
    host, _, port = server.rest.partition(":")
    data = f"POST /v1/models/m:predict HTTP/1.1\r\nHost: {server.rest}\r\n{head}\r\n\r\n".encode() + body
    with contextlib.ExitStack() as opened:
        for _ in range(count):
            one = opened.enter_context(socket.create_connection((host, int(port)), timeout=20))
            one.settimeout(2)
            with contextlib.suppress(TimeoutError):  # where the server has no room for the rest
                one.sendall(data)
        yield


STALLED = {
    "chunked": (12, "Transfer-Encoding: chunked", b"1\r\n{\r\n"),
    "much announced": (300, f"Content-Length: {LIMIT * MB}", b"{"),
    "half a body, as far as there is room": (7, f"Content-Length: {LIMIT * MB}", b" " * (LIMIT * MB - 10)),
}


@pytest.mark.exhaustive
@pytest.mark.parametrize("case", STALLED)
def test_bodies_that_do_not_come_hold_up_nobody(server, case):
    """Large bodies and chunked ones are answered meanwhile; what has been sent takes 4 bodies of memory and one."""
    chunks = [b'{"inputs": [[1, ', b"2, 3]]}"]
    large = b'{"inputs": [[1, 2, 3]]' + b" " * 2 * MB + b"}"
    holders = stalled(server, *STALLED[case])
    before = peak(server)
    with holders:
        time.sleep(0.3)
        started = time.perf_counter()
        for body in (iter(chunks), large) if case != "half a body, as far as there is room" else (iter(chunks),):
            assert ask(server, body) == (200, b'{"outputs":[[2.0,4.0,6.0]]}')
        assert time.perf_counter() - started < 5
    assert peak(server) - before < 12 * LIMIT * MB


@pytest.mark.exhaustive
def test_a_body_that_does_not_come_is_told_within_the_time_of_a_request(base):
    with Server(base, max_request_mb=LIMIT, rest_api_timeout_in_ms=2000) as server:
        host, _, port = server.rest.partition(":")
        with stalled(server, 7, f"Content-Length: {LIMIT * MB}", b" " * (LIMIT * MB - 10)):
            large = b'{"inputs": [[1, 2, 3]]' + b" " * 2 * MB + b"}"
            started = time.perf_counter()
            assert ask(server, large)[0] in (200, 408)  # 408: there was no room in its time
            assert time.perf_counter() - started < 4
        assert ask(server, large)[0] == 200  # and then there is again
        with socket.create_connection((host, int(port)), timeout=20) as one:
            one.sendall(b"POST /v1/models/m:predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
            started = time.perf_counter()
            assert one.recv(1000).startswith(b"HTTP/1.1 408") and 1.5 < time.perf_counter() - started < 5
        loading = [event for event in server.log if event["event"].startswith("loading")]
        assert loading[0]["models"] == 1 and server.log.index(loading[0]) == 0


def test_bodies_stop_each_other_neither_in_part_nor_in_whole(server):
    """12 of 7 MiB at a time, of which the room takes less than 5."""
    body = b'{"inputs": [[1, 2, 3]]' + b" " * 7 * MB + b"}"
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        assert {status for status, _ in pool.map(lambda _: ask(server, body), range(12))} == {200}


# Headers, names and values that cannot be read


@pytest.mark.parametrize("origin", ["http://[", "http://[::1", "null", "", "http://", "//", "\xff", "http://]:1"])
def test_origins_that_are_none(careful, origin):
    """RFC 6454: an Origin is a scheme, a host and a port, or null; without a Host it is of no page of this server."""
    assert ask(careful, b'{"inputs": [[1, 2, 3]]}', Origin=origin, Content_Type="application/json")[0] == 403
    host, _, port = careful.rest.partition(":")
    with socket.create_connection((host, int(port)), timeout=20) as one:
        head = f"GET /v1/models/m HTTP/1.0\r\nOrigin: {origin}\r\n\r\n"
        one.sendall(head.encode("latin-1"))
        assert one.makefile("rb").readline().split()[1] == b"403"


@pytest.mark.parametrize("letter", ["n", "ö", "\U0001f600"])
def test_long_names_are_told_in_part(server, letter):
    """gRPC refuses headers beyond 8 kB, in which each byte beyond ASCII takes three."""
    name = letter * 100_000
    assert [send(server, data)[0] for data in (request(name=name), request(name))] == [
        "NOT_FOUND",
        "FAILED_PRECONDITION",
    ]
    code, details = send(server, request(name))
    assert details.startswith("Serving signature key") and details.endswith("not found.") and "…" in details
    message = predict_pb2.PredictRequest(output_filter=[name])
    message.model_spec.name = "m"
    assert send(server, message.SerializeToString())[0] == "INVALID_ARGUMENT"


@pytest.mark.parametrize("value", [5, None, [], True, "ü", "a"])
def test_base64_that_is_none(server, value):
    with pytest.raises(ValueError, match="'b64' must be text in base64. Received: "):
        json_tensors.from_json([{"b64": value}])
    status, answer = ask(server, json.dumps({"signature_name": "decode", "inputs": {"photo": [{"b64": value}]}}))
    assert status == 400 and "Traceback" not in answer.decode()


def test_what_the_client_is_given_is_sent_as_it_is_or_refused(server):
    with Client(server.grpc) as client:
        whole = np.array([1, 2], object)  # Python's own numbers take the dtype of the signature, as a list does
        answer = client.predict("m", "kinds", a=whole, b=["a", "b"], c=[True, False])
        assert answer["a"].dtype == np.int64 and answer["a"].tolist() == [1, 2]
        for masked in (np.ma.masked_less([[1.0, -1, 2]], 0).astype("float32"), [np.ma.masked_less([1.0, -1, 2], 0)]):
            with pytest.raises(ValueError, match="masked"):
                client.predict("m", x=masked)
        assert client.predict("m", x=np.ma.array([[1, 2, 3]], "float32"))["y"].tolist() == [[2, 4, 6]]
        for version in (2**63, 2**70, -(2**70)):
            with pytest.raises(ValueError, match="`version` must be a whole number of 64 bits"):
                client.predict("m", version=version, x=[[1, 2, 3]])
        one = {"x": [[1, 2, 3]]}
        for asked in (
            lambda: client.predict("\ud800", **one),
            lambda: client.predict("m", "\ud800", **one),
            lambda: client.predict("m", label="\ud800", **one),
            lambda: client.predict("m", outputs=["\ud800"], **one),
            lambda: client.predict("m", **{"\ud800": [1]}),
            lambda: client.status("\ud800"),
            lambda: client.signatures("\ud800"),
            lambda: client.predict("m", "decode", photo=["\ud800"]),
        ):
            with pytest.raises(ValueError, match="UTF-8 can write. Received: '.ud800'"):
                asked()
