"""Slow twins of the fast integrators: NumPy, one number at a time, straight from the equations."""

import math

import numpy as np


def periods(chain, resolution, dt=1.0):
    """Steps between two firings of each link, for a chain whose links slow down along it."""
    C, g = chain.capacities, chain.conductances
    result = [1]
    for k in range(1, len(C)):
        s = 1 / C[k] + (1 / C[k + 1] if k + 1 < len(C) else 0.0)
        if resolution == 0:
            result.append(1)
            continue
        wanted = resolution / (g[k] * s * dt) / result[-1]
        result.append(result[-1] * max(1, math.ceil(wanted - 0.5)))
    return result


def exchange_matrix(chain, k, h):
    """What link k+1 of the equations does in the time h, as a matrix on (u_1, …, u_K)."""
    C, g = chain.capacities, chain.conductances
    matrix = np.eye(len(C))
    if k + 1 < len(C):
        s = 1 / C[k] + 1 / C[k + 1]
        w = (1 - math.exp(-g[k] * s * h)) / s
        matrix[k, [k, k + 1]] += np.array([-w, w]) / C[k]
        matrix[k + 1, [k, k + 1]] += np.array([w, -w]) / C[k + 1]
    else:
        matrix[k, k] = math.exp(-g[k] / C[k] * h)
    return matrix


def exchange(chain, inputs, start, resolution, dt=1.0):
    """Contents ``[T, K]`` under ``inputs`` ``[T]`` with the default scheme."""
    every = periods(chain, resolution, dt)
    links = [exchange_matrix(chain, k, n * dt) for k, n in enumerate(every)]
    u, trajectory = np.array(start, float), []
    for step, delta in enumerate(inputs, start=1):
        u[0] += delta
        for n, link in zip(every, links, strict=True):
            if step % n == 0:
                u = link @ u
        trajectory.append(u.copy())
    return np.array(trajectory)


class BlockPropagator:
    """The scheme's matrix from any step to any other, however far, by repeated blocks."""

    def __init__(self, chain, resolution, dt=1.0):
        self.periods = periods(chain, resolution, dt)
        links = [exchange_matrix(chain, k, n * dt) for k, n in enumerate(self.periods)]
        self.steps = [links[0]]
        for link in links[1:]:
            self.steps.append(link @ self.steps[-1])
        self.cache = {}

    def level(self, step):
        """The slowest link that fires in a step."""
        return max(k for k, n in enumerate(self.periods) if step % n == 0)

    def block(self, k, last):
        """``periods[k]`` steps, of which the last fires the links up to ``last``."""
        if (k, last) not in self.cache:
            if k == 0:
                self.cache[k, last] = self.steps[last]
            else:
                times = self.periods[k] // self.periods[k - 1] - 1
                inner = np.linalg.matrix_power(self.block(k - 1, k - 1), times)
                self.cache[k, last] = self.block(k - 1, last) @ inner
        return self.cache[k, last]

    def between(self, first, stop):
        """The matrix of the steps ``first + 1 … stop``."""
        result, step = np.eye(len(self.periods)), first
        while step < stop:
            k = max(k for k, n in enumerate(self.periods) if step % n == 0 and step + n <= stop)
            step += self.periods[k]
            result = self.block(k, self.level(step)) @ result
        return result
