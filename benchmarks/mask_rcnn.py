"""Time of Mask R-CNN with a ResNet-50 and 91 classes: ours and torchvision's, with the same weights.

    python -m benchmarks.mask_rcnn
    python -m benchmarks.mask_rcnn --parts detect --sides 320 --rounds 3 --json mask_rcnn.json
    python -m benchmarks.mask_rcnn --parts stages --sides 320

Random weights, scaled so that there are detections, and photos of 320 x 320 and 640 x 640 pixels. The contestants, each
in a process of its own:

detect: one uint8 photo at a time, to NumPy arrays.

- zoo             `MaskRCNN.detect`, and each mask pasted into the photo as probabilities, as torchvision always does;
                  the others are divided by it.
- zoo-unpasted    `MaskRCNN.detect` as users call it: masks stay 28 x 28 pixels in their boxes.
- torch           torchvision's `MaskRCNN`, eager, with its compiled operators.

train: one update on two photos of 320 x 320 pixels with five objects each; batch normalisation is frozen, the last 3 of
the 5 stages of the backbone are trained, SGD with momentum and weight decay.

- zoo             `MaskRCNN.compile()` and `fit`; the others are divided by it.
- zoo-jit         the same with `jit_compile=True`; only with `--compiled`, since XLA compiles for many minutes.
- torch           torchvision's; nothing is logged.

stages: what of `detect` takes how long, each stage on what the one before it made: backbone, feature pyramid, region
proposals, heads of boxes and masks, and pasting; ours and torchvision's.

First both find the objects of the same photos, and evaluate each loss on one of them with all anchors and proposals in
the place of samples, and must agree.
"""

import argparse
import time

import numpy as np

from benchmarks.gan_step.contestants import environment
from benchmarks.side_by_side import (
    FEWEST_STEPS,
    Processes,
    add_json,
    installed,
    positive,
    print_table,
    rows_of,
    show,
    timed,
    turns,
    write_json,
)

NUM_CLASSES = 90
TRAINED_STAGES = 3
SIDE_OF_TRAINING, BATCH_SIZE, NUM_OBJECTS = 320, 2, 5
SGD = {"learning_rate": 1e-4, "momentum": 0.9, "weight_decay": 1e-4}
PACKAGES = {"zoo": (), "torch": ("torch", "torchvision")}
PARTS = {
    "detect": ("zoo", "zoo-unpasted", "torch"),
    "train": ("zoo", "zoo-jit", "torch"),
    "stages": ("zoo", "torch"),
}
STAGES = ("backbone", "pyramid", "proposals", "heads", "pasting")
TERMS = {
    "rpn_class_loss": "loss_objectness",
    "rpn_box_loss": "loss_rpn_box_reg",
    "class_loss": "loss_classifier",
    "box_loss": "loss_box_reg",
    "mask_loss": "loss_mask",
}
# More than there are anchors and proposals, so that all are taken.
ALL = 10**6
# Of the coarsest features of the backbone.
STRIDE = 32


def make(name, threads):
    """The contestant of a name."""
    return (Torch if name == "torch" else Zoo)(name, threads)


def photos(side, count):
    """Squares of scikit-learn's two photos, uint8 (count, side, side, 3)."""
    from PIL import Image
    from sklearn.datasets import load_sample_images

    found = []
    for number in range(count):
        picture = Image.fromarray(load_sample_images().images[number % 2])
        left = 50 * number % (picture.width - picture.height)
        square = picture.crop((left, 0, left + picture.height, picture.height))
        found.append(np.asarray(square.resize((side, side), Image.Resampling.BICUBIC)))
    return np.stack(found)


def targets(side, count):
    """Ellipses as the targets of `MaskRCNN`."""
    numbers = np.random.default_rng(2)
    starts = numbers.uniform(0, 0.6, (count, NUM_OBJECTS, 2))
    boxes = np.concatenate([starts, starts + numbers.uniform(0.1, 0.4, starts.shape)], -1) * side
    places = np.arange(side) + 0.5
    centres, radii = (boxes[..., :2] + boxes[..., 2:]) / 2, (boxes[..., 2:] - boxes[..., :2]) / 2
    x, y = ((places - centres[..., axis, None]) / radii[..., axis, None] for axis in (0, 1))
    return {
        "boxes": boxes.astype("float32"),
        "classes": numbers.integers(0, NUM_CLASSES, (count, NUM_OBJECTS), "int32"),
        "crowds": np.zeros((count, NUM_OBJECTS), bool),
        "masks": (x[..., None, :] ** 2 + y[..., :, None] ** 2 < 1).astype("uint8"),
        "sizes": np.full((count, 2), side, "int32"),
    }


def state():
    """Weights under torchvision's names, the same for all."""
    numbers, found = np.random.default_rng(1), {}

    def layer(name, *shape, gain=1.0, bias=True):
        kernel = numbers.standard_normal(shape, "float32")
        found[f"{name}.weight"] = kernel * np.float32(gain * np.prod(shape[1:]) ** -0.5)
        if bias:
            found[f"{name}.bias"] = np.zeros(shape[0], "float32")

    def conv(name, norm, *shape, scale=1.0):
        layer(name, *shape, gain=2**0.5, bias=False)
        for one, value in (("weight", scale), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)):
            spread = numbers.uniform(-0.1, 0.1, shape[0])
            found[f"{norm}.{one}"] = (value + value * spread if value else spread).astype("float32")

    body = "backbone.body"
    conv(f"{body}.conv1", f"{body}.bn1", 64, 3, 7, 7)
    into = 64
    for number, blocks in enumerate((3, 4, 6, 3)):
        width = 64 << number
        for place in range(blocks):
            block = f"{body}.layer{number + 1}.{place}"
            conv(f"{block}.conv1", f"{block}.bn1", width, into, 1, 1)
            conv(f"{block}.conv2", f"{block}.bn2", width, width, 3, 3)
            # Small, since nothing else keeps what is added up from growing.
            conv(f"{block}.conv3", f"{block}.bn3", 4 * width, width, 1, 1, scale=0.3)
            if not place:
                conv(f"{block}.downsample.0", f"{block}.downsample.1", 4 * width, into, 1, 1, scale=0.7)
            into = 4 * width
        layer(f"backbone.fpn.inner_blocks.{number}.0", 256, into, 1, 1)
        layer(f"backbone.fpn.layer_blocks.{number}.0", 256, 256, 3, 3)
        layer(f"roi_heads.mask_head.{number}.0", 256, 256, 3, 3, gain=2**0.5)
    layer("rpn.head.conv.0.0", 256, 256, 3, 3, gain=2**0.5)
    layer("rpn.head.cls_logits", 3, 256, 1, 1)
    layer("rpn.head.bbox_pred", 12, 256, 1, 1, gain=0.3)
    layer("roi_heads.box_head.fc6", 1024, 256 * 49, gain=2**0.5)
    layer("roi_heads.box_head.fc7", 1024, 1024, gain=2**0.5)
    layer("roi_heads.box_predictor.cls_score", NUM_CLASSES + 1, 1024, gain=2)
    layer("roi_heads.box_predictor.bbox_pred", 4 * NUM_CLASSES + 4, 1024, gain=0.3)
    layer("roi_heads.mask_predictor.conv5_mask", 256, 256, 2, 2, gain=4)
    layer("roi_heads.mask_predictor.mask_fcn_logits", NUM_CLASSES + 1, 256, 1, 1)
    return found


class Zoo:
    """`MaskRCNN` as its users call it."""

    def __init__(self, name, threads):
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
        self.name, self.model = name, None

    def make(self, **options):
        """A model with the shared weights."""
        from zoo import MaskRCNN, load_torchvision_weights, torchvision_resnet

        backbone = torchvision_resnet(50, trainable_stages=TRAINED_STAGES)
        model = MaskRCNN(backbone, NUM_CLASSES, **options)
        load_torchvision_weights(model, state())
        return model

    def load(self, part, side):
        """Takes up a new model, and what it is to work on."""
        import keras
        import tensorflow as tf

        from zoo.detection.masks import paste_masks

        keras.backend.clear_session()
        self.model = self.make()
        if part == "train":
            self.model.compile(keras.optimizers.SGD(**SGD), jit_compile=self.name == "zoo-jit")
            pairs = photos(side, BATCH_SIZE), targets(side, BATCH_SIZE)
            self.pairs = tf.data.Dataset.from_tensors(pairs).cache().repeat().prefetch(2)
            return
        self.images = photos(side, 1)
        self.paste = tf.function(lambda masks, boxes: paste_masks(masks, boxes, side, side, whole_pixels=True))
        if part == "stages":
            self.stages = self.stages_of(self.model)

    def detect(self, count):
        """Seconds per photo."""
        return timed(self.found, count)

    def found(self):
        """Boxes, labels, scores and, unless they stay unpasted, masks of the photo."""
        found = self.model.detect(self.images)
        number = int(found["num_detections"][0])
        found = {name: one[0, :number] for name, one in found.items() if name != "num_detections"}
        if self.name != "zoo-unpasted":
            found["masks"] = self.paste(found["masks"], found["boxes"]).numpy()
        return found

    def losses(self, side):
        """Each term on one photo, of all anchors and proposals."""
        import tensorflow as tf

        model = self.make(num_anchor_samples=ALL, num_box_samples=ALL)
        wanted = targets(side, 1)
        names = ("boxes", "classes", "crowds", "masks", "sizes")
        given = [tf.constant(one) for one in (photos(side, 1), *(wanted[name] for name in names))]
        terms = tf.function(model.objective)(*given, tf.zeros((1,), tf.uint32))
        return {name: float(terms[name][0]) for name in TERMS}

    def train(self, count):
        """Seconds per step over `count` steps of one `fit` call, after one that is not counted."""
        import keras

        times = []
        clock = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: times.append(time.perf_counter()))
        self.model.fit(self.pairs, steps_per_epoch=count + 1, shuffle=False, verbose=0, callbacks=[clock])
        return (times[-1] - times[0]) / count

    def stages_of(self, model):
        """{stage: function that runs it on what the one before it made}."""
        import tensorflow as tf

        from zoo.detection.selection import best_boxes, propose

        sizes, images = tf.constant([self.images.shape[1:3]]), tf.constant(self.images)
        limits = {"score_threshold": model.score_threshold, "overlap": model.overlap, "count": model.max_detections}

        def backbone(images):
            pixels = (tf.cast(images, tf.float32) / 255 - model.image_mean) / model.image_std
            return model.backbone(pixels)

        def pyramid(*levels):
            return dict(zip(range(2, 7), model.feature_pyramid(levels), strict=True))

        def proposals(features):
            return propose(*model.everywhere(features, images), sizes, model.num_proposals)

        def heads(features, proposals, there):
            probabilities, deltas = model.judged(features, proposals, there)
            boxes, classes, _, there = best_boxes(proposals, probabilities, deltas, sizes, **limits)
            return boxes, model.masks_in(features, boxes, classes, there), there

        calls = {}

        def add(name, function, *given):
            function = tf.function(function)
            calls[name] = lambda: tf.nest.map_structure(lambda one: one.numpy(), function(*given))
            return function(*given)

        levels = add("backbone", backbone, images)
        features = add("pyramid", pyramid, *levels)
        boxes, there = add("proposals", proposals, features)
        boxes, masks, there = add("heads", heads, features, boxes, there)
        number = int(tf.reduce_sum(tf.cast(there, tf.int32)))
        add("pasting", self.paste, masks[0, :number], boxes[0, :number])
        return calls

    def stage(self, name, count):
        """Seconds of a stage."""
        return timed(self.stages[name], count)


class Torch:
    """torchvision's Mask R-CNN."""

    def __init__(self, name, threads):
        import torch

        torch.set_num_threads(threads)
        self.torch = torch

    def make(self, side, **options):
        """A model with the shared weights."""
        from torchvision.models import resnet50
        from torchvision.models.detection import MaskRCNN
        from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor
        from torchvision.ops import FrozenBatchNorm2d

        # As its `maskrcnn_resnet50_fpn` does when it is given weights.
        backbone = resnet50(weights=None, norm_layer=FrozenBatchNorm2d)
        backbone = _resnet_fpn_extractor(backbone, TRAINED_STAGES)
        model = MaskRCNN(backbone, NUM_CLASSES + 1, min_size=side, max_size=side, **options)
        model.load_state_dict({name: self.torch.from_numpy(one) for name, one in state().items()})
        return model

    def load(self, part, side):
        """As of `Zoo`."""
        self.model = self.make(side)
        if part == "train":
            self.given = self.examples(side, BATCH_SIZE)
            moved = [one for one in self.model.parameters() if one.requires_grad]
            self.optimizer = self.torch.optim.SGD(
                moved, SGD["learning_rate"], SGD["momentum"], weight_decay=SGD["weight_decay"]
            )
            self.model.train()
            return
        self.images = photos(side, 1)
        self.model.eval()
        if part == "stages":
            with self.torch.inference_mode():
                self.stages = self.stages_of(self.model)

    def tensors(self, images):
        """Images as torchvision takes them."""
        return [self.torch.from_numpy(image).permute(2, 0, 1).float().div_(255) for image in images]

    def examples(self, side, count):
        """Images and targets as torchvision takes them."""
        torch, wanted = self.torch, targets(side, count)
        rows = [
            {
                "boxes": torch.from_numpy(wanted["boxes"][row]),
                "labels": torch.from_numpy(wanted["classes"][row]).long() + 1,
                "masks": torch.from_numpy(wanted["masks"][row]),
            }
            for row in range(count)
        ]
        return self.tensors(photos(side, count)), rows

    def detect(self, count):
        """Seconds per photo."""
        return timed(self.found, count)

    def found(self):
        """As of `Zoo`."""
        with self.torch.inference_mode():
            (found,) = self.model(self.tensors(self.images))
        found = {name: one.numpy() for name, one in found.items()}
        found |= {"classes": found.pop("labels") - 1, "masks": found["masks"][:, 0]}
        return found

    def losses(self, side):
        """As of `Zoo`."""
        options = {"rpn_batch_size_per_image": ALL, "box_batch_size_per_image": ALL}
        model = self.make(side, **options).train()
        with self.torch.no_grad():
            terms = model(*self.examples(side, 1))
        return {name: terms[other].item() for name, other in TERMS.items()}

    def step(self):
        """One update."""
        self.optimizer.zero_grad()
        sum(self.model(*self.given).values()).backward()
        self.optimizer.step()

    def train(self, count):
        """Seconds per step."""
        return timed(self.step, count)

    def stages_of(self, model):
        """As of `Zoo`."""
        from torchvision.models.detection.image_list import ImageList

        side = self.images.shape[1]
        tensors, sizes, calls = self.tensors(self.images), [(side, side)], {}

        def add(name, function):
            calls[name] = function
            return function()

        levels = add("backbone", lambda: model.backbone.body(model.transform(tensors)[0].tensors))
        features = add("pyramid", lambda: model.backbone.fpn(levels))
        images = ImageList(model.transform(tensors)[0].tensors, sizes)
        proposals, _ = add("proposals", lambda: model.rpn(images, features))
        found, _ = add("heads", lambda: model.roi_heads(features, proposals, sizes))
        add("pasting", lambda: model.transform.postprocess([dict(found[0])], sizes, sizes))
        return calls

    def stage(self, name, count):
        """Seconds of a stage."""
        with self.torch.inference_mode():
            return timed(self.stages[name], count)


def check_found(processes, side):
    """Prints how far apart what is found is; stops if it is another thing."""
    ours, theirs = (processes.ask(name, "found") for name in ("zoo", "torch"))
    # Two of the same score may change places.
    order = [
        min(
            np.flatnonzero(theirs["classes"] == label),
            key=lambda row: np.abs(theirs["boxes"][row] - box).max(),
            default=None,
        )
        for label, box in zip(ours["classes"], ours["boxes"], strict=True)
    ]
    same_objects = len(ours["boxes"]) == len(theirs["boxes"]) and None not in order
    if not same_objects or len(set(order)) != len(order) or not order:
        raise SystemExit(
            f"zoo finds {len(ours['boxes'])} objects at {side} pixels, torch {len(theirs['boxes'])}, and not the same."
        )
    differences = [np.abs(ours[name] - theirs[name][order]).max() for name in ("boxes", "scores", "masks")]
    print(
        f"\n{len(order)} objects at {side} pixels, largest differences: boxes {differences[0]:.1e} pixels, scores "
        f"{differences[1]:.1e}, masks {differences[2]:.1e}"
    )
    if not all(one <= most for one, most in zip(differences, (1e-2, 1e-4, 1e-3), strict=True)):
        raise SystemExit("That is too much for times to be compared.")


def check_losses(processes, side):
    """Prints each loss of both; stops if they disagree."""
    ours, theirs = (processes.ask(name, "losses", side) for name in ("zoo", "torch"))
    print("\nLosses of one photo, of all anchors and proposals")
    columns = [("", 16), ("zoo", 12), ("torch", 12), ("difference", 12)]
    differences = {name: abs(ours[name] - theirs[name]) / abs(theirs[name]) for name in TERMS}
    rows = ((name, f"{ours[name]:.5f}", f"{theirs[name]:.5f}", f"{one:.1e}") for name, one in differences.items())
    print_table(columns, rows)
    if not max(differences.values()) <= 1e-3:
        raise SystemExit("They differ too much for times to be compared.")


def run_detect(processes, names, options):
    """Prints and returns the ratios of detection."""
    results = []
    for side in options.sides:
        for name in names:
            processes.ask(name, "load", "detect", side)
        if "torch" in names:
            check_found(processes, side)
        times = turns(names, options, lambda name, count: processes.ask(name, "detect", count))
        rows = rows_of(times, part="detect", side=side)
        show(f"One photo of {side} x {side} pixels", options, rows)
        results += rows
    return results


def run_train(processes, names, options):
    """Prints and returns the ratios of a training step."""
    if "torch" in names:
        check_losses(processes, SIDE_OF_TRAINING)
    for name in names:
        processes.ask(name, "load", "train", SIDE_OF_TRAINING)
    times = turns(names, options, lambda name, count: processes.ask(name, "train", count))
    rows = rows_of(times, part="train", side=SIDE_OF_TRAINING)
    show(f"One update on {BATCH_SIZE} photos of {SIDE_OF_TRAINING} x {SIDE_OF_TRAINING} pixels", options, rows)
    return rows


def run_stages(processes, names, options):
    """Prints and returns the time of each stage."""
    results = []
    for side in options.sides:
        for name in names:
            processes.ask(name, "load", "stages", side)
        rows = []
        for stage in STAGES:
            times = turns(names, options, lambda name, count, stage=stage: processes.ask(name, "stage", stage, count))
            rows += [row | {"label": f"{stage}, {row['contestant']}"} for row in rows_of(times, part=stage, side=side)]
        show(f"Stages of one photo of {side} x {side} pixels", options, rows, "label")
        results += rows
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="default: all")
    parser.add_argument("--sides", type=positive, nargs="+", default=[320, 640], help="of photos; default: 320 640")
    parser.add_argument("--rounds", type=positive, default=6, help="turns of each contestant (default: %(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=4.0, help=f"of a turn, {FEWEST_STEPS} runs at least (default: %(default)s)"
    )
    parser.add_argument("--threads", type=positive, default=2, help="threads of each contestant (default: %(default)s)")
    parser.add_argument("--compiled", action="store_true", help="also train ours compiled by XLA")
    add_json(parser)
    options = parser.parse_args()
    if any(side % STRIDE for side in options.sides):
        parser.error(f"--sides must be multiples of {STRIDE}, so that no photo is padded. Received: {options.sides}")

    present = installed(PACKAGES)
    runs, results = {"detect": run_detect, "train": run_train, "stages": run_stages}, []
    for part in options.parts:
        names = [name for name in PARTS[part] if name.partition("-")[0] in present]
        names = [name for name in names if options.compiled or name != "zoo-jit"]
        with Processes(make, names, options.threads, environment=environment(options.threads)) as processes:
            results += runs[part](processes, names, options)
    write_json(options, results)


if __name__ == "__main__":
    main()
