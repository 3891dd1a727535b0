"""Ends a process together with its parent, however that ends and whatever this one is computing.

The kernel's signal reaches a process that holds the lock of the interpreter in a long call, but it is Linux's alone and
follows the thread that started this process. The watch over the socket works everywhere.
"""

import ctypes
import os
import select
import signal
import socket
import sys
import threading

PR_SET_PDEATHSIG = 1


def end_with_parent(link: socket.socket) -> None:
    """From now on. link: a socket whose other end the parent alone holds, so that it hangs up when the parent ends.

    A parent that was gone before this call ends the process too: the link has hung up already.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    handle = os.dup(link.fileno())
    threading.Thread(target=_end_at_hang_up, args=(handle,), name="parent watch", daemon=True).start()


def _end_at_hang_up(handle: int) -> None:
    poll = select.poll()
    poll.register(handle, 0)  # a hang-up is told without being asked for; what can be read is not
    poll.poll()
    os._exit(0)
