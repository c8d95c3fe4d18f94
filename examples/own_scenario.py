"""A scenario and two measures of one's own: the task is not told, and has to be inferred.

    python -m experiments.compare --scenario examples/own_scenario.py:inferred \
        --measures examples/own_scenario.py:first_task examples/own_scenario.py:recovered \
        --methods standard cs ewc lwf er

README.md says more.
"""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.lab.results.measures import measure
from experiments.lab.tasks.scenarios import Questions, one_of_all, over_heads, scenario


@scenario("inferred", chance=one_of_all)
def inferred(tasks, classes):
    """One head per task; at test time the answer is that of the head which is most certain of its own."""

    def by_head(outputs):
        return outputs.reshape(len(outputs), tasks, classes)

    def question(outputs, within, task):
        own = jnp.take_along_axis(by_head(outputs), task[:, None, None], axis=1)
        return own[:, 0], within

    def at_test(outputs, within, task):
        certainty = jax.nn.log_softmax(by_head(outputs))
        return certainty.reshape(outputs.shape), task * classes + within

    return Questions(
        n_outputs=tasks * classes,
        question=question,
        at_test=at_test,
        distillation=over_heads(tasks, classes),
    )


@measure("first-task", label="first task at the end")
def first_task(run, settings):
    """Accuracy on the first task at the end of the training."""
    return run.accuracy_matrix[-1, 0]


@measure(label="regained")
def recovered(run, settings):
    """How much the first task regains from its lowest evaluation after its end to the last one."""
    if settings.stream != "task-based" or settings.tasks == 1:
        return None
    later = run.accuracy[run.evaluated_at > settings.iters, 0]
    return later[-1] - np.min(later)
