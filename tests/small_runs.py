"""Settings of a training that takes a moment, for tests of what is made of it."""

from experiments.lab.options.settings import Settings

SMALL = Settings(
    experiment="splitDigits",
    iters=6,
    batch=16,
    fc_units=8,
    eval_log=4,
    eval_n=20,
    alpha=4.0,
    beta=64.0,
)
