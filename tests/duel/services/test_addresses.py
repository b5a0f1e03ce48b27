import pytest

from duel.services.addresses import is_loopback, normal_address


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        ("HTTPS://API.Replicate.com:443/", "https://api.replicate.com"),
        ("https://api.openai.com/v1/", "https://api.openai.com/v1"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("https://user:secret@host/v1?key=secret#part", "https://host/v1"),
    ],
)
def test_an_address_has_one_form_without_secrets(given, normal):
    assert normal_address(given) == normal


@pytest.mark.parametrize("given", ["", "api.openai.com/v1", "https://"])
def test_what_is_no_address_is_refused(given):
    with pytest.raises(ValueError, match="expected an address such as https://host/path"):
        normal_address(given)


@pytest.mark.parametrize(
    ("address", "loopback"),
    [
        ("http://127.0.0.2:80", True),
        ("http://[::1]:8080", True),
        ("http://localhost/v1", True),
        ("https://api.replicate.com", False),
        ("https://localhost.example.com", False),
    ],
)
def test_an_address_of_this_machine_is_known(address, loopback):
    assert is_loopback(address) is loopback


@pytest.mark.parametrize(
    "url", ["https://a b/v1", "https://host/v1 #part", "https://host/\u200bv1", "https://host\n.org"]
)
def test_an_address_with_a_space_or_an_invisible_character_is_refused(url):
    with pytest.raises(ValueError, match="expected an address"):
        normal_address(url)
