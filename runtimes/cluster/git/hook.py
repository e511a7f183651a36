"""git's post-receive hook: tells the server which refs were updated, and passes on what it answers.

Law: standard library only, started as `python -I -S hook.py` by git; nothing here may fail a push, whose refs are
updated already. IO: stdin (`old new ref` lines), the server's unix socket, stdout, which git sends as `remote:` lines.
"""

import json
import os
import socket
import sys

SOCKET = "FUNCS_GIT_SOCKET"
PUSH = "FUNCS_GIT_PUSH"


def main() -> None:
    updates = [line.split(" ", 2) for line in sys.stdin.read().splitlines()]
    count = int(os.environ.get("GIT_PUSH_OPTION_COUNT", "0"))
    options = [os.environ.get(f"GIT_PUSH_OPTION_{number}", "") for number in range(count)]
    told = {"push": os.environ.get(PUSH, ""), "updates": updates, "options": options}
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(os.environ[SOCKET])
        server.sendall(json.dumps(told).encode() + b"\n")
        while data := server.recv(65536):
            os.write(1, data)


if __name__ == "__main__":
    try:
        main()
    except (OSError, KeyError, ValueError) as error:
        sys.stdout.write(f"the push is stored, but the platform was not told of it: {error}\n")
