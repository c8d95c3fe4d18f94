"""Rotated MNIST, an example of data of one's own: ``--experiment experiments.rotated_mnist:tasks``.

Each task shows MNIST turned by another angle (Lopez-Paz & Ranzato 2017 draw theirs from 0 to 180 degrees);
here five angles, with a fifth of the images each, so that no digit is seen twice.
"""

from pathlib import Path

import numpy as np
from scipy import ndimage

from experiments.lab.data.dataset import load

ANGLES = (0, 36, 72, 108, 144)  # degrees, one for each task


def tasks(data_dir: Path | None) -> dict[str, np.ndarray]:
    """Make the tasks of images that MNIST has; ``data_dir`` is that of the command line."""
    mnist = load("MNIST", data_dir)
    arrays = {}
    for half, x, y in (("", mnist.x_train, mnist.y_train), ("_test", mnist.x_test, mnist.y_test)):
        task = np.arange(len(x)) % len(ANGLES)
        turned = np.empty_like(x)
        for number, angle in enumerate(ANGLES):
            of_task = task == number
            turned[of_task] = ndimage.rotate(x[of_task], angle, axes=(1, 2), reshape=False, order=1)
        arrays.update({f"x{half}": turned, f"y{half}": y, f"task{half}": task})
    return arrays
