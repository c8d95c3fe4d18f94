"""Slow twins of the fast integrators: NumPy, one number at a time, straight from the equations."""

import math

import numpy as np


def periods(chain, resolution, dt=1.0):
    """Steps between two exchanges of each link, for a chain whose links slow down along it."""
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


def flows_back(times, elapsed):
    """Which links flow back in a step that begins so long after initialisation; the leak always does."""
    return np.array([elapsed >= time for time in times] + [True])


def exchange_with_times(
    chain, times, inputs, start, dt=1.0, resolution=0.125, visible_resolution=0.0, recall=1.0
):
    """Contents ``[T, K]`` where links begin to flow back at their times, with the factor ``recall``."""
    C, g = np.array(chain.capacities), np.array(chain.conductances)
    K = len(C)
    right = np.append(1 / C[1:], 0.0)
    u, waited, trajectory = np.append(np.full(K, float(start)), 0.0), np.zeros(K), []
    for step, delta in enumerate(inputs, start=1):
        u[0] += delta
        now, later = flows_back(times, (step - 1) * dt), flows_back(times, step * dt)
        left = now / C * np.append(np.full(K - 1, recall), 1.0)
        waited += dt
        at_start, due = waited.copy(), True
        for k in range(K):
            threshold = resolution if k else visible_resolution
            if resolution and threshold:
                wait = at_start[k] + (at_start[k - 1] if k else dt) / 2
                own = wait * g[k] * (left[k] + right[k]) >= threshold
                faster = wait * max((g * (left + right))[k + 1 :], default=0) >= resolution
                due = due and (own or faster or any((now != later)[k:]))
            if due:
                # The exact solution of the two equations of this link.
                s = left[k] + right[k]
                moved = (1 - math.exp(-g[k] * s * waited[k])) / s * (u[k] - u[k + 1])
                u[k], u[k + 1] = u[k] - moved * left[k], u[k + 1] + moved * right[k]
                waited[k] = 0.0
        trajectory.append(u[:K].copy())
    return np.array(trajectory)


def euler_with_times(chain, times, inputs, start, dt=1.0):
    """Contents ``[T, K]`` of the published scheme where links begin to flow back at their times."""
    C, g = chain.capacities, chain.conductances
    K = len(C)
    u, trajectory = [float(start)] * K, []
    for step, delta in enumerate(inputs, start=1):
        back = flows_back(times, (step - 1) * dt)
        old = [*u, 0.0]
        u[0] = old[0] + delta + back[0] * dt * g[0] / C[0] * (old[1] - old[0])
        for k in range(1, K):
            flow = g[k - 1] * (u[k - 1] - old[k]) + back[k] * g[k] * (old[k + 1] - old[k])
            u[k] = old[k] + dt / C[k] * flow
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

    def level(self, step, longest=math.inf):
        """The slowest link that is due in a step, of those whose periods are not longer than this."""
        level = 0
        for k, n in enumerate(self.periods):
            if n > longest or step % n:  # nor are later links due: their periods are multiples of this one
                break
            level = k
        return level

    def block(self, k, last):
        """``periods[k]`` steps, of which the last has the links due up to ``last``."""
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
            k = self.level(step, longest=stop - step)
            step += self.periods[k]
            result = self.block(k, self.level(step)) @ result
        return result
