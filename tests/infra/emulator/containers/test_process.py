"""Finding the processes of a container."""

import subprocess
from collections.abc import Iterator

import pytest

from infra.emulator.containers import process


@pytest.fixture
def shell() -> Iterator[subprocess.Popen[bytes]]:
    """A shell that has a child process."""
    shell = subprocess.Popen(["/bin/sh", "-c", "sleep 600 & echo up; wait"], stdout=subprocess.PIPE)
    assert shell.stdout and shell.stdout.readline() == b"up\n"
    yield shell
    for pid in [*process.descendants(shell.pid), shell.pid]:
        process.send(pid, 9)
    shell.wait()
    shell.stdout.close()


@pytest.mark.parametrize("lists", [process.LISTS_CHILDREN, False])
def test_descendants_are_found_with_and_without_lists_of_children(
    shell: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch, lists: bool
):
    monkeypatch.setattr(process, "LISTS_CHILDREN", lists)
    (child,) = process.descendants(shell.pid)
    assert process.children(child) == []
    assert 0 < process.private_memory(child) < 100 * 1024 * 1024


def test_a_process_that_ended_has_no_children_and_no_memory():
    ended = subprocess.Popen(["/bin/true"])
    ended.wait()
    assert (process.descendants(ended.pid), process.private_memory(ended.pid)) == ([], 0)
    process.send(ended.pid, 9)
