#!/usr/bin/python3
"""stale-lock removes a lock file whose holder is dead, so that a service can start again.

A service that was killed leaves its lock or pid file behind and then refuses to start. The
options name the file; its first word is the holder's process id. A lock whose holder lives is
left alone: then something else is wrong, and the next rung of the ladder has to see to it.
"""

import os
import shutil

import recovery_pb2 as pb
from shivx_plugin import Failure, serve


class StaleLock:
    def describe(self):
        return pb.Description(
            name="stale-lock", version="1.0.0", recovery_type="state",
            summary="removes a lock file whose holder is dead",
            steps=["recover", "undo", "check"], idempotent=True)

    def check(self, request):
        lock_of(request)
        return "options are valid", []

    def recover(self, request):
        lock = lock_of(request)
        holder = holder_of(lock)
        if holder is None:
            return f"there is no lock {lock}", []
        if alive(holder):
            raise Failure(f"{lock} is held by process {holder}, which is alive",
                          hint=f"ps -p {holder} says what it is; this lock is not stale")
        if request.plan:
            return f"would remove {lock} of dead process {holder}", [f"remove {lock}"]
        request.progress(f"process {holder} is dead, removing its lock")
        kept = kept_of(request)
        shutil.copy2(lock, kept + ".new")
        os.replace(kept + ".new", kept)
        os.remove(lock)
        return f"removed {lock} of dead process {holder}", [f"removed {lock}"]

    def undo(self, request):
        lock, kept = lock_of(request), kept_of(request)
        if request.plan:
            return f"would put {lock} back", [f"put {lock} back"]
        if not os.path.exists(kept):
            return "nothing to put back", []
        shutil.move(kept, lock)
        return f"put {lock} back", [f"put {lock} back"]


def lock_of(request):
    options = request.options
    for name in options:
        if name != "lock":
            raise Failure(f'unknown option "{name}"', hint='the only option is "lock"', option=name)
    lock = options.get("lock")
    if not isinstance(lock, str) or not os.path.isabs(lock):
        raise Failure('option "lock" is not an absolute path', hint="lock: /run/service.pid", option="lock")
    return lock


def kept_of(request):
    """Where the lock of this very step is kept for undo."""
    return os.path.join(request.work_dir, "lock-" + request.key.replace("/", "_"))


def holder_of(lock):
    try:
        with open(lock, encoding="ascii", errors="replace") as f:
            words = f.read(100).split()
    except FileNotFoundError:
        return None
    if not words or not words[0].isdigit():
        raise Failure(f"{lock} does not begin with a process id", hint="is it a lock file?")
    return int(words[0])


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


if __name__ == "__main__":
    serve(StaleLock())
