"""What decides the result of an experiment, in settings and in words."""
