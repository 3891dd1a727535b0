"""What became known, piece by piece."""

from beamhouse.engine.decoding.requested_outputs import Trace
from beamhouse.engine.link.messages import FinishReason, Load, Ranking, RequestOutputs, Submission, Tokens, TopToken
from beamhouse.engine.loop.outbox import PART, PIECE, Outbox
from beamhouse.engine.state.batch import Advance
from beamhouse.schemas.words import FinishType
from tests.configs import running
from tests.engine.loop.scripted import make_engine


def ended(num_tokens: int, num_top: int) -> Outbox:
    """An outbox right after the end of a request that nobody reads as it comes."""
    request = make_engine().prepare(Submission("a", [1], running({"max_length": 9}), is_streamed=False))
    outbox = Outbox()
    for place in range(num_tokens):
        tops = [TopToken(token_id, -1.0) for token_id in range(num_top)]
        reason = FinishReason(FinishType.LENGTH) if place == num_tokens - 1 else None
        gained = Tokens(0, [place], top_tokens=[tops], finish_reason=reason)
        outbox.add(request, Advance([], [gained]))
    outbox.finish(request, 1.0, {}, Trace(request.submission.wanted, request.config))
    return outbox


def test_a_long_answer_is_told_in_pieces_and_its_end_with_the_last():
    outbox, told, ends, reasons = ended(PIECE // 10, 60), [], [], []
    while outbox.has_finished:
        outputs = outbox.empty(Load())
        parts = [tokens for request in outputs.requests for tokens in request.tokens]
        assert max(tokens.num_entries for tokens in parts) <= PART
        assert sum(tokens.num_entries for tokens in parts) <= PIECE + PART
        told += [token_id for tokens in parts for token_id in tokens.token_ids]
        reasons += [tokens.finish_reason for tokens in parts]
        ends.append(len(outputs.finished))
    assert told == list(range(PIECE // 10))
    assert ends == [0] * (len(ends) - 1) + [1]
    assert len(ends) > 5
    assert reasons == [None] * (len(reasons) - 1) + [FinishReason(FinishType.LENGTH)]


def test_what_a_sequence_gained_in_many_steps_is_told_as_one_with_all_that_was_asked_for():
    request = make_engine().prepare(Submission("a", [1], running({"max_length": 9}), is_streamed=False))
    outbox, ends = Outbox(), FinishReason(FinishType.LENGTH)
    ranking = Ranking(-1.0, [0, 0])
    steps = [Tokens(0, [5], [-0.5], [[TopToken(5, -0.5)]]), Tokens(0, [6], [None], [[]], ends, ranking)]
    for gained in steps:
        outbox.add(request, Advance([], [gained]))
        assert outbox.empty(Load()).requests == []
    outbox.finish(request, 1.0, {}, Trace(request.submission.wanted, request.config))
    whole = Tokens(0, [5, 6], [-0.5, None], [[TopToken(5, -0.5)], []], ends, ranking)
    assert outbox.empty(Load()).requests == [RequestOutputs("a", [whole])]
    assert steps[0].token_ids == [5]


def test_what_is_streamed_is_told_at_once_and_only_its_tokens_are_kept():
    request = make_engine().prepare(Submission("a", [1], running({"max_length": 9})))
    outbox, gained = Outbox(), Tokens(0, [5], [-0.5], [[TopToken(5, -0.5)]])
    outbox.add(request, Advance([], [gained]))
    assert outbox.empty(Load()).requests == [RequestOutputs("a", [gained])]
    assert request.outputs == [Tokens(0, [5])]
    outbox.finish(request, 1.0, {}, Trace(request.submission.wanted, request.config))
    assert outbox.empty(Load()).requests == []


def test_a_short_one_is_told_at_once():
    outbox = ended(10, 5)
    outputs = outbox.empty(Load())
    assert [len(tokens.token_ids) for tokens in outputs.requests[0].tokens] == [10]
    assert [message.request_id for message in outputs.finished] == ["a"]
    assert not outbox.has_finished
