"""Training: data, the split by one global timestamp, models, evaluation and the registry runs.

Rule of the room: nothing it learns from may be younger than the cut; it never serves.
"""
