"""The router: one process in front of the primary that answers users and copies requests to the arms.

Rule of the room: nothing that happens on an arm may delay, change or fail an answer of the primary.
"""
