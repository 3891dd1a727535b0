"""Messages on a stream socket: each behind its length in four bytes, little-endian."""

import contextlib
import os
import select
import socket

LENGTH_BYTES = 4
PIECE_BYTES = 1 << 16
LAST_WORDS_S = 1.0
"""What an engine process says before its end has this long to leave it, and to arrive."""


def framed(message: bytes) -> bytes:
    return len(message).to_bytes(LENGTH_BYTES, "little") + message


class Frames:
    """Cuts what arrives in pieces into messages."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, piece: bytes) -> list[bytes]:
        """The messages that are complete with this piece."""
        self._held += piece
        messages, start = [], 0
        while (begin := start + LENGTH_BYTES) <= len(self._held):
            end = begin + int.from_bytes(self._held[start:begin], "little")
            if end > len(self._held):
                break
            messages.append(bytes(self._held[begin:end]))
            start = end
        del self._held[:start]
        return messages


class Channel:
    """One end of a socket for a loop that never waits while it has work: what the other side does not take is kept."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._socket = end
        self._frames = Frames()
        self._unsent = bytearray()
        self._is_over = False
        self._bell, self._button = os.pipe()
        for end_of_pipe in (self._bell, self._button):
            os.set_blocking(end_of_pipe, False)

    def wake(self) -> None:
        """Let `listen` return, which need not bring a message. From any thread; nothing happens once it is closed."""
        with contextlib.suppress(OSError):
            os.write(self._button, b"!")

    def say(self, message: bytes) -> None:
        self._unsent += framed(message)
        self._flush()

    def listen(self, *, wait: bool) -> list[bytes] | None:
        """All messages that have arrived, with `wait` at least a piece of one, unless somebody woke it.

        None once the other side is gone.
        """
        if self._unsent:
            self._flush()
        if wait:
            self._await_news()
        messages: list[bytes] = []
        while not self._is_over:
            try:
                piece = self._socket.recv(PIECE_BYTES)
            except BlockingIOError:
                return messages
            except ConnectionError:
                piece = b""
            self._is_over = not piece
            messages += self._frames.feed(piece)
        return messages or None

    def close(self) -> None:
        """Give the last words a second to be taken."""
        self._socket.settimeout(LAST_WORDS_S)
        try:
            self._socket.sendall(self._unsent)
        except OSError:
            return
        finally:
            self._socket.close()
            os.close(self._bell)
            os.close(self._button)
            self._bell = self._button = -1

    def _await_news(self) -> None:
        poll = select.poll()
        poll.register(self._bell, select.POLLIN)
        while not self._is_over:
            poll.register(self._socket, select.POLLIN | (select.POLLOUT if self._unsent else 0))
            ready = dict(poll.poll())
            if self._bell in ready:
                os.read(self._bell, PIECE_BYTES)
                return
            if ready[self._socket.fileno()] != select.POLLOUT:
                return
            self._flush()

    def _flush(self) -> None:
        try:
            while self._unsent:
                del self._unsent[: self._socket.send(self._unsent)]
        except BlockingIOError:
            return
        except ConnectionError:  # nobody is left to read it
            self._is_over = True


def take_standard_input() -> socket.socket:
    """The socket that came as standard input; a compiler that is run later gets another one, and holds nothing open."""
    taken = socket.socket(fileno=os.dup(0))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return taken
