"""Serving: the bundle on disk, its index, the feature store, the answer to one request, and its packaging as a bento.

Rule of the room: it never trains, and never knows whether it serves as primary, shadow or control.
"""
