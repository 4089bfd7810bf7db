"""What a transport plan says of the points."""

from keras import ops

from zoo.ot.inputs import answer, as_float, column, refuse_empty, refuse_not_finite, same_type, whole


def barycentric_map(plan, target):
    """Barycentric projection of a plan, T(x_i) = sum_j P_ij y_j / sum_j P_ij: the mean of where x_i goes.

    It minimises sum_ij P_ij ||T(x_i) - y_j||^2 over maps T, and is the optimal map itself where the plan sends each
    point to one place. A point without mass, such as padding, maps to 0 with a gradient of 0.

    Source: Ferradans et al. 2014, Regularized discrete optimal transport; Courty et al. 2017, Optimal transport for
    domain adaptation; Seguy et al. 2018, Large-scale optimal transport and mapping estimation.

    Args:
        plan: P, (n, m) or (batch, n, m), at least 0, such as `sinkhorn(..., return_plan=True).plan`.
        target: Points y, (m, d) or (batch, m, d), floating point.

    Returns:
        Tensor (n, d) or (batch, n, d); float32, or float64 where an input is.

    Raises:
        ValueError: If the shapes do not fit or a set is empty; or, where values can be read, if they are not finite.
            In a graph a row of such a plan maps to NaN, and all rows to such points.

    Example:
        >>> np.array(barycentric_map(ops.array([[0.25, 0.25], [0.5, 0.0]]), ops.array([[1.0], [3.0]])))
        array([[2.],
               [1.]], dtype=float32)
    """
    plan, target = same_type(as_float(plan), as_float(target))
    shapes = tuple(plan.shape), tuple(target.shape)
    fit = len(shapes[0]) == len(shapes[1]) and len(shapes[0]) in (2, 3)
    pairs = [(shapes[0][-1:], shapes[1][-2:-1]), (shapes[0][:-2], shapes[1][:-2])]
    if not fit or any(first != second and (None,) not in (first, second) for first, second in pairs):
        raise ValueError(
            "The plan does not fit the points. Expected shapes (n, m) and (m, d), or (batch, n, m) and (batch, m, d). "
            f"Received: {shapes[0]} and {shapes[1]}. To map targets to sources, transpose the plan."
        )
    refuse_empty(plan=shapes[0], target=shapes[1])
    refuse_not_finite("Solve again with finite costs, or remove those points.", plan=plan, target=target)
    mass = ops.sum(plan, axis=-1, keepdims=True)
    positive = mass > 0
    image = ops.where(positive, ops.matmul(plan, target) / ops.where(positive, mass, 1.0), 0.0)
    return answer(image, column(whole(plan)), whole(target, axes=2)[..., None, None])
