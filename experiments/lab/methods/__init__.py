"""Ways of learning a stream of tasks."""
