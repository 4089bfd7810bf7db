"""Optimal transport as pure functions in `keras.ops`: batched, masked, differentiable, compiled. See docs/ot.md."""

from zoo.ot.costs import cosine, cost_matrix, euclidean, squared_euclidean
from zoo.ot.divergence import minibatch_energy_distance, sinkhorn_divergence
from zoo.ot.ipot import IPOTResult, ipot
from zoo.ot.point_clouds import point_cloud_sinkhorn
from zoo.ot.sinkhorn import SinkhornResult, sinkhorn
