"""Runs a program that sees a directory of its own as ``/opt/ml``: ``_opt_ml.py DIRECTORY PROGRAM [ARGUMENT…]``.

In a mount namespace of its own (Linux; as an ordinary user in a user namespace too), so nothing outside changes and nothing is
left behind. Started as ``python -I -S _opt_ml.py``; becomes the program, which keeps this process's id. Exits with 125 when the
namespace cannot be made, with 127 or 126 when the program cannot be run, as a container engine does.
"""

# pathlib is slow to import, and this runs before every container.
# ruff: noqa: PTH102, PTH103, PTH109, PTH112, PTH115, PTH123, PTH211, S606

import ctypes
import os
import sys

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000

_LIBC = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Make the namespace and become the program."""
    directory, program = sys.argv[1], sys.argv[2:]
    try:
        enter_namespace()
        mount("none", "/", MS_REC | MS_PRIVATE)
        show(directory)
    except OSError as error:
        sys.stderr.write(f"/opt/ml cannot be mounted: {error}\n")
        sys.exit(125)
    if not program:
        return
    os.chdir(os.getcwd())  # the same path, looked up again: it may lie below what was mounted
    try:
        os.execvp(program[0], program)
    except FileNotFoundError as error:
        sys.stderr.write(f"{program[0]}: {error.strerror}\n")
        sys.exit(127)
    except OSError as error:
        sys.stderr.write(f"{program[0]}: {error.strerror}\n")
        sys.exit(126)


def enter_namespace() -> None:
    """Enter a mount namespace, within a user namespace that keeps this user's id where that is what it takes."""
    if _LIBC.unshare(CLONE_NEWNS) == 0:
        return
    user, group = os.getuid(), os.getgid()
    check(_LIBC.unshare(CLONE_NEWUSER | CLONE_NEWNS))
    write("/proc/self/setgroups", "deny")
    write("/proc/self/uid_map", f"{user} {user} 1")
    write("/proc/self/gid_map", f"{group} {group} 1")


def show(directory: str) -> None:
    """Mount ``directory`` as ``/opt/ml``. Where that does not exist, a copy of ``/opt`` that has it is mounted as ``/opt``."""
    if os.path.isdir("/opt/ml"):
        mount(directory, "/opt/ml", MS_BIND | MS_REC)
        return
    copy = directory.rstrip("/") + ".opt"
    os.makedirs(copy + "/ml", exist_ok=True)
    for entry in os.scandir("/opt"):
        place = f"{copy}/{entry.name}"
        if entry.is_symlink():
            os.symlink(os.readlink(entry.path), place)
            continue
        if entry.is_dir():
            os.mkdir(place)
        else:
            os.close(os.open(place, os.O_CREAT | os.O_WRONLY))
        mount(entry.path, place, MS_BIND | MS_REC)
    mount(directory, copy + "/ml", MS_BIND | MS_REC)
    mount(copy, "/opt", MS_BIND | MS_REC)


def mount(source: str, target: str, flags: int) -> None:
    """mount(2), raising OSError."""
    check(_LIBC.mount(source.encode(), target.encode(), None, ctypes.c_ulong(flags), None))


def check(result: int) -> None:
    """Raise OSError for a system call that failed."""
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def write(path: str, text: str) -> None:
    """Write a whole file at once."""
    with open(path, "w") as file:
        file.write(text)


if __name__ == "__main__":
    main()
