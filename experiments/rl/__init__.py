"""Deep reinforcement learning with two tasks that come back, as in Kaplanis, Shanahan & Clopath (2018).

``python -m experiments.rl --help``. What is trained: `tasks`, `network`, `methods` (the table of all),
`learner`, `acting`, `replay`, `dqn` and `pqn`, `alternation`. What is made of it: `kept`, `measures`,
`study`, `tables`, `figures`, `command`.
"""

from experiments.rl.command import RlOptions, main

__all__ = ["RlOptions", "main"]
