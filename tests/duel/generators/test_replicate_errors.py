"""Permanent errors of Replicate are raised without retry, with advice; the token is never quoted."""

import logging

import pytest

from duel.errors import UserError
from duel.generators.replicate.generator import ReplicateGenerator
from duel.testing.inputs import COMMUNITY
from duel.types import Spend
from tests.support.replicate_fixtures import PNG, QUICK, TOKEN, is_right


def test_a_rejected_token_is_not_retried_and_not_quoted(server, ledger, monkeypatch):
    monkeypatch.setenv("REPLICATE_API_TOKEN", "r8_wrong")
    with ReplicateGenerator(ledger, retries=QUICK) as generator, pytest.raises(UserError) as caught:
        generator.draw("a plot", 7)
    assert "401" in str(caught.value)
    assert "the API token is not accepted; make one at https://" in str(caught.value)
    assert "r8_wrong" not in str(caught.value)
    assert ledger.spend() == Spend()


def test_an_account_without_credit_is_a_user_error(server, generator):
    server.credit = 0
    with pytest.raises(UserError, match=r"402: Insufficient credit.*billing, then run the same command again"):
        generator.draw("a plot", 7)


def test_parameters_that_the_model_does_not_take_are_named(server, ledger):
    with (
        ReplicateGenerator(ledger, parameters={"num_inference_steps": 28}, retries=QUICK) as generator,
        pytest.raises(UserError, match=r"num_inference_steps: Must be less than or equal to 4.*generator\.parameters"),
    ):
        generator.draw("a plot", 7)


def test_a_model_that_is_not_official_asks_for_a_version(server, ledger):
    with (
        ReplicateGenerator(ledger, COMMUNITY, prompt_limit=77, retries=QUICK) as generator,
        pytest.raises(UserError, match=r"404.*pin generator\.version"),
    ):
        generator.draw("a plot", 7)


def test_no_token_is_reported_before_any_work(ledger, monkeypatch):
    monkeypatch.delenv("REPLICATE_API_TOKEN", raising=False)
    with pytest.raises(UserError, match="REPLICATE_API_TOKEN is not set"):
        ReplicateGenerator(ledger)


def test_a_token_argument_overrides_the_environment(server, ledger, monkeypatch):
    monkeypatch.delenv("REPLICATE_API_TOKEN")
    with ReplicateGenerator(ledger, parameters=PNG, retries=QUICK, token=f"{TOKEN}\n") as generator:
        assert is_right(generator.draw("a plot", 7), "a plot", 7)


@pytest.mark.parametrize("address", ["http://example.org", "ftp://127.0.0.1", "api.replicate.com"])
def test_a_token_is_sent_over_http_to_localhost_only(ledger, monkeypatch, address):
    monkeypatch.setenv("REPLICATE_API_TOKEN", TOKEN)
    monkeypatch.setenv("REPLICATE_BASE_URL", address)
    with pytest.raises(UserError, match="expected (an address with )?https"):
        ReplicateGenerator(ledger)


def test_the_token_is_in_no_file_log_or_error(server, ledger, generator, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    generator.draw("a plot", 7)
    server.token = "another"  # as if the token had been withdrawn
    with pytest.raises(UserError) as refused:
        generator.draw("another plot", 7)
    said = [repr(generator), str(generator), repr(refused.value), repr(refused.value.__context__), caplog.text]
    assert all(TOKEN not in words for words in said)
    assert "HTTP Request" in caplog.text  # the clients do log
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert written
    assert all(TOKEN.encode() not in data for data in written)
