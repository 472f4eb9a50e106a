"""Scores of a served model on a labelled data set: what `spatial-mamba evaluate` does. Needs the extra `evaluation`."""
