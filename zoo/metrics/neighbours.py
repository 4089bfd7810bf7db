"""What codes are worth to a classifier that learns nothing."""

import numpy as np

from zoo.checks import check_positive


def neighbour_accuracy(codes, labels, test_codes, test_labels, *, num_neighbours=5):
    """Share of test examples whose class is that of most of their nearest neighbours, in Euclidean distance.

    Args:
        codes: (n, dim).
        labels: Classes (n,).
        test_codes: (m, dim).
        test_labels: Classes (m,).
        num_neighbours: Neighbours that vote, from 1 to n.

    Returns:
        Number in [0, 1].

    Example:
        >>> neighbour_accuracy([[0.0], [1.0]], [0, 1], [[0.1]], [0], num_neighbours=1)
        1.0
    """
    from sklearn.neighbors import KNeighborsClassifier

    check_positive("num_neighbours", num_neighbours)
    if num_neighbours > len(codes):
        raise ValueError(f"`num_neighbours` must be at most the {len(codes)} codes. Received: {num_neighbours}.")
    classifier = KNeighborsClassifier(num_neighbours).fit(np.asarray(codes), labels)
    return float(classifier.score(np.asarray(test_codes), test_labels))
