"""Shadow traffic: the records (`contracts`), their files (`segments`), the router, the replay and the demo.

Rule of the room: it copies, pairs and logs answers; it never judges them (that is `analysis`).
"""
