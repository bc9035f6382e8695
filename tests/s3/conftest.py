"""An S3 server on the loopback interface, buckets in it, and commands that use them."""

import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support import program

KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}
# No credentials but these, and no question for others to an address that clouds have.
ALONE = {"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.devnull, "HOME": "/nonexistent"}


@dataclass(frozen=True)
class Bucket:
    """A bucket of the server, accessed by another client than the one under test."""

    name: str
    endpoint: str
    client: Any

    @property
    def url(self) -> str:
        return f"s3://{self.name}"

    def contents(self, folder: str) -> dict[str, bytes]:
        """Every object below a folder, by relative name."""
        return {name.removeprefix(f"{folder}/"): self.read(name) for name in self.names(folder)}

    def names(self, folder: str) -> list[str]:
        listed = self.client.list_objects_v2(Bucket=self.name, Prefix=f"{folder}/")
        assert not listed["IsTruncated"]
        return [entry["Key"] for entry in listed.get("Contents", [])]

    def read(self, name: str) -> bytes:
        return self.client.get_object(Bucket=self.name, Key=name)["Body"].read()

    def write(self, name: str, content: bytes) -> None:
        self.client.put_object(Bucket=self.name, Key=name, Body=content)

    def delete(self, name: str) -> None:
        self.client.delete_object(Bucket=self.name, Key=name)

    def copy(self, folder: str, to: str) -> None:
        for name, content in self.contents(folder).items():
            self.write(f"{to}/{name}", content)


@pytest.fixture(scope="session", autouse=True)
def loaded() -> None:
    """The process that commands are forked from has loaded the file system, but not used it."""
    program.FORKING.set_forkserver_preload([*program.LOADED, "tensorflow_io"])


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def bucket(endpoint, request) -> Bucket:
    import boto3

    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name=KEYS["AWS_REGION"],
        aws_access_key_id="test",
        aws_secret_access_key="test",  # pragma: allowlist secret
    )
    name = f"bucket-{next(_numbers)}"
    client.create_bucket(Bucket=name)
    return Bucket(name, endpoint, client)


_numbers = itertools.count()
Done = subprocess.CompletedProcess[str]
Runs = Callable[..., Done]


def environment(endpoint: str, **changes: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], **KEYS, **ALONE, "S3_ENDPOINT": endpoint, **changes}


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "ich_keras", *map(str, arguments)]


def run(endpoint: str, *arguments: object, cwd: Path | None = None, **changes: str) -> Done:
    """Runs a command in a forked process."""
    return program.run(arguments, cwd=cwd, environment=environment(endpoint, **changes))


def typed_in(endpoint: str, *arguments: object, cwd: Path | None = None, **changes: str) -> Done:
    """Runs a command in a new Python process, which the file system could abort at its end."""
    return subprocess.run(
        command(*arguments),
        env=environment(endpoint, **changes),
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def succeed(endpoint: str, *arguments: object, by: Runs = run, **options: Any) -> str:
    done = by(endpoint, *arguments, **options)
    assert done.returncode == 0, done.stderr
    assert "pure virtual" not in done.stderr
    return done.stdout


def fail(
    endpoint: str, code: int, message: str, *arguments: object, by: Runs = run, **options: Any
) -> None:
    """The command ends with this exit code and one line of error."""
    done = by(endpoint, *arguments, **options)
    assert done.returncode == code, done.stderr
    assert message in done.stderr.splitlines()[-1]
    assert sum(line.startswith("ich-keras: ") for line in done.stderr.splitlines()) == 1
    assert "Traceback" not in done.stderr
