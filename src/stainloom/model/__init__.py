"""The network over the stains: training, evaluation, prediction. The only room that loads torch (`settings` does not)."""
