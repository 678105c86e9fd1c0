"""What can go wrong in this room, as a tree:

TrainingError
├── DataError           a download or a data file that cannot be trusted: names the file and the remedy
├── ConfigurationError  an experiment file that says something unknown or impossible: names the key
└── TrackingError       the MLflow store does not take what is logged: names it
"""

from __future__ import annotations


class TrainingError(Exception):
    """Base of the room's errors; the text names the thing and the remedy."""


class DataError(TrainingError):
    """Data that is missing, altered or cannot be reached."""


class ConfigurationError(TrainingError):
    """An experiment's configuration that cannot be used."""


class TrackingError(TrainingError):
    """The MLflow store cannot be reached or refuses."""
