"""The page at / in headless Chromium: what it sends is what was entered, what it draws is what the server answered."""

import importlib.util
import io
import json
import os
import re
import shutil
import subprocess
import time
import urllib.request
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.helpers.seeds import seed
from tests.helpers.servers import Server
from zoo.serving import publish
from zoo.serving.formats.model_card import CARD_FILE

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
MISSING = "There is no Chromium. Install it: apt-get install chromium; and Playwright: pip install -e '.[test]'"


def tiny():
    """One model with a signature for each kind of control and drawing."""
    seed()
    wide = keras.initializers.RandomNormal(stddev=1)  # for contrast
    generator = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(192, "tanh", kernel_initializer=wide), keras.layers.Reshape((8, 8, 3))]
    )

    def images(latents):
        return {"images": generator(latents, training=False)}

    def latents(seed, size=4):
        draw = lambda s: tf.random.stateless_normal([size], tf.stack([s, tf.zeros_like(s)]), alg="philox")  # noqa: E731
        return tf.map_fn(draw, seed, fn_output_signature=tf.float32)

    def detect(image_bytes):
        """Box the left half and the lower right quarter of each photo, in pixels."""

        def one(data):
            photo = tf.io.decode_image(data, channels=3, expand_animations=False)
            height, width = tf.unstack(tf.cast(tf.shape(photo)[:2], tf.float32))
            boxes = tf.reshape(tf.stack([0, 0, height, width / 2, height / 2, width / 2, height, width]), (2, 4))
            return boxes, tf.reduce_mean(tf.cast(photo, tf.float32), (0, 1))

        boxes, mean = tf.map_fn(one, image_bytes, fn_output_signature=(tf.float32, tf.float32))
        rows = tf.shape(image_bytes)[0]
        scores, classes = tf.tile([[0.9, 0.2]], (rows, 1)), tf.tile([[1, 2]], (rows, 1))
        return {"boxes": tf.ensure_shape(boxes, (None, 2, 4)), "scores": scores, "classes": classes, "mean": mean}

    def negative(image_bytes):
        def one(data):
            return tf.io.encode_png(255 - tf.io.decode_image(data, channels=3, expand_animations=False))

        return {"image_bytes": tf.map_fn(one, image_bytes, fn_output_signature=tf.string)}

    def segment(image):
        return {"labels": tf.cast(image[..., 0] > 127, tf.int32), "mean": tf.reduce_mean(tf.cast(image, tf.float32), 1)}

    spec = tf.TensorSpec
    dot = tf.io.encode_png(tf.zeros((1, 1, 3), tf.uint8)).numpy()
    return SimpleNamespace(
        variables=generator.variables,
        signatures=lambda: {
            "serving_default": (images, {"latents": spec((None, 4))}),
            "sample": (lambda seed: images(latents(seed)), {"seed": spec((None,), "int64")}),
            "points": (lambda seed: {"points": latents(seed, 2)}, {"seed": spec((None,), "int64")}),
            "shout": (lambda text: {"loud": tf.strings.upper(text)}, {"text": spec((None,), "string")}),
            "detect": (detect, {"image_bytes": spec((None,), "string")}),
            "negative": (negative, {"image_bytes": spec((None,), "string")}),
            "segment": (segment, {"image": spec((None, 8, 8, 3), "uint8")}),
            "add": (lambda a, b: {"sum": a + b}, {"a": spec((None, 2), "int64"), "b": spec((None, 2), "int64")}),
        },
        warmup=lambda: [(name, {"image_bytes": np.array([dot], object)}) for name in ("detect", "negative")],
    )


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    return tmp_path_factory.mktemp("exports")


@pytest.fixture(scope="module")
def address(exports):
    """The address of a server in a process of its own."""
    publish(tiny(), exports, "tiny", card={"data": "noise", "command": "pytest <b>", "figures": {"fid": 0.5}})
    with Server(exports) as server:
        yield f"http://{server.rest}"


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None or importlib.util.find_spec("playwright") is None:
        (pytest.fail if os.environ.get("ZOO_REQUIRE_BROWSER") else pytest.skip)(MISSING)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        with driver.chromium.launch(executable_path=CHROMIUM, args=arguments) as browser:
            yield browser.new_context()


@pytest.fixture
def page(browser, address):
    """A fresh page that must ask no other server and say nothing on the console, but for what `allowed` matches."""
    page = browser.new_page()
    page.set_default_timeout(5000)
    said, page.allowed = [], "^$"
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: said.append(f"asked {request.url}") if is_outside(request.url) else None)
    is_outside = lambda url: not url.startswith((f"{address}/", "data:"))  # noqa: E731
    yield page
    page.close()
    assert [words for words in said if not re.search(page.allowed, words)] == []


def ask(address, signature, **inputs):
    """The answer of REST, without the page."""
    body = json.dumps({"signature_name": signature, "inputs": inputs}).encode()
    with urllib.request.urlopen(f"{address}/v1/models/tiny:predict", body, timeout=10) as answer:
        return json.load(answer)["outputs"]


def pixels(page, index=0):
    """Red, green and blue of a canvas of the answer: (height, width, 3)."""
    url = page.locator(".results canvas").nth(index).evaluate("canvas => canvas.toDataURL()")
    with urllib.request.urlopen(url) as data, Image.open(io.BytesIO(data.read())) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def eventually(page, check, seconds=5):
    """Repeat a check until it holds."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return check()
        except AssertionError:
            if time.monotonic() > deadline:
                raise
            page.wait_for_timeout(20)


def wait_for(locator, text):
    locator.filter(has_text=text).wait_for(state="attached")


def make_photo(folder, name="photo.png"):
    """Write a photo of 6 x 4 pixels whose left half is red and right half blue; return its path and pixels."""
    array = np.zeros((4, 6, 3), np.uint8)
    array[:, :3, 0], array[:, 3:, 2] = 255, 255
    Image.fromarray(array).save(folder / name)
    return folder / name, array


def test_models_are_listed_with_their_card(page, address):
    page.goto(address)
    wait_for(page.locator("header"), "This is not TensorFlow Serving.")
    wait_for(page.locator("#models a"), "tinyversion 1")
    for words in ("data", "noise", "pytest <b>", "fid: 0.5", "latents float32 [n,4] → images float32 [n,8,8,3]"):
        wait_for(page.locator("#about"), words)
    signatures = ["add", "detect", "negative", "points", "sample", "segment", "serving_default", "shout"]
    assert page.locator("#about a").all_inner_texts() == signatures
    for signature in ("add", "detect", "sample", "serving_default", "shout"):  # one for each kind of control
        page.locator("#about").get_by_role("link", name=signature).click()
        page.locator(f'#about a[aria-current]:text-is("{signature}")').wait_for()
        labels = (
            page.locator("#panel").locator("input, textarea").evaluate_all("all => all.map((one) => one.labels.length)")
        )
        assert labels and set(labels) == {1}


def test_samples_are_drawn_as_answered(page, address):
    page.goto(f"{address}/#tiny/sample")
    page.get_by_label("Samples").fill("3")
    page.get_by_label("First seed").fill(str(2**60))  # more than a JavaScript number holds
    page.get_by_role("button", name="Next").click()
    assert page.get_by_label("First seed").input_value() == str(2**60 + 3)
    expected = 127.5 * (np.array(ask(address, "sample", seed=[2**60 + 3 + index for index in range(3)])) + 1)

    def check():
        assert page.locator(".results canvas").count() == 3
        for index in range(3):
            np.testing.assert_allclose(pixels(page, index), expected[index], atol=0.51)  # rounded to whole numbers

    eventually(page, check)
    assert np.ptp(pixels(page)) > 100
    with page.expect_download() as download:
        page.get_by_role("link", name="save PNG of row 1").click()
    with Image.open(download.value.path()) as saved:
        np.testing.assert_array_equal(np.asarray(saved)[..., :3], pixels(page, 1))


def test_a_slider_changes_the_picture_of_its_row(page, address):
    page.goto(f"{address}/#tiny/serving_default")
    page.get_by_label("Rows").fill("2")
    eventually(page, lambda: _assert(page.locator(".results canvas").count() == 2))
    before = [pixels(page, index) for index in range(2)]
    page.locator(".results canvas").nth(1).click()  # chooses the row
    assert page.get_by_label("Row to change").input_value() == "1"
    page.get_by_label("latents[2]").fill("3")
    eventually(page, lambda: _assert((pixels(page, 1) != before[1]).any()))
    np.testing.assert_array_equal(pixels(page, 0), before[0])
    page.get_by_label("Drawn with seed").fill("0")  # the same seed draws the same again
    eventually(page, lambda: np.testing.assert_array_equal(pixels(page, 1), before[1]))


def test_sliding_has_one_request_in_flight_and_ends_with_the_last_value(page, address):
    page.goto(f"{address}/#tiny/serving_default")
    page.locator(".results canvas").first.wait_for()
    flying, most, sent = set(), [], []
    page.on("request", lambda request: (flying.add(request), most.append(len(flying)), sent.append(request.post_data)))
    page.on("requestfinished", lambda request: flying.discard(request))
    page.route("**/*:predict", lambda route: (page.wait_for_timeout(100), route.continue_()))
    slider = page.get_by_label("latents[0]")
    slider.evaluate("""async (slider) => {
        for (let step = 0; step <= 10; step++) {
            slider.value = step / 5;
            slider.dispatchEvent(new Event("input"));
            await new Promise((resolve) => setTimeout(resolve, 20));
        }
    }""")
    eventually(page, lambda: _assert(json.loads(sent[-1])["inputs"]["latents"][0][0] == 2 and not flying))
    assert max(most) == 1 and 2 <= len(sent) < 8


def test_points_are_drawn(page, address):
    page.goto(f"{address}/#tiny/points")
    path = page.locator(".results svg path")
    path.wait_for()
    drawn = np.array([list(map(float, pair)) for pair in re.findall(r"M(\S+) (\S+)h0", path.get_attribute("d"))])
    points = np.array(ask(address, "points", seed=list(range(16)))) * [1, -1]
    scale = (np.ptp(drawn, axis=0) / np.ptp(points, axis=0)).mean()
    np.testing.assert_allclose(drawn - drawn[0], scale * (points - points[0]), atol=0.05)


def test_text_comes_back_as_text(page, address):
    page.goto(f"{address}/#tiny/shout")
    page.get_by_label("text, one sentence per line").fill("guten Tag\n<img src=x>\n")
    page.keyboard.press("Control+Enter")
    wait_for(page.locator(".results li").first, "GUTEN TAG")
    assert page.locator(".results li").all_inner_texts() == ["GUTEN TAG", "<IMG SRC=X>"]
    assert page.locator(".results img").count() == 0
    command = page.locator("details pre").first.text_content()
    answer = subprocess.run(["sh", "-c", command.replace("curl", "curl -s", 1)], capture_output=True, text=True)
    assert json.loads(answer.stdout) == {"outputs": ["GUTEN TAG", "<IMG SRC=X>"]}


def test_files_reach_the_model_and_boxes_are_drawn_over_the_photo(page, address, tmp_path):
    path, _ = make_photo(tmp_path)
    page.goto(f"{address}/#tiny/detect")
    page.get_by_label("image_bytes").set_input_files(path)
    wait_for(page.locator(".output", has=page.locator("h3", has_text="mean")), "127.5")  # of red and of blue
    image = pixels(page)
    assert image.shape == (42 * 4, 42 * 6, 3)
    assert image[80, 60].tolist() == [255, 0, 0] and image[80, 240].tolist() == [0, 0, 255]
    assert image[100, 126].tolist() not in ([255, 0, 0], [0, 0, 255])  # an edge of the box with score 0.9
    assert image[84, 180].tolist() == [0, 0, 255]  # none of the one with score 0.2
    page.get_by_label("Least score").fill("0.1")
    assert pixels(page)[84, 180].tolist() != [0, 0, 255]


def test_pictures_that_come_back_as_files_are_shown(page, address, tmp_path):
    page.goto(f"{address}/#tiny/negative")
    paths = []
    for number, size in enumerate([(40, 20), (5, 7)]):
        paths.append(tmp_path / f"{number}.png")
        Image.new("RGB", size, (255, 0, 100)).save(paths[-1])
    page.get_by_label("image_bytes").set_input_files(paths)
    page.locator('figure img[style*="width"]').nth(1).wait_for()
    shown = "all => all.map((one) => [one.naturalWidth, one.naturalHeight])"
    assert page.locator("figure img").evaluate_all(shown) == [[40, 20], [5, 7]]
    with urllib.request.urlopen(page.get_attribute("figure a", "href")) as file:
        assert Image.open(io.BytesIO(file.read())).getpixel((0, 0)) == (0, 255, 155)


def test_pixels_reach_the_model_and_labels_are_drawn(page, address, tmp_path):
    path, _ = make_photo(tmp_path)
    page.goto(f"{address}/#tiny/segment")
    with page.expect_request("**/*:predict") as request:
        page.get_by_label("image, ").set_input_files(path)
    sent = np.array(request.value.post_data_json["inputs"]["image"])
    assert (
        sent.shape == (1, 8, 8, 3) and sent[0, 0, 0].tolist() == [255, 0, 0] and sent[0, 7, 7].tolist() == [0, 0, 255]
    )
    page.locator(".legend").wait_for()
    assert page.locator(".legend li").all_inner_texts() == ["0", "1"]
    labelled = pixels(page)
    assert labelled[9, 9].tolist() != [255, 0, 0] and labelled[9, -9].tolist() == [0, 0, 255]  # 0 has no colour


def test_errors_are_shown_and_nothing_is_lost(page, address, tmp_path):
    page.allowed = "Failed to load resource"
    page.clock.install()
    page.goto(f"{address}/#tiny/add")
    alert, b = page.get_by_role("alert"), page.get_by_label("b, as JSON")
    page.get_by_label("a, as JSON").fill("[[1, 2]]")
    b.fill("[[1, 2, 3]]")
    page.get_by_role("button", name="Run").click()
    wait_for(alert, "b")
    assert "(None, 2)" in alert.text_content() or "shape" in alert.text_content().lower()
    b.fill("[[1, ")
    page.get_by_role("button", name="Run").click()
    wait_for(alert, "b is not JSON")
    b.fill("[[9007199254740993, 4]]")
    page.context.set_offline(True)
    try:
        page.get_by_role("button", name="Run").click()
        wait_for(alert, "The server does not answer.")
        page.clock.fast_forward(2000)  # to the next look at the list of models
        wait_for(page.locator("#connection"), "trying again")
    finally:
        page.context.set_offline(False)
    page.get_by_role("button", name="Run").click()
    wait_for(page.locator(".results td").last, "6")
    assert alert.text_content() == "" and b.input_value() == "[[9007199254740993, 4]]"
    page.goto(f"{address}/#tiny/detect")
    (tmp_path / "notes.txt").write_text("no photo")
    page.get_by_label("image_bytes").set_input_files(tmp_path / "notes.txt")
    wait_for(alert, "Unknown image file format")


def test_a_new_version_appears_and_nothing_typed_is_lost(page, address, exports):
    page.clock.install()
    page.goto(f"{address}/#tiny/shout")
    area = page.get_by_label("text, one sentence per line")
    area.press_sequentially("half a sen")
    _publish_again(exports / "tiny")

    def check():
        page.clock.fast_forward(2000)  # to the next look at the list of models
        assert "version 2" in page.locator("#models a").text_content()

    eventually(page, check)
    assert "version 2" in page.locator("#about h2").text_content()
    page.keyboard.type("tence")  # the cursor is where it was
    page.get_by_role("button", name="Run").click()
    wait_for(page.locator(".results li"), "HALF A SENTENCE")
    wait_for(page.get_by_role("status"), "version 2")


def _publish_again(folder):
    shutil.copytree(folder / "1", folder / ".next")
    card = json.loads((folder / ".next" / CARD_FILE).read_text())
    (folder / ".next" / CARD_FILE).write_text(json.dumps(card | {"version": 2}))
    (folder / ".next").rename(folder / "2")


def _assert(condition):
    assert condition
