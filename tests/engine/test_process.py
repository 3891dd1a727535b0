"""The loop between the channel and the engine."""

import socket
import time

from torch import Tensor

from engine.frames import Channel, framed
from engine.logits.registry import Registry
from engine.messages import Named, Submission, encode
from engine.process import ADMISSION_S, Loop
from tests.engine.scripted import make_engine


class SlowToMake:
    """A processor that takes longer to make than there is time between two steps."""

    def __init__(self) -> None:
        until = time.monotonic() + 1.5 * ADMISSION_S
        while time.monotonic() < until:
            pass

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        return scores


def test_requests_that_are_slow_to_take_in_come_one_between_two_steps() -> None:
    ours, theirs = socket.socketpair()
    engine, loop = make_engine(registry=Registry({"slow": SlowToMake}, {})), Loop(Channel(ours))
    for name in "abc":
        submission = Submission(name, [1, 2], {"max_length": 9}, logits_processor=[Named("slow")])
        theirs.sendall(framed(encode(submission)))
    running = []
    for _ in range(3):
        assert loop._listen(engine, wait=not engine.has_work)
        running.append(engine.step().load.running_requests)
    assert running == [1, 2, 3]
    ours.close()
    theirs.close()
