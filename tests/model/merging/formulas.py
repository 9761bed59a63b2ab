"""What strategies compute, written down once more in NumPy: whole arrays of float64, in the plainest way."""

from __future__ import annotations

import numpy as np

from lamella.model.merging.draws import draw


def alike(*arrays):
    """Return where all arrays are the same."""
    return np.logical_and.reduce([arrays[0] == array for array in arrays])


def weighted(sides, weights):
    return sum(weight * side for weight, side in zip(weights, sides, strict=True))


def of_changes(base, sides, weights, *, scale=1.0, normalize=False):
    total = weighted([side - base for side in sides], weights)
    return base + scale * (total / sum(weights) if normalize else total)


def election(base, sides, weights, *, scale=1.0, normalize=True, kept=None):
    """TIES, of the changes that are kept: the weighted mean of those with the sign of the weighted sum."""
    changes = np.stack([side - base for side in sides])
    changes = changes if kept is None else np.where(np.stack(kept), changes, 0)
    pulls = changes * np.array(weights)[:, None, None]
    chosen = (np.sign(pulls) == np.sign(pulls.sum(axis=0))) & (pulls != 0)
    total = np.where(chosen, pulls, 0).sum(axis=0)
    divisor = np.where(chosen, np.array(weights)[:, None, None], 0).sum(axis=0) if normalize else 1
    return np.where(chosen.any(axis=0), base + scale * total / np.where(divisor == 0, 1, divisor), base)


def furthest(base, side, share):
    """Return where a side is at or above the magnitude of the last of the share that moved furthest."""
    sizes = abs(side - base).astype(np.float32)
    return sizes >= np.sort(sizes.ravel())[::-1][max(1, round(share * sizes.size)) - 1]


def lots(shape, seed, side, number=0):
    """Return the numbers from 0 to 1 that a side's elements draw."""
    return draw(seed, number * 64 + side, 0, int(np.prod(shape))).reshape(shape) / 2.0**32


def dare(base, sides, seed, *, density, number=0):
    kept = [lots(base.shape, seed, n, number) < density for n in range(len(sides))]
    return kept, [np.where(one, side, base) for one, side in zip(kept, sides, strict=True)]


def della(base, sides, seed, *, density, epsilon, rescale):
    """Return sides with the changes that MagPrune keeps: drawn by lot with chances by ranks within rows."""
    found = []
    for number, side in enumerate(sides):
        sizes = abs(side - base).astype(np.float32)
        below = (sizes[:, :, None] > sizes[:, None, :]).sum(axis=2)
        equal = (sizes[:, :, None] == sizes[:, None, :]).sum(axis=2)
        ranks = below + (equal - 1) / 2
        chances = density + epsilon * (2 * ranks / (side.shape[1] - 1) - 1)
        kept = lots(base.shape, seed, number) < chances
        found.append(np.where(kept, base + (side - base) / (chances if rescale else 1), base))
    return found


def breadcrumbs(base, sides, *, density, gamma):
    kept = []
    for side in sides:
        sizes = abs(side - base).astype(np.float32)
        ordered = np.sort(sizes.ravel())[::-1]
        dropped = round(gamma * sizes.size)
        kept.append((sizes <= ordered[dropped]) & (sizes >= ordered[dropped + round(density * sizes.size) - 1]))
    return kept, [np.where(one, side, base) for one, side in zip(kept, sides, strict=True)]


def sce(base, sides):
    changes = np.stack([side - base for side in sides])
    weights = np.array([(change**2).sum() for change in changes])[:, None, None]
    chosen = (np.sign(changes) == np.sign(changes.sum(axis=0))) & (changes != 0)
    divisor = np.where(chosen, weights, 0).sum(axis=0)
    return base + np.where(chosen, weights * changes, 0).sum(axis=0) / np.where(divisor == 0, 1, divisor)


def cosine(one, other):
    return (one * other).sum() / np.linalg.norm(one) / np.linalg.norm(other)


def model_stock(base, sides):
    cosines = [cosine(one - base, other - base) for n, one in enumerate(sides) for other in sides[:n]]
    mean = max(0, np.mean(cosines))
    towards = len(sides) * mean / (1 + (len(sides) - 1) * mean)
    return towards * np.mean(sides, axis=0) + (1 - towards) * base


def slerp(one, other, t):
    angle = np.arccos(cosine(one, other))
    return (np.sin((1 - t) * angle) * one + np.sin(t * angle) * other) / np.sin(angle)


def karcher(sides, weights, steps=200):
    """The Karcher mean, by many small steps in the space of the sides themselves."""
    norms = [np.linalg.norm(side) for side in sides]
    units = [side / norm for side, norm in zip(sides, norms, strict=True)]
    mean = weighted(units, weights)
    for _ in range(steps):
        mean = mean / np.linalg.norm(mean)
        logs = []
        for unit in units:
            angle = np.arccos(np.clip((unit * mean).sum(), -1, 1))
            logs.append(angle / np.sin(angle) * (unit - np.cos(angle) * mean))
        mean = mean + weighted(logs, weights) / sum(weights)
    return mean / np.linalg.norm(mean) * weighted(norms, weights) / sum(weights)


def fisher(base, sides, weights, information):
    top = weighted([one * (side - base) for one, side in zip(information, sides, strict=True)], weights)
    return base + top / weighted(information, weights)
