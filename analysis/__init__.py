"""Judging: from segments of pairs to estimates, health, a verdict and its report.

Rule of the room: statistics are pure functions on sufficient statistics; nothing here acts on a cluster.
"""
