"""A secret is 256 bits and recognisable; what is stored is its SHA-256."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jevons.plans import key as keys


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_other_dice_give_another_secret_of_the_same_shape(first, second):
    one, other = keys.secret(first), keys.secret(second)
    assert (one == other) == (first == second)
    assert len(one) == len(other) == len("sk-jv-") + 43
    assert one.startswith("sk-jv-")
    assert one[6:].isalnum()
    assert one.isascii()


@given(st.binary(min_size=32, max_size=32))
def test_the_digest_is_sha256_and_the_prefix_gives_little_away(dice):
    secret = keys.secret(dice)
    key = keys.make(secret, name="n")
    assert key.digest == hashlib.sha256(secret.encode()).digest()
    assert secret.startswith(key.prefix)
    assert len(secret) - len(key.prefix) == 37


def test_too_few_dice_are_refused():
    with pytest.raises(ValueError, match="32 random bytes"):
        keys.secret(b"short")


def test_a_keys_tenant_is_its_customer_else_itself():
    secret = keys.secret(bytes(32))
    assert keys.make(secret, name="n", customer="acme").tenant == "acme"
    alone = keys.make(secret, name="n")
    assert alone.tenant == alone.id
