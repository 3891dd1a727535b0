"""What each step feeds: budget, order, room in the cache."""

from beamhouse.engine.link.messages import Wanted
from beamhouse.engine.loop.scheduler import Scheduler
from beamhouse.engine.loop.step_budget import StepLimits
from beamhouse.engine.state.batch import Batch
from beamhouse.engine.state.block_cache import BlockCache, BlockCopy
from beamhouse.engine.state.request import Request, Sequence
from tests.engine.requests import make_request


def make_scheduler(num_blocks: int = 64, max_rows: int = 8, step_tokens: int = 32) -> Scheduler:
    cache = BlockCache(num_blocks, 4, prefix_caching=False)
    return Scheduler(cache, StepLimits(max_rows, step_tokens, max_waiting=100))


def run(scheduler: Scheduler, now: float = 0.0) -> Batch:
    """Schedule one step and pretend that the model ran it."""
    batch = scheduler.schedule(now)
    for feed in batch.feeds:
        feed.sequence.num_cached += len(feed.token_ids)
    return batch


def choose(batch: Batch) -> None:
    for request in batch.ready:
        for sequence in request.sequences:
            sequence.token_ids.append(1)


def fed(batch: Batch) -> list[int]:
    return [len(feed.token_ids) for feed in batch.feeds]


def test_a_long_prompt_is_fed_in_parts_within_the_budget() -> None:
    scheduler = make_scheduler()
    request = make_request(list(range(70)))
    scheduler.add(request)
    batches = [run(scheduler) for _ in range(3)]
    assert [fed(batch) for batch in batches] == [[32], [32], [6]]
    assert [batch.ready for batch in batches] == [[], [], [request]]
    assert [batch.feeds[0].num_logits for batch in batches] == [0, 0, 1]


def test_running_rows_go_on_while_a_long_prompt_arrives() -> None:
    scheduler = make_scheduler()
    short, long = make_request([1, 2]), make_request(list(range(60)))
    scheduler.add(short)
    choose(run(scheduler))
    scheduler.add(long)
    first = run(scheduler)
    assert fed(first) == [1, 31]
    assert first.ready == [short]


def test_higher_priority_starts_first_and_equals_in_order() -> None:
    scheduler = make_scheduler(max_rows=1)
    low, high, low_too = make_request([1]), make_request([1], priority=5), make_request([1])
    for request in (low, high, low_too):
        scheduler.add(request)
    order = []
    for _ in range(3):
        order += run(scheduler).ready
        scheduler.remove(order[-1])
    assert order == [high, low, low_too]


def test_rows_are_counted_by_the_sequences_a_request_will_have() -> None:
    scheduler = make_scheduler(max_rows=4)
    wide, other = make_request([1], num_return_sequences=4, do_sample=True), make_request([2])
    scheduler.add(wide)
    scheduler.add(other)
    assert run(scheduler).ready == [wide]
    scheduler.remove(wide)
    assert run(scheduler).ready == [other]


def test_when_blocks_run_out_the_last_comer_waits_and_is_computed_anew() -> None:
    scheduler = make_scheduler(num_blocks=7)
    first, second = make_request(list(range(10))), make_request(list(range(10)))
    scheduler.add(first)
    scheduler.add(second)
    for _ in range(3):
        choose(run(scheduler))
    assert scheduler.running == [first, second]
    choose(run(scheduler))  # each now needs a fourth block
    assert scheduler.running == [first]
    assert (scheduler.num_preemptions, scheduler.num_waiting) == (1, 1)
    assert (second.sequences[0].num_cached, len(second.sequences[0].token_ids)) == (0, 13)
    scheduler.remove(first)
    again = run(scheduler)
    assert again.ready == [second]
    assert fed(again) == [13]


def test_a_request_with_several_sequences_advances_only_when_all_are_fed() -> None:
    scheduler = make_scheduler(step_tokens=16)
    request = make_request([1] * 10, num_return_sequences=2, do_sample=True)
    request.sequences = [Sequence([1] * 10, 8, index=0), Sequence([1] * 12, 8, index=1)]
    scheduler.add(request)
    first, second = run(scheduler), run(scheduler)
    assert (fed(first), first.ready) == ([9, 7], [])
    assert (fed(second), second.ready) == ([1, 5], [request])
    assert [feed.num_logits for feed in second.feeds] == [1, 1]


def test_prompt_logprobs_ask_for_the_logits_of_every_part() -> None:
    scheduler = make_scheduler()
    scheduler.add(make_request(list(range(40)), wanted=Wanted(prompt_logprobs=True)))
    assert [run(scheduler).feeds[0].num_logits for _ in range(2)] == [32, 8]


def test_a_deadline_counts_only_until_the_first_step() -> None:
    scheduler = make_scheduler(max_rows=1)
    running, waiting = make_request([1], deadline_s=0.5), make_request([1], deadline_s=0.5)
    scheduler.add(running)
    scheduler.add(waiting)
    run(scheduler, now=running.arrived_at)
    assert scheduler.expired(running.arrived_at + 60) == [waiting]


def test_removing_frees_everything() -> None:
    scheduler = make_scheduler()
    requests: list[Request] = [make_request(list(range(9))) for _ in range(3)]
    for request in requests:
        scheduler.add(request)
    run(scheduler)
    assert scheduler.cache.num_used == 9
    for request in requests:
        scheduler.remove(request)
    assert scheduler.cache.num_used == 0
    assert not scheduler.has_work


def make_paced(step_tokens: int = 64, max_rows: int = 8, block_size: int = 4) -> Scheduler:
    """Keeps prompts to a chunk of 8: beside requests that decode each of their tokens takes as long as a whole step."""
    limits = StepLimits(max_rows, step_tokens, max_waiting=100, max_stretch=1.8)
    return Scheduler(BlockCache(256, block_size), limits)


def run_and_publish(scheduler: Scheduler) -> Batch:
    batch = run(scheduler)
    for feed in batch.feeds:
        salt = next(one for one in scheduler.running if feed.sequence in one.sequences).submission.cache_salt
        scheduler.cache.publish(feed.sequence, salt)
    return batch


def step(scheduler: Scheduler, token_s: float = 1.0) -> Batch:
    """One step that publishes its blocks, chooses a token for each request that is ready, and takes its time."""
    batch = run_and_publish(scheduler)
    choose(batch)
    num_decoding = sum(len(feed.token_ids) == 1 for feed in batch.feeds)
    scheduler.took(1.0 + token_s * (sum(fed(batch)) - num_decoding))
    return batch


def steps_until(scheduler: Scheduler, request: Request) -> list[list[int]]:
    """What the steps feed until the request advances."""
    found = []
    while True:
        batch = step(scheduler)
        found.append(fed(batch))
        if request in batch.ready:
            return found


def test_beside_requests_that_decode_a_long_prompt_is_fed_in_small_parts() -> None:
    scheduler = make_paced()
    short, long = make_request([1, 2]), make_request(list(range(100)))
    scheduler.add(short)
    step(scheduler)
    scheduler.add(long)
    found = steps_until(scheduler, long)
    assert found == [[1], *[[1, 8]] * 12, [1, 4]]  # the first shows how long a step without prompts takes


def test_with_nobody_decoding_a_long_prompt_gets_whole_steps() -> None:
    scheduler = make_paced()
    long = make_request(list(range(150)))
    scheduler.add(long)
    assert steps_until(scheduler, long) == [[64], [64], [22]]


def test_short_prompts_do_not_wait_for_the_end_of_a_long_one() -> None:
    scheduler = make_paced()
    decoding, long, short = make_request([1, 2]), make_request(list(range(400))), make_request([5] * 10)
    scheduler.add(decoding)
    step(scheduler)
    scheduler.add(long)
    for _ in range(3):
        step(scheduler)
    scheduler.add(short)
    found = steps_until(scheduler, short)
    assert len(found) <= 2
    assert all(parts[1] == 8 for parts in found)


def test_a_long_prompt_gets_on_beside_any_number_of_short_ones() -> None:
    scheduler = make_paced()
    long = make_request(list(range(200)))
    scheduler.add(long)
    for number in range(60):
        scheduler.add(make_request([number] * 20))
        for request in step(scheduler).ready:
            if request is long:
                return
            scheduler.remove(request)
    raise AssertionError("it was never done")


def test_a_request_wider_than_a_part_of_a_prompt_is_completed_beside_others() -> None:
    scheduler = make_paced(step_tokens=64, max_rows=40)
    decoding, wide = make_request([1, 2]), make_request([7] * 20, num_return_sequences=30, do_sample=True)
    scheduler.add(decoding)
    step(scheduler)
    wide.sequences = [Sequence([7] * 20, 20, index=number) for number in range(30)]
    scheduler.add(wide)
    for _ in range(200):
        if wide in step(scheduler).ready:
            return
    raise AssertionError("it was never complete")


def test_prompts_that_begin_alike_and_come_together_are_computed_once() -> None:
    scheduler = make_paced(step_tokens=48)
    prompts = [[*range(80), 100 + number] for number in range(4)]
    requests = [make_request(prompt) for prompt in prompts]
    for request in requests:
        scheduler.add(request)
    batches = [run_and_publish(scheduler) for _ in range(3)]
    assert [fed(batch) for batch in batches] == [[48], [33], [1, 1, 1]]
    assert [request.num_matched for request in requests] == [0, 80, 80, 80]
    assert len({tuple(request.sequences[0].block_ids[:20]) for request in requests}) == 1


def test_beside_streams_too_a_shared_beginning_is_computed_once() -> None:
    scheduler = make_paced(max_rows=16, block_size=16)
    for _ in range(4):
        scheduler.add(make_request([1, 2], max_length=500))
    step(scheduler)
    prompts = [[*range(160), 200 + number] for number in range(4)]
    requests = [make_request(prompt) for prompt in prompts]
    for request in requests:
        scheduler.add(request)
    num_fed = 0
    while not all(request.sequences[0].num_generated for request in requests):
        num_fed += sum(num for num in fed(step(scheduler, token_s=0.1)) if num > 1)
    assert num_fed <= 161


def test_other_prompts_do_not_wait_for_those_that_begin_alike() -> None:
    scheduler = make_paced(step_tokens=64)
    for prompt in ([*range(30), 100], [*range(30), 101], [*range(200, 220)]):
        scheduler.add(make_request(prompt))
    assert fed(run_and_publish(scheduler)) == [31, 20]


def test_when_the_first_of_those_that_begin_alike_goes_the_next_computes_the_rest() -> None:
    scheduler = make_paced(step_tokens=48)
    first, second = make_request([*range(80), 100]), make_request([*range(80), 101])
    scheduler.add(first)
    scheduler.add(second)
    run_and_publish(scheduler)
    scheduler.remove(first)
    batch = run_and_publish(scheduler)
    assert (fed(batch), batch.ready, second.num_matched) == ([33], [second], 48)


def test_what_a_salt_keeps_apart_is_computed_for_each() -> None:
    scheduler = make_paced(step_tokens=64)
    for salt in ("a", "b"):
        scheduler.add(make_request([1] * 20, cache_salt=salt))
    assert fed(run_and_publish(scheduler)) == [20, 20]


def test_a_deadline_counts_while_a_prompt_is_not_fed_yet() -> None:
    scheduler = make_paced(step_tokens=16)
    decoding, first = make_request([1, 2]), make_request(list(range(60)))
    late = make_request(list(range(100, 160)), deadline_s=0.5)
    scheduler.add(decoding)
    step(scheduler)
    scheduler.add(first)
    scheduler.add(late)
    for _ in range(3):
        step(scheduler)
    assert scheduler.expired(late.arrived_at + 60) == [late]


def test_where_a_prompt_departs_within_a_block_the_tokens_before_that_are_copied() -> None:
    scheduler = make_paced()
    first, other = make_request([*range(14), 100]), make_request([*range(10), 50, 51])
    scheduler.add(first)
    run_and_publish(scheduler)
    source = first.sequences[0].block_ids[2]
    scheduler.remove(first)
    scheduler.add(other)
    batch = run_and_publish(scheduler)
    assert (fed(batch), other.num_matched) == ([2], 10)
    assert batch.copies == [BlockCopy(source, other.sequences[0].block_ids[2])]
