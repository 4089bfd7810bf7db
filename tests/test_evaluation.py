"""Which metrics fit which data, on generators whose quality is known."""

import functools
import types

import numpy as np
import pytest

from recipes import cycle_gan
from zoo import data, evaluation, runs
from zoo.callbacks import Evaluate
from zoo.evaluation import (
    CodeEvaluator,
    DetectionEvaluator,
    Evaluator,
    SegmentationEvaluator,
    TextEvaluator,
    TranslationEvaluator,
)
from zoo.metrics import MetricWarning, neighbour_accuracy


class Copies:
    """Generates the first examples of a set."""

    def __init__(self, examples):
        self.examples = examples

    def generate(self, num_samples, seed=0):
        return self.examples[np.arange(num_samples) % len(self.examples)]


def evaluator(name):
    return Evaluator(data.load(name), data.load(name, split="test"))


def test_points_with_modes():
    evaluate = evaluator("grid")
    assert evaluate.headline == "modes_found"
    real = evaluate.real_against_real()
    # A two-dimensional Gaussian has 1 - exp(-9/2) = 98.9 % of its mass within 3 standard deviations.
    assert real["modes_found"] == 25 and abs(real["high_quality"] - 0.989) < 0.01
    collapsed = evaluate(Copies(evaluate.train.modes[:1]))
    assert (collapsed["modes_found"], collapsed["high_quality"]) == (1, 1.0)
    assert collapsed["wasserstein_2"] > 5 * real["wasserstein_2"]
    far = evaluate(Copies(np.full((1, 2), 100.0)))
    assert far["modes_found"] == 0 and far["kl_to_uniform"] is None


def test_points_without_modes():
    evaluate = evaluator("swiss_roll")
    assert evaluate.headline == "wasserstein_2"
    assert set(evaluate(Copies(evaluate.train.examples(2500)))) == {"wasserstein_2"}


def test_images_are_ranked_real_noisy_noise():
    evaluate = evaluator("digits")
    assert evaluate.headline == "frechet_distance"
    rng = np.random.default_rng(0)
    images = evaluate.train.examples()
    noisy = np.clip(images + 0.3 * rng.normal(size=images.shape), -1, 1)
    noise = rng.uniform(-1, 1, images.shape)
    scores = [evaluate(Copies(each))["frechet_distance"] for each in (noisy, noise)]
    assert evaluate.real_against_real()["frechet_distance"] < scores[0] < scores[1]
    assert evaluate(Copies(noisy))["num_images"] == evaluate.train.size // 2


def test_copies_of_training_images_show():
    """A generator that returns training images comes nearer to them than images that nobody has seen, and so looks
    better; beside held-out images it shows. Shares of pairs have standard deviation sqrt((n + m + 1) / 12 n m)."""
    evaluate = evaluator("digits")
    memoriser, unseen = evaluate(Copies(evaluate.train.examples())), evaluate.held_out_against_real()
    assert memoriser["frechet_distance"] < unseen["frechet_distance"]
    assert memoriser["nearer_to_training"] > 0.99
    count = unseen["num_held_out"]
    error = ((2 * count + 1) / (12 * count**2)) ** 0.5
    assert count == evaluate.test.size // 2 and abs(unseen["nearer_to_training"] - 0.5) < 4 * error
    real = evaluate.real_against_real()
    shared = ("frechet_distance_held_out", "nearer_to_training", "num_held_out")
    assert {name: real[name] for name in shared} == {name: unseen[name] for name in shared}
    # Half of the images are copies, half new ones.
    half = evaluate.beside_held_out(
        np.concatenate([evaluate.train.examples(count // 2), evaluate._held_out_halves()[1][: count // 2]])
    )
    assert half["nearer_to_training"] == pytest.approx(0.75, abs=4 * error)


@pytest.mark.exhaustive
@pytest.mark.parametrize("labelled", [True, False])
def test_folders_of_images_with_and_without_classes(tmp_path, labelled):
    from PIL import Image

    rng = np.random.default_rng(0)
    for index in range(40):
        folder = tmp_path / "my pictures" / (f"class {index % 2}" if labelled else "")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 128 + 127 * (index % 2), (8, 8, 3), dtype="uint8")).save(
            folder / f"{index}.png"
        )
    evaluate = evaluator(str(tmp_path / "my pictures"))
    if labelled:
        with pytest.warns(MetricWarning, match="18 samples of 64 features"):
            metrics = evaluate(Copies(evaluate.train.examples()))
        assert metrics["frechet_label"].startswith("FID(cnn-my-pictures-")
    else:
        assert evaluate.headline is None and evaluate(Copies(evaluate.train.examples())) == {}


def test_codes_are_judged_by_their_neighbours_beside_pca():
    """PCA of digits by scikit-learn alone; a code that is the class itself leaves no neighbour wrong."""
    from sklearn.decomposition import PCA
    from sklearn.neighbors import KNeighborsClassifier

    train, test = data.load("digits"), data.load("digits", split="test")
    evaluator = CodeEvaluator(train, test)
    x, y = (examples.reshape(len(examples), -1) for examples in (train.examples(), test.examples()))
    pca = PCA(5).fit(x)
    expected = KNeighborsClassifier(5).fit(pca.transform(x), train.labels).score(pca.transform(y), test.labels)
    error = np.square(y - pca.inverse_transform(pca.transform(y))).sum(1).mean()
    found = evaluator.of_pca(5)
    np.testing.assert_allclose([found["neighbour_accuracy"], found["squared_error"]], [expected, error], rtol=1e-3)
    labels = {
        images.tobytes(): label for source in (train, test) for images, label in zip(*source.labelled(), strict=True)
    }
    perfect = evaluator.of_codes(lambda images: np.array([[labels[image.tobytes()]] for image in images]))
    assert perfect == {"neighbour_accuracy": 1.0}


def test_codes_without_labels_have_no_neighbours_to_judge_by():
    ring = data.Source("noise", np.random.default_rng(0).normal(size=(30, 3)).astype("float32"))
    evaluator = CodeEvaluator(ring, ring, prepare=lambda examples: 2 * examples)
    np.testing.assert_allclose(np.sort(evaluator.test_examples, 0), 2 * np.sort(ring.examples(), 0))
    assert set(evaluator.of_pca(2)) == {"squared_error"} and evaluator.of_codes(len) == {}
    with pytest.raises(ValueError, match="`num_neighbours` must be at most the 2 codes. Received: 5"):
        neighbour_accuracy(np.zeros((2, 1)), [0, 1], np.zeros((2, 1)), [0, 1])


class Shifts:
    """Translates by adding a number one way, and a share of it back."""

    def __init__(self, there, back):
        self.shifts = {"x_to_y": there, "y_to_x": back}

    def translate(self, images, direction):
        return np.clip(images + self.shifts[direction], -1, 1)


def negatives():
    """Digits and the same in black on white, to train on and held out; the classifier of digits is that of X."""
    pairs = []
    for split in ("train", "test"):
        digits = data.load("digits", split=split)
        images, labels = digits.labelled()
        pairs.append(data.Pair(digits, data.Source("negatives", -images, labels=labels)))
    return pairs


@pytest.mark.exhaustive
def test_translations_are_judged_by_cycles_and_by_classifiers_of_the_target():
    """Y is X with black and white exchanged, which a translation by hand undoes."""
    evaluate = TranslationEvaluator(*negatives())
    real = evaluate.real()
    assert min(real.values()) > 0.9 and max(evaluate.untranslated().values()) < 0.5

    class Negative:
        def translate(self, images, direction):
            return -images if direction == "x_to_y" else 0.5 - 0.5 * images

    found = evaluate(Negative())
    x, y = evaluate.images
    # F(G(x)) = (1 + x) / 2 and G(F(y)) = (y - 1) / 2.
    assert found["cycle_error_x"] == pytest.approx(np.abs(0.5 - 0.5 * x).mean(), rel=1e-5)
    assert found["cycle_error_y"] == pytest.approx(np.abs(0.5 + 0.5 * y).mean(), rel=1e-5)
    assert found["cycle_error"] == (found["cycle_error_x"] + found["cycle_error_y"]) / 2
    # Translated test images of X are the real ones of Y.
    assert found["accuracy_x_to_y"] == real["accuracy_x_to_y"]


def test_domains_without_common_classes_are_told_apart_instead():
    """What leaves images as they are has no cycle error, and no image of the other domain either."""
    task = runs.Translation(cycle_gan.Config(data=("digits/3", "digits/8")))
    evaluate = task.evaluate
    real, untranslated = evaluate.real(), evaluate.untranslated()
    assert set(real) == {"domain_x_to_y", "domain_y_to_x"} and min(real.values()) > 0.9
    assert {evaluate.better[name] for name in real} == {"max"}
    # An image is taken for one domain or the other.
    assert untranslated["domain_x_to_y"] == pytest.approx(1 - real["domain_y_to_x"])
    left = evaluate(Shifts(0, 0))
    assert left == {"cycle_error": 0, "cycle_error_x": 0, "cycle_error_y": 0, **untranslated}
    words = "digits/3 as digits/8 {0:.1f} % taken for digits/8 (untranslated {0:.1f} %, real digits/8 {1:.1f} %)"
    shares = [100 * one["domain_x_to_y"] for one in (untranslated, real)]
    assert words.format(*shares) in task.report({**left, **task.baselines(Shifts(0, 0))})

    class Swaps:
        def translate(self, images, direction):
            return evaluate.images[direction == "x_to_y"]

    assert {name: value for name, value in evaluate(Swaps()).items() if name in real} == real
    found = evaluate(Shifts(0.25, 0.0))
    # Black pixels become brighter by 0.25, and white ones cannot.
    assert 0.1 < found["cycle_error_x"] < 0.25


def test_of_large_images_fewer_are_translated():
    """Four million pixels a side: 61 images of 256 x 256, where 2,000 would take an hour without a GPU."""
    pixels = np.random.default_rng(0).integers(0, 256, (70, 256, 256, 1), dtype="uint8")
    pair = data.Pair(data.Source("x", pixels), data.Source("y", pixels[:20]))
    assert [len(images) for images in TranslationEvaluator(pair, pair).images] == [61, 20]


class Rectangles:
    """Three pictures of different sizes on canvases of 64 x 64, with objects of the categories 5 and 90, and none."""

    size, category_ids = 3, (5, 90)
    originals = {0: (128, 96), 1: (32, 64), 2: (50, 50)}  # twice, once, and 50 / 64 times the canvas
    # Class and corners in the pixels of the pictures.
    objects = {0: [(0, (10, 20, 50, 100)), (1, (60, 60, 96, 128))], 1: [(1, (4, 2, 60, 30))], 2: []}

    def image_id(self, row):
        return 100 + row

    def original_size(self, row):
        return self.originals[row]

    def fitted(self, row):
        height, width = self.originals[row]
        return tuple(round(side * 64 / max(height, width)) for side in (height, width))

    def read(self, row):
        # The first pixel says which picture it is.
        return np.full((64, 64, 3), row, "uint8"), {"sizes": np.array(self.fitted(row), "int32")}

    @property
    def truth(self):
        images = [{"id": 100 + row, "height": size[0], "width": size[1]} for row, size in self.originals.items()]
        annotations = [
            {
                "id": 10 * row + number,
                "image_id": 100 + row,
                "category_id": self.category_ids[label],
                "bbox": [x, y, right - x, bottom - y],
                "segmentation": [[x, y, right, y, right, bottom, x, bottom]],
                "area": (right - x) * (bottom - y),
                "iscrowd": 0,
            }
            for row, objects in self.objects.items()
            for number, (label, (x, y, right, bottom)) in enumerate(objects)
        ]
        return {"images": images, "annotations": annotations, "categories": [{"id": 5}, {"id": 90}]}


class Finder:
    """Knows the objects of `Rectangles`; moves their boxes, in pixels of the canvas, and fills part of their masks."""

    def __init__(self, shift=0.0, filled=1.0, label=0):
        self.shift, self.filled, self.label, self.batches = shift, filled, label, []

    def detect(self, images, sizes=None, batch_size=8):
        self.batches.append(len(images))
        rows, shape = images[:, 0, 0, 0], (len(images), 4)
        found = {
            "boxes": np.zeros((*shape, 4), "float32"),
            "classes": np.full(shape, -1, "int32"),
            "scores": np.zeros(shape, "float32"),
            "masks": np.zeros((*shape, 28, 28), "float32"),
            "num_detections": np.zeros(shape[:1], "int32"),
        }
        for place, row in enumerate(rows):
            assert tuple(sizes[place]) == Rectangles().fitted(row)
            scale = sizes[place][0] / Rectangles.originals[row][0]
            for number, (label, box) in enumerate(Rectangles.objects[row]):
                found["boxes"][place, number] = np.array(box) * scale + np.array([self.shift, 0, self.shift, 0])
                found["classes"][place, number] = label + self.label
                found["scores"][place, number] = 0.9 - 0.1 * number
                found["masks"][place, number, :, : round(28 * self.filled)] = 1
                found["num_detections"][place] += 1
        return found


DETECTED = {f"{kind}_{name}" for kind in ("box", "mask") for name in ("ap", "ap50", "ap75")}
# A mask is pasted up to a pixel larger, as torchvision does: 29 x 57 pixels for 28 x 56 miss the last of ten overlaps.
ALL_FOUND = dict.fromkeys(DETECTED, pytest.approx(1.0)) | {"mask_ap": pytest.approx(1, abs=0.05)}


def test_detections_are_judged_in_the_pixels_of_the_pictures():
    evaluate, finder = DetectionEvaluator(Rectangles(), batch_size=2), Finder()
    assert evaluate(finder) == ALL_FOUND | {"num_images": 3}
    assert finder.batches == [2, 1]
    # Two thirds of a mask of 28 cells, 19 of them, overlap as much: enough for 0.5 to 0.65, of ten.
    found = evaluate(Finder(filled=2 / 3))
    assert found["box_ap"] == pytest.approx(1) and found["mask_ap"] == pytest.approx(0.4)
    assert (found["mask_ap50"], found["mask_ap75"]) == (pytest.approx(1), 0)
    assert evaluate(Finder(shift=32.0))["box_ap"] == 0


def test_detections_are_listed_as_coco_lists_results():
    """Category ids of the file, corners as x, y, width, height, cut at the border; masks of the picture's size."""
    from pycocotools import mask

    listed = DetectionEvaluator(Rectangles()).found(Finder(shift=8.0), [0])
    assert [(one["image_id"], one["category_id"]) for one in listed] == [(100, 5), (100, 90)]
    assert [one["score"] for one in listed] == pytest.approx([0.9, 0.8])
    # A shift of 8 on the canvas is one of 16 in the picture, whose border is at 96.
    np.testing.assert_allclose([one["bbox"] for one in listed], [[26, 20, 40, 80], [76, 60, 20, 68]], atol=1e-4)
    masks = mask.decode([one["segmentation"] for one in listed])
    assert masks.shape == (128, 96, 2)
    for number, (x, y, right, bottom) in enumerate([(26, 20, 66, 100), (76, 60, 96, 128)]):
        # Right but for a pixel at the border.
        assert masks[y + 1 : bottom - 1, x + 1 : right - 1, number].all()
        masks[y - 1 : bottom + 1, x - 1 : right + 1, number] = 0
    assert not masks.any()


def test_classes_of_a_model_may_be_other_categories_than_those_of_the_data():
    """As of weights for all ids of COCO, of which data have some; categories that they do not have are left out."""
    evaluate = DetectionEvaluator(Rectangles(), category_ids=(3, 5, 90))
    assert evaluate(Finder(label=1)) == ALL_FOUND | {"num_images": 3}
    listed = DetectionEvaluator(Rectangles(), category_ids=(5, 3)).found(Finder(), [0])
    assert [one["category_id"] for one in listed] == [5]


def test_masks_pasted_a_few_at_a_time_are_the_same(monkeypatch):
    expected = DetectionEvaluator(Rectangles()).found(Finder(), [0, 1, 2])
    monkeypatch.setattr("zoo.evaluation.PASTED_PIXELS", 1)
    assert DetectionEvaluator(Rectangles()).found(Finder(), [0, 1, 2]) == expected


def test_of_many_pictures_some_are_judged_always_the_same(monkeypatch):
    rows = [list(DetectionEvaluator(Rectangles(), max_images=2).rows) for _ in range(2)]
    assert rows[0] == rows[1] and len({*rows[0]}) == 2
    # What is not looked at is not missed.
    assert DetectionEvaluator(Rectangles(), max_images=2)(Finder())["box_ap"] == pytest.approx(1)
    monkeypatch.setattr("zoo.evaluation.UNTRAINED_IMAGES", 1)
    assert DetectionEvaluator(Rectangles()).untrained(Finder())["num_images"] == 1


def test_pictures_without_objects_have_no_precision():
    evaluate = DetectionEvaluator(Rectangles())
    evaluate.rows = np.array([2])
    assert evaluate(Finder()) == {**dict.fromkeys(DETECTED), "num_images": 1}


def test_detections_are_judged_as_a_callback():
    callback = Evaluate(DetectionEvaluator(Rectangles()))
    callback.set_model(types.SimpleNamespace(detect=Finder().detect, stop_requested=False))
    logs = {}
    callback.on_epoch_end(0, logs)
    assert logs == ALL_FOUND


def test_what_cannot_be_judged_is_refused():
    with pytest.raises(ValueError, match="0 to 1. Received: class 2. Build it with `num_classes=2`"):
        DetectionEvaluator(Rectangles())(Finder(label=1))
    with pytest.raises(ValueError, match="`max_images` must be a whole number of at least 1. Received: 0"):
        DetectionEvaluator(Rectangles(), max_images=0)


class Halves:
    """Three pictures of 4 x 4 pixels: half sky; road and a void row; and nothing but void."""

    size, num_classes, class_names = 3, 3, ("sky", "road", "car")
    labels = np.array([[[0] * 4] * 2 + [[1] * 4] * 2, [[1] * 4] * 3 + [[255] * 4], [[255] * 4] * 4], "uint8")

    def read(self, row):
        # The pixels say which picture it is.
        return np.full((4, 4, 3), row, "uint8"), self.labels[row]


class Segmenter:
    """Takes sky for another class, and all that is void for road."""

    def __init__(self, sky):
        self.sky, self.batches = sky, []

    def segment(self, images, batch_size=8):
        self.batches.append(len(images))
        labels = Halves.labels[images[:, 0, 0, 0]]
        return np.where(labels == 0, self.sky, 1).astype("uint8")


def test_labels_are_judged_over_all_pictures_at_once():
    """8 of 28 pixels are sky; where they are taken for cars, 20 are right, and overlaps are 0, 1 and 0."""
    evaluate, model = SegmentationEvaluator(Halves(), batch_size=2), Segmenter(sky=2)
    found = evaluate(model)
    assert found.pop("iou") == {"sky": 0, "road": 1, "car": 0}
    expected = {"pixel_accuracy": 5 / 7, "mean_accuracy": 0.5, "mean_iou": 1 / 3, "frequency_weighted_iou": 5 / 7}
    assert found == pytest.approx(expected | {"num_images": 3})
    assert model.batches == [2, 1]
    assert evaluate(Segmenter(sky=0))["iou"] == {"sky": 1, "road": 1, "car": None}
    # Where sky is taken for road, road has 20 right of 28 that are road or called so.
    assert evaluate(Segmenter(sky=1))["iou"] == {"sky": 0, "road": pytest.approx(5 / 7), "car": None}
    np.testing.assert_array_equal(evaluate.confusion(model, [1, 2]), [[0, 0, 0], [0, 12, 0], [0, 0, 0]])


def test_of_many_labelled_pictures_some_are_judged_always_the_same(monkeypatch):
    rows = [list(SegmentationEvaluator(Halves(), max_images=2).rows) for _ in range(2)]
    assert rows[0] == rows[1] and len({*rows[0]}) == 2
    monkeypatch.setattr("zoo.evaluation.UNTRAINED_IMAGES", 1)
    assert SegmentationEvaluator(Halves()).untrained(Segmenter(0))["num_images"] == 1


def test_pictures_without_a_label_have_no_figures():
    evaluate = SegmentationEvaluator(Halves())
    evaluate.rows = np.array([2])
    found = evaluate(Segmenter(0))
    assert found.pop("num_images") == 1 and found.pop("iou") == dict.fromkeys(Halves.class_names)
    assert set(found.values()) == {None} and len(found) == 4


def test_labels_are_judged_as_a_callback():
    """The figures of classes are for metrics.json, not for the logs."""
    callback = Evaluate(SegmentationEvaluator(Halves()))
    callback.set_model(types.SimpleNamespace(segment=Segmenter(0).segment, stop_requested=False))
    logs = {}
    callback.on_epoch_end(0, logs)
    assert logs == dict.fromkeys(("pixel_accuracy", "mean_accuracy", "mean_iou", "frequency_weighted_iou"), 1.0)


def test_labels_that_cannot_be_judged_are_refused():
    with pytest.raises(ValueError, match="`predicted` must hold whole numbers from 0 to 2, .* Received: 3. The model"):
        SegmentationEvaluator(Halves())(Segmenter(sky=3))
    with pytest.raises(ValueError, match="`batch_size` must be a whole number of at least 1. Received: 0"):
        SegmentationEvaluator(Halves(), batch_size=0)


class Speaker:
    """Says what it is told, and is as sure as it is told."""

    def __init__(self, texts, nats, num_right):
        self.texts, self.nats, self.num_right = texts, nats, num_right

    def translate(self, sources, **options):
        return self.texts[: len(sources)]

    def likelihood(self, sources, targets):
        counts = np.full(len(targets), 4)
        right = np.full(len(targets), self.num_right)
        return {"log_probabilities": -self.nats * counts, "num_tokens": counts, "num_right": right}


def judged_points():
    evaluate = evaluator("grid")
    collapsed = np.concatenate([evaluate.train.modes[:1], np.full((1, 2), 9.0)])
    return evaluate(Copies(evaluate.train.examples(2500))), evaluate(Copies(collapsed))


def judged_images():
    evaluate = evaluator("digits")
    images = evaluate.train.examples()
    return evaluate(Copies(images)), evaluate(Copies(np.random.default_rng(0).uniform(-1, 1, images.shape)))


def judged_codes():
    evaluate = CodeEvaluator(data.load("digits"), data.load("digits", split="test"))
    good, bad = (evaluate.of_pca(size) for size in (20, 1))
    return good, bad


def judged_translations():
    evaluate = TranslationEvaluator(*negatives())
    return [evaluate(types.SimpleNamespace(translate=lambda images, _, by=by: by * images)) for by in (-1, 0.1)]


def judged_domains():
    """Of domains without common classes: real images of the other, and their own, a little brighter."""
    evaluate = TranslationEvaluator(
        *(data.load_pair(("digits/3", "digits/8"), split=split) for split in ("train", "test"))
    )
    swapped = types.SimpleNamespace(translate=lambda _, direction: evaluate.images[direction == "x_to_y"])
    return evaluate(swapped), evaluate(Shifts(0.25, 0.25))


def judged_texts():
    texts = ["a man sleeps in the sun", "two dogs run over a hill"]
    evaluate = TextEvaluator(types.SimpleNamespace(sources=texts, targets=texts))
    return evaluate(Speaker(texts, 0.1, 4)), evaluate(Speaker(["a"] * 2, 2.0, 1))


def judged_errors(task, name, of_size):
    """Of a task that judges by itself: of a model with small errors, and of one with large ones."""
    task = task.__new__(task)
    task.codes = types.SimpleNamespace(test_examples=np.zeros((3, 4)))
    task.data = types.SimpleNamespace(shape=(4,))
    models = [
        types.SimpleNamespace(levels_per_unit=1.0, **{name: lambda _, size=size: of_size(size)}) for size in (1.0, 2.0)
    ]
    return [task.evaluate(model) for model in models]


def bounds(size):
    return {"elbo": -size * np.ones(3), "reconstruction": -size * np.ones(3), "kl_divergence": size * np.ones(3)}


# What each says of something good and of something bad. A new evaluator, or a task that judges by itself, adds a row.
JUDGED = {
    Evaluator: (judged_points, judged_images),
    CodeEvaluator: (judged_codes,),
    TranslationEvaluator: (judged_translations, judged_domains),
    TextEvaluator: (judged_texts,),
    DetectionEvaluator: (lambda: [DetectionEvaluator(Rectangles())(each) for each in (Finder(), Finder(shift=60.0))],),
    SegmentationEvaluator: (lambda: [SegmentationEvaluator(Halves())(Segmenter(sky)) for sky in (0, 2)],),
    runs.Representation: (lambda: judged_errors(runs.Representation, "errors", np.ones(3).__mul__),),
    runs.LatentVariables: (lambda: judged_errors(runs.LatentVariables, "elbo", bounds),),
}


# That of translations trains classifiers.
TIERS = [pytest.param(one, marks=pytest.mark.exhaustive) if one is TranslationEvaluator else one for one in JUDGED]


@pytest.mark.parametrize("judge", TIERS)
def test_a_metric_says_which_way_it_is_better(judge):
    """Expected is what happens to it where something good is replaced by something bad; counts and texts are none."""
    told = set()
    for judged in JUDGED[judge]:
        good, bad = judged()
        names = {name for name, value in good.items() if isinstance(value, (int, float)) and name[:4] != "num_"}
        # Half is what new examples reach: more is copied, less is unlike the data.
        names -= {"nearer_to_training"}
        assert names <= {*judge.better}
        for name in names:
            assert judge.better[name] == ("max" if good[name] > bad[name] else "min"), name
            assert good[name] != bad[name], name
        told |= names
    assert told == {*judge.better}


def test_all_that_judge_say_which_way_is_better():
    judges = {value for value in vars(evaluation).values() if getattr(value, "__module__", "") == evaluation.__name__}
    judges = {judge for judge in judges if isinstance(judge, type)}
    tasks = {getattr(runs, name) for name in runs.__all__ if hasattr(getattr(runs, name), "evaluate")}
    own = {task for task in tasks if not isinstance(vars(task).get("evaluate"), functools.cached_property)}
    assert judges | own == {*JUDGED}
    for task in tasks - own:
        assert task.better in [judge.better for judge in judges]
