"""From a data set to a stream of tasks: what is shown, what is asked, how it is scored."""
