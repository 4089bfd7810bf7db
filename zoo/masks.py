"""Masks and marks of crowds as COCO's documents have them, checked before pycocotools takes them."""

import numpy as np

from zoo.documents import as_size, as_whole, finite_numbers


def is_crowd(annotation):
    """Whether an annotation is of a crowd.

    Args:
        annotation: Dict, whose "iscrowd" is 0, 1, true or false; 0 if it has none or null, as tables write what is
            missing.

    Raises:
        ValueError: If it is something else, as "0" and "false" are, which Python takes for true; here and below, the
            message begins in the middle of a sentence.
    """
    value = annotation.get("iscrowd")
    if value is None:
        return False
    if not isinstance(value, (bool, np.bool_)) and as_whole(value) not in (0, 1):
        raise ValueError(f"its iscrowd must be 0, 1, true or false. Received: {str(value)[:40]!r}")
    return bool(value)


def checked_counts(form, size):
    """Run lengths that cover the picture: pycocotools decodes others too, to whatever lies in memory.

    Args:
        form: {"size": [height, width], "counts": list of whole numbers, or the compressed form, str or bytes}.
        size: (height, width) of the picture.

    Returns:
        The counts, a list or bytes.

    Raises:
        ValueError: If it is no such dict, the sizes differ, or the runs do not add up to the picture.
    """
    if as_size(form.get("size")) != tuple(size):
        raise ValueError(
            f"the size of its run lengths, (height, width), must be that of the picture, {size[0]} x {size[1]}. "
            f"Received: {form.get('size')}"
        )
    counts = form.get("counts")
    if isinstance(counts, list):
        counts = runs = [as_whole(run) for run in counts]
        good = None not in runs and min(runs, default=0) >= 0
    else:
        counts = counts.encode(errors="surrogatepass") if isinstance(counts, str) else counts
        runs = _decoded(counts) if isinstance(counts, bytes) else None
        good = runs is not None and min(runs, default=0) >= 0
    if not good or sum(runs) != size[0] * size[1]:
        received = f"{sum(runs)} in all" if good else "others"
        raise ValueError(
            f"its run lengths must be whole numbers of at least 0 that add up to {size[0]} x {size[1]} pixels. "
            f"Received: {received}"
        )
    return counts


def _decoded(counts):
    """Numbers of compressed run lengths: six bits a sign, differences to the last but one; None if they are broken."""
    runs, number, shift = [], 0, 0
    for sign in counts:
        bits = sign - 48
        if not 0 <= bits < 64 or shift > 30:
            return None
        number |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            number -= 1 << shift
        runs.append(number + runs[-2] if len(runs) > 2 else number)
        number = shift = 0
    return None if shift else runs


def checked_polygons(form, size):
    """Those with three corners or more; of two, pycocotools makes boxes.

    Args:
        form: [[x, y, x, y, …], …].
        size: (height, width) of the picture.

    Returns:
        List of lists of floats.

    Raises:
        ValueError: If they are no finite numbers in turn, or far away from the picture.
    """
    if not isinstance(form, list) or not all(isinstance(polygon, list) for polygon in form):
        raise ValueError(
            "its segmentation must be run lengths, or a list of polygons, [[x, y, x, y, …], …]. Received: "
            f"{str(form)[:60]}"
        )
    polygons = []
    for polygon in form:
        corners = finite_numbers(polygon)
        # What is far away takes memory for every pixel of the way.
        if corners is None or len(corners) % 2 or np.abs(corners).max(initial=0) > 10 * sum(size):
            raise ValueError(
                "its polygons must be lists of finite numbers, x and y in turn, within or near the picture. Received: "
                f"{len(polygon)} values, {str(polygon)[:60]}"
            )
        if len(corners) >= 6:
            polygons.append(corners.tolist())
    return polygons
