"""How a model of a data set is judged: the metrics that fit the data, always at the same sample sizes.

Each evaluator says in `better`, {name: "min" or "max"}, which way its metrics are better; what is not there is a count,
a text, a list, or best in the middle.
"""

import os
import re
from pathlib import Path

import numpy as np

from zoo.checks import check_positive

MODE_SAMPLES = 2500
WASSERSTEIN_SAMPLES = 1000
IMAGE_SAMPLES = 5000
CLASSIFIER_EXAMPLES = 60_000
# Training examples among which copies are looked for, and their values: 200 million take 800 MB.
COPIED_EXAMPLES, COPIED_VALUES = 60_000, 200_000_000
CODED_EXAMPLES = 10_000
TRANSLATED_EXAMPLES, TRANSLATED_PIXELS = 2000, 4_000_000
DOMAIN_EXAMPLES, DOMAIN_PIXELS = 10_000, 16_000_000
TRANSLATED_TEXTS, UNTRAINED_TEXTS = 2000, 64
DETECTED_IMAGES, UNTRAINED_IMAGES = 1000, 16
PASTED_PIXELS = 16_000_000
DIRECTIONS = ("x_to_y", "y_to_x")


class Evaluator:
    """Metrics of generated examples against a data set.

    Points: modes found, share of high quality and KL to uniform modes among 2,500 samples (protocol of PacGAN), where
    the set has modes; exact Wasserstein-2 distance of 1,000 samples to 1,000 held-out points.
    Labelled images: Fréchet distance in the features of a small classifier trained on the set. The real images are
    two disjoint halves: generated images are compared with the first, and the second half, equally large, gives the
    distance that real images have. A generator that returns training images would come nearer than images that were
    never seen, so the held-out images are halved too: generated ones are also compared with the first half, and by
    their features it is told how much nearer than that half they lie to the training set, of which at most 60,000 are
    looked at; the second half gives what real images have. All figures see what the classifier sees, and no more.

    Args:
        train: `zoo.data.Source` that the generator learns from.
        test: `zoo.data.Source` of held-out examples.
        cache_dir: Where the classifier is kept; None for $ZOO_CACHE_DIR, or else ~/.cache/zoo.
    """

    better = {
        "modes_found": "max",
        "high_quality": "max",
        "kl_to_uniform": "min",
        "wasserstein_2": "min",
        "frechet_distance": "min",
        "frechet_distance_held_out": "min",
    }

    def __init__(self, train, test, cache_dir=None):
        self.train, self.test = train, test
        self.cache_dir = cache_dir
        self._extractor = self._training_features = None

    @property
    def headline(self):
        """Name of the metric to report first, or None where the data allow none."""
        if not self.train.is_images:
            return "modes_found" if self.train.modes is not None else "wasserstein_2"
        return "frechet_distance" if self.train.is_labelled else None

    def __call__(self, model, seed=1):
        """Metrics of `model.generate`.

        Args:
            model: Anything with `generate(num_samples, seed)`.
            seed: Seed of the samples.

        Returns:
            {name: number or text}; empty where the data allow no metric.
        """
        if not self.train.is_images:
            return self.of_points(model.generate(MODE_SAMPLES, seed))
        if not self.train.is_labelled:
            return {}
        return self.of_images(model.generate(len(self._halves()[0]), seed))

    def of_points(self, points):
        """Metrics of generated points (n, dim), n at least 1,000."""
        from zoo.metrics import mode_coverage, wasserstein_2

        metrics = {}
        if self.train.modes is not None:
            coverage = mode_coverage(points, self.train.modes, self.train.mode_std)
            metrics = {name: coverage[name] for name in ("modes_found", "num_modes", "high_quality", "kl_to_uniform")}
            if not metrics["high_quality"]:
                # Undefined without a sample near a mode; None, since JSON has no NaN.
                metrics["kl_to_uniform"] = None
        held_out = self.test.examples(WASSERSTEIN_SAMPLES, seed=0)
        return {**metrics, "wasserstein_2": wasserstein_2(points[:WASSERSTEIN_SAMPLES], held_out)}

    def of_images(self, images):
        """Metrics of generated images (n, height, width, channels), n as large as half of the real ones."""
        return {**self.beside_training(images), **self.beside_held_out(images)}

    def beside_training(self, images):
        """{"frechet_distance", "frechet_label", "num_images"}: images beside half of the training images."""
        from zoo.metrics import frechet

        result = frechet(self._halves()[0], images, self.extractor())
        return {"frechet_distance": result["value"], "frechet_label": result["label"], "num_images": len(images)}

    def beside_held_out(self, images):
        """Images beside as many that were not learnt from; empty where there are fewer than 4 of those.

        Returns:
            {"frechet_distance_held_out": as `frechet_distance`, left out where half of the held-out images are no more
            than there are features; "nearer_to_training": as `zoo.metrics.nearer_to_training`, near 1/2 for new images
            and near 1 for copies; "num_held_out": the half}.
        """
        from zoo.metrics import frechet, nearer_to_training

        held_out, extract = self._held_out_halves()[0], self.extractor()
        if len(held_out) < 2:
            return {}
        images, features = images[: len(held_out)], extract(held_out)[0]
        if self._training_features is None:
            count = min(self.train.size, COPIED_EXAMPLES, max(1, COPIED_VALUES // int(np.prod(self.train.shape))))
            self._training_features = extract(self.train.examples(count, seed=0))[0]
        found = {"nearer_to_training": nearer_to_training(extract(images)[0], features, self._training_features)}
        if len(held_out) > features.shape[1]:
            found["frechet_distance_held_out"] = frechet(held_out, images, extract)["value"]
        return {**found, "num_held_out": len(held_out)}

    def real_against_real(self):
        """The metrics that real examples reach, as the generated ones are measured."""
        if not self.train.is_images:
            return self.of_points(self.train.examples(MODE_SAMPLES, seed=0))
        if not self.train.is_labelled:
            return {}
        return {**self.beside_training(self._halves()[1]), **self.beside_held_out(self._held_out_halves()[1])}

    def held_out_against_real(self):
        """The metrics of held-out images in place of generated ones, which a generator that learns cannot beat fairly.

        Empty for points, and where there are fewer than 4 held-out images or no classes.
        """
        if not (self.train.is_images and self.train.is_labelled) or len(self._held_out_halves()[1]) < 2:
            return {}
        return self.of_images(self._held_out_halves()[1])

    def extractor(self):
        """The classifier whose features are compared, trained on first use."""
        if self._extractor is None:
            self._extractor = classifier_of(self.train, self.cache_dir)
        return self._extractor

    def _halves(self):
        return _halves_of(self.train)

    def _held_out_halves(self):
        return _halves_of(self.test)


def _halves_of(source):
    images = source.examples(min(source.size, 2 * IMAGE_SAMPLES), seed=0)
    return np.split(images[: len(images) // 2 * 2], 2)


class CodeEvaluator:
    """What codes of examples are worth, beside those of principal component analysis (PCA) of the same length.

    Args:
        train: `zoo.data.Source` that the encoder learns from; at most 10,000 of its examples are neighbours.
        test: `zoo.data.Source` of held-out examples, of which at most 10,000 are looked at, in a random order.
        prepare: Function from examples to what the encoder takes, such as a binarisation; None for the examples.
    """

    better = {"neighbour_accuracy": "max", "squared_error": "min"}

    def __init__(self, train, test, prepare=None):
        prepare = prepare or (lambda examples: examples)
        count, test_count = (min(source.size, CODED_EXAMPLES) for source in (train, test))
        self.labels = self.test_labels = None
        if train.is_labelled:
            examples, self.labels = train.labelled(count)
            test_examples, self.test_labels = test.labelled(test_count)
        else:
            examples, test_examples = train.examples(count), test.examples(test_count)
        self.examples, self.test_examples = prepare(examples), prepare(test_examples)

    def of_codes(self, encode):
        """{"neighbour_accuracy"} of codes, on the test examples; empty without labels.

        Args:
            encode: Function from examples (n, *shape) to codes (n, code_dim).
        """
        if self.labels is None:
            return {}
        from zoo.metrics import neighbour_accuracy

        codes, test_codes = encode(self.examples), encode(self.test_examples)
        return {"neighbour_accuracy": neighbour_accuracy(codes, self.labels, test_codes, self.test_labels)}

    def of_pca(self, code_dim):
        """{"neighbour_accuracy", "squared_error"} of PCA's codes; the error is the mean over the test examples.

        Args:
            code_dim: Number of components; more than there are of values or examples are as many as there are.
        """
        from sklearn.decomposition import PCA

        flat, test_flat = (examples.reshape(len(examples), -1) for examples in (self.examples, self.test_examples))
        pca = PCA(min(code_dim, *flat.shape)).fit(flat)
        left = test_flat - pca.inverse_transform(pca.transform(test_flat))
        accuracy = self.of_codes(lambda examples: pca.transform(examples.reshape(len(examples), -1)))
        return {**accuracy, "squared_error": float(np.square(left).sum(1).mean())}


class TranslationEvaluator:
    """What translations of held-out images between two domains X and Y are worth.

    Cycle error: the mean of |F(G(x)) - x|, and of |G(F(y)) - y|, over values in [-1, 1]. It is 0 where nothing is
    translated, so another figure stands beside it. Where both domains have the same classes: the share of translated
    images that a classifier gets right which was trained on real images of the target domain. Elsewhere: the share that
    a classifier takes for images of the target domain which was trained to tell real images of the two apart; it looks
    at style alone, not at what is shown, and takes noise, too, for one of the two. Either stands beside the
    same for images as they are, and for real ones.

    Args:
        train: `zoo.data.Pair` that the model learns from.
        test: `zoo.data.Pair` of held-out images, of which at most 2,000 a side are looked at, in a random order; of
            large ones fewer, 61 of 256 x 256 pixels.
        cache_dir: Where the classifiers are kept; None for $ZOO_CACHE_DIR, or else ~/.cache/zoo.
    """

    better = {
        **dict.fromkeys(("cycle_error", "cycle_error_x", "cycle_error_y"), "min"),
        **{f"{what}_{direction}": "max" for what in ("accuracy", "domain") for direction in DIRECTIONS},
    }

    def __init__(self, train, test, cache_dir=None):
        self.sides, self.cache_dir = (train.x, train.y), cache_dir
        self.names = tuple(side.name for side in self.sides)
        most = min(TRANSLATED_EXAMPLES, max(1, TRANSLATED_PIXELS // (test.shape[0] * test.shape[1])))
        sides = [(side, min(side.size, most)) for side in (test.x, test.y)]
        self.labels, self._classifiers, self._domain_classifier = None, None, None
        if train.x.is_labelled and train.y.is_labelled and train.x.num_classes == train.y.num_classes:
            found = [side.labelled(count) for side, count in sides]
            self.images, self.labels = zip(*found, strict=True)
        else:
            self.images = tuple(side.examples(count) for side, count in sides)

    def __call__(self, model):
        """Metrics of `model.translate`, {name: number}."""
        translations, errors = [], []
        for images, there, back in zip(self.images, DIRECTIONS, DIRECTIONS[::-1], strict=True):
            translations.append(model.translate(images, there))
            errors.append(float(np.abs(model.translate(translations[-1], back) - images).mean()))
        errors = {"cycle_error": sum(errors) / 2, "cycle_error_x": errors[0], "cycle_error_y": errors[1]}
        return {**errors, **self.accuracies(*translations)}

    def domains(self, of_x, of_y):
        """{"domain_x_to_y", "domain_y_to_x"}: shares of what stands for X that is taken for Y, and the other way."""
        taken = [_right(self.domain_classifier(), images, want) for images, want in ((of_x, 1), (of_y, 0))]
        return {f"domain_{direction}": share for direction, share in zip(DIRECTIONS, taken, strict=True)}

    def accuracies(self, of_x, of_y):
        """{"accuracy_x_to_y", "accuracy_y_to_x"} of what stands for X in Y, and for Y in X, or `domains` of them."""
        if self.labels is None:
            return self.domains(of_x, of_y)
        judges = self.classifiers()[::-1]
        rights = [_right(*one) for one in zip(judges, (of_x, of_y), self.labels, strict=True)]
        return {f"accuracy_{direction}": right for direction, right in zip(DIRECTIONS, rights, strict=True)}

    def untranslated(self):
        """The accuracies of images as they are."""
        return self.accuracies(*self.images)

    def real(self):
        """The accuracies that real images of the target domains reach."""
        if self.labels is None:
            return self.domains(*self.images[::-1])
        rights = [_right(*one) for one in zip(self.classifiers(), self.images, self.labels, strict=True)]
        return {f"accuracy_{direction}": right for direction, right in zip(DIRECTIONS, rights[::-1], strict=True)}

    def classifiers(self):
        """Those of X and of Y, trained on first use."""
        if self._classifiers is None:
            self._classifiers = [classifier_of(side, self.cache_dir) for side in self.sides]
        return self._classifiers

    def domain_classifier(self):
        """That which tells images of the two domains apart, 0 for X and 1 for Y; trained on first use."""
        if self._domain_classifier is None:
            most = min(DOMAIN_EXAMPLES, max(1, DOMAIN_PIXELS // (self.images[0].shape[1] * self.images[0].shape[2])))
            sides = [side.examples(min(side.size, most)) for side in self.sides]
            labels = np.repeat([0, 1], [len(side) for side in sides])
            self._domain_classifier = _classifier(
                np.concatenate(sides), labels, "-or-".join(self.names), self.cache_dir
            )
        return self._domain_classifier


class TextEvaluator:
    """What translations of held-out texts are worth: BLEU, chrF and exact match, perplexity and token accuracy.

    Args:
        test: `zoo.data.TextPairs`, of which the first 2,000 are translated.
    """

    better = {
        **dict.fromkeys(("bleu", "chrf", "exact_match", "test_token_accuracy"), "max"),
        **dict.fromkeys(("perplexity", "test_cross_entropy"), "min"),
    }

    def __init__(self, test):
        self.sources, self.targets = test.sources[:TRANSLATED_TEXTS], test.targets[:TRANSLATED_TEXTS]

    def __call__(self, model):
        """Metrics of `model.translate` and `model.likelihood`, {name: number or text}."""
        return self._of(model, self.sources, self.targets)

    def untrained(self, model):
        """The same of a few texts, by the most likely token at each place: a model that ends no text takes long."""
        return self._of(model, self.sources[:UNTRAINED_TEXTS], self.targets[:UNTRAINED_TEXTS], num_beams=1)

    def _of(self, model, sources, targets, **options):
        from zoo.metrics import perplexity, translation_quality

        told = model.likelihood(sources, targets)
        tokens = told["num_tokens"].sum()
        nats = -float(told["log_probabilities"].astype("float64").sum() / tokens)
        return {
            **translation_quality(model.translate(sources, **options), targets),
            "perplexity": perplexity(nats),
            "test_cross_entropy": nats,
            "test_token_accuracy": float(told["num_right"].sum() / tokens),
            "num_texts": len(sources),
        }


class DetectionEvaluator:
    """How well a model finds the objects of held-out pictures: COCO's average precision of boxes and of masks.

    Boxes and masks are taken back to the pixels of the original pictures, where the annotations are. As a callback:
    `zoo.callbacks.Evaluate(DetectionEvaluator(test))`.

    Args:
        test: `zoo.data.DetectionSource`.
        max_images: Pictures of it to look at, drawn at random, always the same ones; None for all.
        batch_size: Pictures at a time.
        category_ids: The id in the annotations of each class of the model; None for those of the data. Detections of
            categories that the data do not have are left out.

    Raises:
        ValueError: If a number is out of range.

    Example:
        DetectionEvaluator(data.load_detection("scenes", split="test"))(model)["mask_ap"]
        DetectionEvaluator(coco, category_ids=range(1, 91))  # for weights of torchvision, whose classes are all ids
    """

    better = {f"{kind}_{name}": "max" for kind in ("box", "mask") for name in ("ap", "ap50", "ap75")}

    def __init__(self, test, max_images=DETECTED_IMAGES, batch_size=8, *, category_ids=None):
        self.test, self.batch_size = test, batch_size
        self.rows = _judged_rows(test, max_images, batch_size)
        self.category_ids = tuple(test.category_ids if category_ids is None else category_ids)

    def __call__(self, model):
        """Metrics of `model.detect`.

        Args:
            model: Anything with `detect(images, sizes, batch_size)`.

        Returns:
            {"box_ap", "box_ap50", "box_ap75", "mask_ap", "mask_ap50", "mask_ap75": number in [0, 1], or None where no
            picture holds an object; "num_images"}.

        Raises:
            ValueError: If the model finds classes that the data do not have.
        """
        return self._of(model, self.rows)

    def untrained(self, model):
        """The same of a few pictures: a model that is sure of nothing finds as much as it may, everywhere."""
        return self._of(model, self.rows[:UNTRAINED_IMAGES])

    def found(self, model, rows):
        """The detections in some pictures, as COCO lists results.

        Args:
            model: As in a call.
            rows: Numbers of pictures in the data.

        Returns:
            List of {"image_id", "category_id", "score", "bbox": [x, y, width, height], "segmentation": RLE}.
        """
        listed = []
        for start in range(0, len(rows), self.batch_size):
            some = [int(row) for row in rows[start : start + self.batch_size]]
            images, targets = zip(*(self.test.read(row) for row in some), strict=True)
            sizes = np.array([one["sizes"] for one in targets], "int32")
            batch = model.detect(np.stack(images), sizes, batch_size=self.batch_size)
            for number, row in enumerate(some):
                own = {name: values[number] for name, values in batch.items() if name != "num_detections"}
                listed += self._listed(row, sizes[number], **own)
        return listed

    def _of(self, model, rows):
        from zoo.metrics import coco_average_precision

        listed, ids = self.found(model, rows), {self.test.image_id(int(row)) for row in rows}
        whole = self.test.truth
        truth = {
            "images": [one for one in whole["images"] if one["id"] in ids],
            "annotations": [one for one in whole["annotations"] if one["image_id"] in ids],
            "categories": whole["categories"],
        }
        metrics = {}
        for kind in ("box", "mask"):
            scores = coco_average_precision(truth, listed, kind)
            metrics |= {f"{kind}_{name}": scores[name] for name in ("ap", "ap50", "ap75")}
        return {**metrics, "num_images": len(rows)}

    def _listed(self, row, size, boxes, classes, scores, masks):
        there, (height, width) = classes >= 0, map(int, self.test.original_size(row))
        boxes, classes, scores, masks = (one[there] for one in (boxes, classes, scores, masks))
        categories = np.array(self.category_ids)
        if len(classes) and classes.max() >= len(categories):
            raise ValueError(
                f"The model must find classes of the data, 0 to {len(categories) - 1}. Received: class "
                f"{classes.max()}. Build it with `num_classes={len(categories)}`, or give `category_ids` of all of its "
                "classes."
            )
        known = np.isin(categories[classes], self.test.category_ids)
        boxes, classes, scores, masks = (one[known] for one in (boxes, classes, scores, masks))
        boxes = boxes * np.array([width / size[1], height / size[0]] * 2, boxes.dtype)
        boxes = np.clip(boxes, 0, np.array([width, height] * 2, boxes.dtype))
        return [
            {
                "image_id": self.test.image_id(row),
                "category_id": int(categories[one]),
                "score": float(score),
                "bbox": [float(value) for value in (*box[:2], *(box[2:] - box[:2]))],
                "segmentation": mask,
            }
            for one, score, box, mask in zip(classes, scores, boxes, _encoded(masks, boxes, height, width), strict=True)
        ]


class SegmentationEvaluator:
    """How well a model labels the pixels of held-out pictures: the four figures of Long et al. 2015, and IoU by class.

    They are of all pictures at once: pixels are counted over the whole set, not averaged over pictures. Pictures are
    judged at the size of the canvas, as they are learnt from, and not at that of their files; void pixels, and those
    beside a picture, do not count. As a callback: `zoo.callbacks.Evaluate(SegmentationEvaluator(test))`.

    Args:
        test: `zoo.data.SegmentationSource`.
        max_images: Pictures of it to look at, drawn at random, always the same ones; None for all.
        batch_size: Pictures at a time.

    Raises:
        ValueError: If a number is out of range.

    Example:
        SegmentationEvaluator(data.load_segmentation("scenes", split="test"))(model)["mean_iou"]
    """

    better = dict.fromkeys(("pixel_accuracy", "mean_accuracy", "mean_iou", "frequency_weighted_iou"), "max")

    def __init__(self, test, max_images=None, batch_size=8):
        self.test, self.batch_size = test, batch_size
        self.rows = _judged_rows(test, max_images, batch_size)

    def __call__(self, model):
        """Metrics of `model.segment`.

        Args:
            model: Anything with `segment(images, batch_size)`.

        Returns:
            {"pixel_accuracy", "mean_accuracy", "mean_iou", "frequency_weighted_iou": number in [0, 1], or None where no
            pixel is labelled; "num_images"; "iou": {name of a class: number, or None where it is neither in the truth
            nor found}}.

        Raises:
            ValueError: If the model finds classes that the data do not have.
        """
        return self._of(model, self.rows)

    def untrained(self, model):
        """The same of a few pictures, which say as much of a model that has learnt nothing."""
        return self._of(model, self.rows[:UNTRAINED_IMAGES])

    def confusion(self, model, rows):
        """The pixels of some pictures, counted by true and by found class.

        Args:
            model: As in a call.
            rows: Numbers of pictures in the data.

        Returns:
            int64 array (num_classes, num_classes), as `zoo.metrics.confusion_matrix` returns it.
        """
        from zoo.metrics import confusion_matrix

        classes = self.test.num_classes
        matrix = np.zeros((classes, classes), "int64")
        for start in range(0, len(rows), self.batch_size):
            some = rows[start : start + self.batch_size]
            images, labels = (
                np.stack(parts) for parts in zip(*(self.test.read(int(row)) for row in some), strict=True)
            )
            matrix += confusion_matrix(labels, model.segment(images, batch_size=self.batch_size), classes)
        return matrix

    def _of(self, model, rows):
        from zoo.metrics import class_iou, segmentation_scores

        matrix = self.confusion(model, rows)
        of_classes = dict(zip(self.test.class_names, class_iou(matrix), strict=True))
        return {**segmentation_scores(matrix), "num_images": len(rows), "iou": of_classes}


def classifier_of(source, cache_dir=None):
    """The small classifier of a labelled `zoo.data.Source`, a function from images to features and logits."""
    # A sample stands for a set that may not fit into memory.
    images, labels = source.labelled(CLASSIFIER_EXAMPLES if source.size > CLASSIFIER_EXAMPLES else None)
    return _classifier(images, labels, Path(source.name).name, cache_dir)


def _classifier(images, labels, name, cache_dir):
    from zoo.metrics import classifier_features

    cache_dir = Path(cache_dir or os.environ.get("ZOO_CACHE_DIR") or "~/.cache/zoo").expanduser()
    return classifier_features(images, labels, name=re.sub(r"[^A-Za-z0-9_.-]+", "-", name), cache_dir=cache_dir)


def _judged_rows(test, max_images, batch_size):
    """Numbers of the pictures to look at, in one order, so that the first few are a sample too."""
    for name, value in (("max_images", max_images), ("batch_size", batch_size)):
        if value is not None:
            check_positive(name, value)
    return np.random.default_rng(0).permutation(test.size)[:max_images]


def _encoded(masks, boxes, height, width):
    """Masks (n, M, M) in boxes as RLE of a picture, a few at a time: 100 of 4000 x 3000 pixels would take 5 GB."""
    from pycocotools import mask

    from zoo.detection.masks import paste_masks

    step, encoded = max(1, PASTED_PIXELS // (height * width)), []
    for start in range(0, len(masks), step):
        pasted = paste_masks(masks[start : start + step], boxes[start : start + step], height, width).numpy() > 0.5
        encoded += mask.encode(np.asfortranarray(pasted.transpose(1, 2, 0), "uint8"))
    return encoded


def _right(classifier, images, labels):
    return float((classifier(images)[1].argmax(1) == labels).mean())
