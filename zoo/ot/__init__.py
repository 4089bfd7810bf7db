"""Optimal transport as pure functions in `keras.ops`: batched, masked, differentiable, compiled. See docs/ot.md."""

from zoo.checks import no_such_name
from zoo.ot.convergence import ConvergenceWarning
from zoo.ot.costs import cosine, cost_matrix, euclidean, squared_euclidean
from zoo.ot.cross_bin import earth_mover, quadratic_form
from zoo.ot.divergence import LossResult, minibatch_energy_distance, sinkhorn_divergence
from zoo.ot.exact import ExactResult, exact
from zoo.ot.histograms import (
    chi_squared,
    histogram_intersection,
    js_divergence,
    kl_divergence,
    minkowski,
    total_variation,
)
from zoo.ot.ipot import IPOTResult, ipot
from zoo.ot.one_dimension import wasserstein_1d
from zoo.ot.plans import barycentric_map
from zoo.ot.point_clouds import point_cloud_sinkhorn
from zoo.ot.sinkhorn import SinkhornResult, sinkhorn

__all__ = [
    "ConvergenceWarning",
    "ExactResult",
    "IPOTResult",
    "LossResult",
    "SinkhornResult",
    "barycentric_map",
    "chi_squared",
    "cosine",
    "cost_matrix",
    "earth_mover",
    "euclidean",
    "exact",
    "histogram_intersection",
    "ipot",
    "js_divergence",
    "kl_divergence",
    "minibatch_energy_distance",
    "minkowski",
    "point_cloud_sinkhorn",
    "quadratic_form",
    "sinkhorn",
    "sinkhorn_divergence",
    "squared_euclidean",
    "total_variation",
    "wasserstein_1d",
]

# What those look for who come from POT.
_NAMES_OF_POT = {
    "dist": "`cost_matrix`",
    "emd": "`exact(cost, a, b).plan`",
    "emd2": "`exact(cost, a, b).transport_cost`",
    "emd2_1d": "`wasserstein_1d`",
    "emd_1d": "`wasserstein_1d`",
    "sinkhorn2": "`sinkhorn(cost, epsilon, a, b).transport_cost`",
    "sinkhorn_unbalanced": "`sinkhorn(cost, epsilon, a, b, marginal_penalty=)`",
    "solve": "`sinkhorn`, or `exact` without regularisation",
    "solve_sample": "`point_cloud_sinkhorn`, or `exact` of a `cost_matrix`",
    "unbalanced": "`sinkhorn(cost, epsilon, a, b, marginal_penalty=)`",
    "unif": "not needed: weights are uniform unless given",
}

__getattr__ = no_such_name(__name__, __all__, _NAMES_OF_POT)
