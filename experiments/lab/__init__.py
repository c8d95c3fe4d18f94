"""What the experiment commands share: data, streams, model, training, statistics, results, figures."""
