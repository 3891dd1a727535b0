"""How costs are read and told; the figures themselves are not tested."""

import os

from benchmarks.http_cost import Cost, cpu_s, door_cost, door_table, prompts, read_options, table


def test_cpu_time_of_a_process_grows_with_its_work():
    before = cpu_s(os.getpid())
    sum(range(200_000))
    assert cpu_s(os.getpid()) > before


def test_prompts_never_come_twice():
    options = read_options(["--prompt-tokens", "8"])
    drawn = [tuple(prompt) for number in range(3) for prompt in prompts(options, 4, number)]
    assert len(set(drawn)) == 12


def test_tables_show_the_share_that_http_leaves():
    cost = Cost("built-in", "text", 32, 950.0, 50.0, 1.0, alone_tokens_per_s=1000.0)
    assert "95.0%" in table([cost])


def test_a_door_is_held_against_the_native_one_of_the_same_round():
    rounds = [
        {"native": (1000.0, 1e-4), "TGI": (900.0, 2e-4)},
        {"native": (500.0, 1e-4), "TGI": (475.0, 1e-4)},
        {"native": (800.0, 1e-4), "TGI": (736.0, 1.5e-4)},
    ]
    cost = door_cost("TGI", 32, rounds)
    assert (cost.tokens_per_s, cost.share, round(cost.cpu_share, 6)) == (736.0, 0.92, 1.5)
    assert "92.0%" in door_table([cost])
