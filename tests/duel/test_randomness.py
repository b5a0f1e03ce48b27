import torch

from duel.randomness import derive_seed, stream, torch_stream


def test_equal_names_give_equal_streams():
    assert stream(1, 2, "describe").random() == stream(1, 2, "describe").random()


def test_streams_differ_in_every_name():
    seeds = {derive_seed(0, 1, "a"), derive_seed(1, 1, "a"), derive_seed(0, 2, "a"), derive_seed(0, 1, "b")}
    assert len(seeds) == 4


def test_a_number_and_its_digits_name_different_streams():
    assert derive_seed(0, 1) != derive_seed(0, "1")


def test_torch_streams_leave_the_global_generator_alone():
    before = torch.random.get_rng_state()
    torch.rand(3, generator=torch_stream(0, "x"))
    assert torch.equal(before, torch.random.get_rng_state())
