"""Figures of labelled pixels on matrices counted by hand, and as scikit-learn has them."""

import numpy as np
import pytest
import tensorflow as tf
from sklearn import metrics as sklearn

from zoo.metrics import class_iou, confusion_matrix, segmentation_scores
from zoo.training.segmentation import ConfusionMatrix

NAMES = ("pixel_accuracy", "mean_accuracy", "mean_iou", "frequency_weighted_iou")


def test_pixels_are_counted_by_hand():
    """Two images of three pixels; the void one does not count, whatever was predicted there."""
    truth = np.array([[0, 0, 1], [1, 2, 255]], "uint8")
    for beyond in (0, 2, 255):
        predicted = np.array([[0, 1, 1], [1, 2, beyond]], "uint8")
        matrix = confusion_matrix(truth, predicted, 3)
        assert matrix.dtype == np.int64 and matrix.tolist() == [[1, 1, 0], [0, 2, 0], [0, 0, 1]]
    # Of two, two and one true pixels 1, 2 and 1 are right; the second class is predicted three times.
    assert class_iou(matrix) == pytest.approx([1 / 2, 2 / 3, 1])
    accuracies = {"pixel_accuracy": 4 / 5, "mean_accuracy": (1 / 2 + 1 + 1) / 3}
    overlaps = {"mean_iou": 13 / 18, "frequency_weighted_iou": (2 * 1 / 2 + 2 * 2 / 3 + 1) / 5}
    assert segmentation_scores(matrix) == pytest.approx(accuracies | overlaps)


@pytest.mark.parametrize("kind", ["uint8", "int32", "int64"])
def test_equals_scikit_learn(kind):
    """Of 255 classes, whose places in a matrix are beyond 8 and 16 bits, and of 9 of which some are missing."""
    rng = np.random.default_rng(0)
    for num_classes, highest in ((255, 255), (9, 6)):
        truth = rng.integers(1, highest, (4, 30, 40))
        predicted = np.where(rng.random(truth.shape) < 0.6, truth, rng.integers(0, highest, truth.shape))
        there = rng.random(truth.shape) < 0.9
        matrix = confusion_matrix(np.where(there, truth, 255).astype(kind), predicted.astype(kind), num_classes)
        pair = truth[there], predicted[there]
        np.testing.assert_array_equal(matrix, sklearn.confusion_matrix(*pair, labels=np.arange(num_classes)))
        present = np.union1d(*pair)
        expected = np.full(num_classes, None)
        expected[present] = sklearn.jaccard_score(*pair, labels=present, average=None)
        assert class_iou(matrix) == [value if value is None else pytest.approx(value) for value in expected]
        # Recall of the classes in the truth, overlaps of those in either; the first is only predicted.
        recall = sklearn.recall_score(*pair, labels=np.unique(pair[0]), average="macro")
        overlaps = [sklearn.jaccard_score(*pair, average=how, labels=present) for how in ("macro", "weighted")]
        values = (sklearn.accuracy_score(*pair), recall, *overlaps)
        assert segmentation_scores(matrix) == pytest.approx(dict(zip(NAMES, values, strict=True)))


def test_matrices_of_parts_add_up_to_that_of_the_whole():
    rng = np.random.default_rng(0)
    truth, predicted = rng.integers(0, 4, (2, 5, 8, 8))
    parts = sum(confusion_matrix(truth[part], predicted[part], 4) for part in (slice(2), slice(2, 5)))
    np.testing.assert_array_equal(parts, confusion_matrix(truth, predicted, 4))


def test_what_is_only_predicted_has_an_overlap_of_nothing_and_no_accuracy():
    """Class 1 of three is never true, class 2 neither true nor predicted."""
    matrix = confusion_matrix([0, 0, 0, 0], [0, 0, 0, 1], 3)
    assert class_iou(matrix) == [0.75, 0.0, None]
    expected = {"pixel_accuracy": 0.75, "mean_accuracy": 0.75, "mean_iou": 0.375, "frequency_weighted_iou": 0.75}
    assert segmentation_scores(matrix) == expected


def test_without_a_labelled_pixel_there_is_no_figure():
    for truth in (np.full((2, 3, 3), 255), np.zeros((0, 3, 3), "uint8")):
        matrix = confusion_matrix(truth, np.zeros_like(truth), 2)
        assert matrix.tolist() == [[0, 0], [0, 0]] and class_iou(matrix) == [None, None]
        assert segmentation_scores(matrix) == dict.fromkeys(NAMES)


@pytest.mark.parametrize(
    ("labels", "predicted", "num_classes", "message"),
    [
        ([0, 3], [0, 0], 3, "`labels` must hold whole numbers from 0 to 2, .* Received: 3. Mark pixels .* by 255"),
        ([0, -1], [0, 0], 3, "`labels` must .* Received: -1"),
        ([0, 0], [0, 255], 3, "`predicted` must .* Received: 255. The model must have the classes of the data"),
        ([0, 0], [-1, 0], 3, "`predicted` must .* Received: -1"),
        ([0, 0], [0.0, 1.0], 3, "`predicted` must .* Received: float64 values. Give classes, such as the argmax"),
        ([0.0, 0.0], [0, 1], 3, "`labels` must .* Received: float64 values"),
        ([0, 0], [[0, 0]], 3, "one value for each of the same pixels. Received: shapes \\(2,\\) and \\(1, 2\\)"),
        ([0], [0], 256, "`num_classes` must be a whole number from 1 to 255. Received: 256"),
        ([0], [0], 0, "`num_classes` must be a whole number from 1 to 255. Received: 0"),
    ],
)
def test_refuses_what_is_no_class(labels, predicted, num_classes, message):
    with pytest.raises(ValueError, match=message):
        confusion_matrix(labels, predicted, num_classes)


@pytest.mark.parametrize("matrix", [np.eye(2), [[1, 2]], [1, 2], [[1, -1], [0, 1]]])
def test_refuses_what_is_no_matrix_of_counts(matrix):
    for judge in (class_iou, segmentation_scores):
        with pytest.raises(ValueError, match="must be counts of pixels, whole numbers \\(num_classes, num_classes\\)"):
            judge(matrix)


@pytest.mark.parametrize("present", [(0, 1, 2, 3), (1, 3), (2,), ()])
def test_figures_of_training_are_those_of_the_metrics(present):
    """Classes that are only found, only true or nowhere; without a labelled pixel, None is 0 in logs."""
    rng = np.random.default_rng(len(present))
    truth = rng.choice([*present, 255], (3, 20, 20))
    found = rng.choice([0, *present], truth.shape)
    matrix = confusion_matrix(truth, found, 5)
    expected = segmentation_scores(matrix)
    compiled = tf.function(ConfusionMatrix.figures)(tf.constant(matrix.ravel(), tf.float64))
    assert {name: float(value) for name, value in compiled.items()} == pytest.approx(
        {name: value or 0.0 for name, value in expected.items()}, rel=1e-12
    )
    if present:
        pair = truth[truth != 255], found[truth != 255]
        labels = np.union1d(*pair)
        assert expected["mean_iou"] == pytest.approx(sklearn.jaccard_score(*pair, labels=labels, average="macro"))
