"""What a slice policy reads of each user, for arrays: the features of `torchrrm.policies.slice_gnn`.

Each takes the slice and its schedule as arrays `[batch user]`, `limit` and `surplus` as `[batch]`, and the law of the
curve, and gives `[batch user feature]`. The formulae are documented there, and tests hold the two forms together.
"""

import math

import numpy as np

from torchrrm.kernels.compiled import kernel
from torchrrm.kernels.link_rates import utility
from torchrrm.kernels.rows import over_rows

__all__ = ["FEATURES", "SHARES", "log", "marginal", "raw"]

SHARES = (1e-3, 0.25, 1.0, 4.0, math.inf)  # of the equal share of the surplus; no more than all of it


def raw(cn0, eavesdropper_cn0, limit, served, least, surplus, law):
    """Minimum bandwidth and surplus as parts of the slice."""
    return np.stack(
        [least / limit[:, None], np.broadcast_to((surplus / limit)[:, None], least.shape)], axis=-1
    )


def log(cn0, eavesdropper_cn0, limit, served, least, surplus, law):
    """The same in natural logarithm."""
    return np.log(np.maximum(raw(cn0, eavesdropper_cn0, limit, served, least, surplus, law), 1e-6))


@kernel
def _marginal(cn0, eavesdropper_cn0, limit, served, least, surplus, law, features):
    users = max(np.sum(served), 1)
    points = len(SHARES)
    best = np.full(points, -math.inf)
    spare = max(surplus, 1e-9 * limit)
    for i in range(cn0.size):
        width = max(least[i], 1e-6 * limit)
        features[i, 2 * points + 1] = math.log(width * users / spare)
        features[i, 2 * points + 2] = math.log(users)
        if not served[i]:
            continue
        base = utility(width, cn0[i], eavesdropper_cn0[i], law)
        for k in range(points):
            extra = min(SHARES[k] * spare / users, spare)
            gain = (utility(width + extra, cn0[i], eavesdropper_cn0[i], law) - base) / extra
            features[i, k] = math.log(max(gain, 1e-4))
            best[k] = max(best[k], features[i, k])
    for k in range(points):
        best[k] = best[k] if math.isfinite(best[k]) else 0.0
    for i in range(cn0.size):
        for k in range(points):
            features[i, points + k] = features[i, k] - best[k]
        features[i, 2 * points] = features[i, 0] - best[points - 1]


@kernel
def _marginal_rows(first, last, cn0, eavesdropper_cn0, limit, served, least, surplus, law, features):
    """Rows `first` to `last` of `marginal`."""
    for row in range(first, last):
        of_row = cn0[row], eavesdropper_cn0[row], limit[row], served[row], least[row], surplus[row]
        _marginal(*of_row, law, features[row])


def marginal(cn0, eavesdropper_cn0, limit, served, least, surplus, law):
    """What more bandwidth is worth to each user."""
    features = np.zeros((cn0.shape[0], cn0.shape[1], 2 * len(SHARES) + 3))
    over_rows(
        _marginal_rows, cn0.shape[0], cn0, eavesdropper_cn0, limit, served, least, surplus, law, features
    )
    return features


FEATURES = {"raw": raw, "log": log, "marginal": marginal}
