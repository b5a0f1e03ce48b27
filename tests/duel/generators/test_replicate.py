"""ReplicateGenerator against the local fake over HTTP: what is sent, and each fault by itself."""

import pytest

from duel.errors import LimitError, UserError
from duel.generators.replicate.generator import FLUX_SCHNELL, ReplicateGenerator
from duel.testing.inputs import COMMUNITY
from duel.testing.predictions import NSFW
from duel.testing.replicate_api import CREATE_FAULTS, READ_FAULTS
from duel.testing.replicate_files import FILE_FAULTS
from duel.types import Refusal
from tests.support.replicate_fixtures import QUICK, VERSION_OF, is_right


def test_the_references_parameters_are_sent_and_a_seed(server, ledger):
    with ReplicateGenerator(ledger, retries=QUICK) as generator:
        drawn = generator.draw("a plot", 41)
        assert (generator.name, generator.version, generator.prompt_limit) == (FLUX_SCHNELL, "official", 256)
    assert server.jobs[0].input == {
        "prompt": "a plot", "seed": 42, "megapixels": "1", "aspect_ratio": "1:1", "num_inference_steps": 4,
        "output_format": "webp", "output_quality": 80, "go_fast": False, "num_outputs": 1,
    }  # fmt: skip
    assert drawn.media_type == "image/webp"
    assert server.tokens_at_files == 0


def test_every_seed_is_sent_as_one_to_two_to_the_31_minus_1(generator):
    assert [generator.input_of("x", seed)["seed"] for seed in (0, 1, 2**31 - 2, 2**31 - 1)] == [1, 2, 2**31 - 1, 1]


def test_surrogates_are_replaced_and_nul_removed_in_the_prompt(server, generator):
    generator.draw("half a pair \ud83d and \0 nothing", 0)
    assert server.jobs[0].input["prompt"] == "half a pair ? and  nothing"


def test_a_pinned_version_and_free_parameters(server, ledger):
    made = ReplicateGenerator(ledger, COMMUNITY, VERSION_OF[COMMUNITY], {"steps": 20}, prompt_limit=77, retries=QUICK)
    with made as generator:
        generator.draw("a plot", 0)
        assert (generator.prompt_limit, generator.version) == (77, VERSION_OF[COMMUNITY])
    assert (server.jobs[0].version, server.jobs[0].input) == (
        VERSION_OF[COMMUNITY], {"prompt": "a plot", "seed": 1, "steps": 20}
    )  # fmt: skip


def test_a_model_whose_prompt_limit_is_not_known_must_state_it(server, ledger):
    with pytest.raises(UserError, match=r"set generator\.prompt_limit"):
        ReplicateGenerator(ledger, COMMUNITY)


@pytest.mark.parametrize("fault", [fault for fault in CREATE_FAULTS if fault not in ("invalid-prompt", "flagged")])
def test_a_failed_creation_is_retried_and_paid_once(server, ledger, generator, fault):
    server.faults.script("create", fault)
    assert is_right(generator.draw("a plot", 7), "a plot", 7)
    assert server.counts()["created"] == server.counts()["images_billed"] == 1
    assert (ledger.spend().predictions, ledger.spend().drawn, ledger.spend().dollars) == (1, 1, 0.003)


@pytest.mark.parametrize("fault", READ_FAULTS)
def test_a_failed_poll_is_retried(server, generator, fault):
    server.faults.script("poll", fault, fault)
    assert is_right(generator.draw("a plot", 7), "a plot", 7)
    assert server.counts()["created"] == 1


@pytest.mark.parametrize("fault", READ_FAULTS)
def test_a_failed_list_request_is_retried(server, generator, fault):
    server.faults.script("create", "reset-after")
    server.faults.script("list", fault, fault)
    assert is_right(generator.draw("a plot", 7), "a plot", 7)
    assert server.counts()["created"] == 1


@pytest.mark.parametrize("fault", FILE_FAULTS)
def test_an_incomplete_file_is_downloaded_again(server, generator, fault):
    server.faults.script("file", fault, fault)
    assert is_right(generator.draw("a plot", 7), "a plot", 7)
    assert (server.counts()["created"], server.counts()["images_served"]) == (1, 1)


def test_a_failed_prediction_is_created_again(server, ledger, generator):
    server.faults.script("prediction", "failed")
    assert is_right(generator.draw("a plot", 7), "a plot", 7)
    assert (server.counts()["created"], server.counts()["failed"]) == (2, 1)
    spend = ledger.spend()
    assert (spend.failed, spend.drawn, spend.images) == (1, 1, server.counts()["images_billed"])


def test_a_model_that_always_fails_ends_after_five_predictions(server, generator):
    server.faults.rates = {"failed": 1.0}
    with pytest.raises(LimitError, match=r"bought 5 times .* without an image"):
        generator.draw("a plot", 7)
    assert server.counts()["created"] == 5


def test_a_refusal_is_a_result_billed_and_cached(server, ledger, generator):
    assert generator.draw("something forbidden", 3) == Refusal(NSFW)
    assert generator.draw("something forbidden", 3) == Refusal(NSFW)
    assert server.counts()["created"] == server.counts()["images_billed"] == 1
    assert (ledger.spend().refused, ledger.spend().dollars) == (1, 0.003)
