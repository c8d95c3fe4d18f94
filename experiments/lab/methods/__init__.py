"""What a method's name stands for; and what a method of one's own is made of.

A method of one's own is a function of the settings that returns an ``optax.GradientTransformation``, or a
`Method`. With `method` before it, it also says which settings it has, how they are searched, and how it is
drawn.
"""

from experiments.lab.methods.interface import Method, chosen_optimizer, elementwise
from experiments.lab.options.declaration import Declaration, Range, method

__all__ = ["Declaration", "Method", "Range", "chosen_optimizer", "elementwise", "method"]
