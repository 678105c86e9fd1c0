"""`understudy redis`: a server for the laptop, and the users of a real one. Next module: `bentos.redis_acl`."""

from __future__ import annotations

from pathlib import Path

import click

from bentos.command_parts import path_option, redis_option, told


@click.group(invoke_without_command=True)
@click.option("--port", type=click.IntRange(1, 65535), default=6379, show_default=True)
@click.option(
    "--dir", "directory", type=path_option(file_okay=False), default=Path(".understudy/redis"), show_default=True
)
@click.option("--max-memory", default="2gb", show_default=True, help="When it is full, writes are refused.")
@click.option("--acl", type=path_option(exists=True, dir_okay=False), help="Users, as `understudy redis acl` prints.")
@click.pass_context
@told
def redis(context: click.Context, port: int, directory: Path, max_memory: str, acl: Path | None) -> None:
    """Run a Redis server on the loopback, in the foreground, keeping nothing on disk."""
    if context.invoked_subcommand is not None:
        return
    from bentos.redis_server import become_server
    from bentos.settings import search_path

    become_server(port, directory, search_path(), max_memory, acl)


@redis.command("acl")
@click.option("--set", "apply", is_flag=True, help="Also set the users in the Redis at --redis.")
@redis_option
@told
def redis_acl(apply: bool, url: str) -> None:
    """Print the ACL lines of a user that may only read (shadow, control) and of one that may write.

    Passwords come from UNDERSTUDY_REDIS_READER_PASSWORD and UNDERSTUDY_REDIS_WRITER_PASSWORD; one that is not set is
    made up and told once, on standard error. The lines hold digests only.
    """
    from bentos.feature_loading import connected
    from bentos.redis_acl import USERS, set_user
    from bentos.settings import redis_passwords

    passwords, made_up = redis_passwords()
    for user in USERS:
        click.echo(user.line(passwords[user.name]))
    if apply:
        with connected(url) as client:
            for user in USERS:
                set_user(client, user, passwords[user.name])
    for name in made_up:
        click.echo(f"{name}: {passwords[name]}", err=True)
