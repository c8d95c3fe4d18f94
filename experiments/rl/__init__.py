"""Deep reinforcement learning with two tasks that come back, as in Kaplanis, Shanahan & Clopath (2018)."""
