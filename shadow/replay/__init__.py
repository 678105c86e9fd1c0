"""Sending requests again: from a requests file, an access log or a pair log, with a rhythm of its own.

Read `requests` (what is sent), `access_log` and `pair_log` (where else it comes from), `rhythm` (when), `client` (how),
`progress` (how far it got), `logged_answers` and `compare` (what came back against what a log has), `cli`.
"""
