"""A call site is what stays the same between two calls from one place of a program."""

import json

from jevons.ledger.site import Sites, template_of, tool_names


def raw(text: object) -> bytes:
    return json.dumps(text).encode()


def test_what_changes_by_itself_is_no_part_of_a_template() -> None:
    one = "Today is 2026-11-24T12:00:01Z. Session 0b0f8d6e-9d6c-4a57-8a39-0d2f0d6c7a11 in /home/ann/app/src, 12 files."
    two = "Today is 2025-01-02T08:30:00Z. Session 7a1c9e40-1111-4a57-9a39-aaaaaaaaaaaa in /srv/bob/web/src, 7 files."
    assert template_of(raw(one)) == template_of(raw(two))
    assert template_of(raw(one)) != template_of(raw(one.replace("Today", "Once upon a time it")))


def test_a_client_s_check_sum_is_no_part_either() -> None:
    line = "x-anthropic-billing-header: cc_version=2.1.38.d9c; cch=%s;\nYou are an agent."
    assert template_of(raw(line % "e71d1")) == template_of(raw(line % "0abc9"))
    assert template_of(raw("at commit 3fa9c1b2")) == template_of(raw("at commit 77aa0e1f"))
    assert template_of(raw("a decade")) != template_of(raw("a facade"))


def test_spelled_out_dates_are_no_part_either() -> None:
    assert template_of(raw("It is Tuesday, November 24, 2026.")) == template_of(raw("It is Friday, May 1, 2026."))


def test_a_month_s_name_that_is_a_word_stays() -> None:
    assert template_of(raw("You may march.")) != template_of(raw("You may june."))


def test_text_and_one_block_of_text_are_one_template() -> None:
    assert template_of(raw("You work.")) == template_of(raw([{"type": "text", "text": "You work."}]))
    assert template_of(raw("You work.")) == template_of(raw([{"role": "system", "content": "You work."}]))


def test_tools_count_by_name_in_any_order() -> None:
    chat = [{"type": "function", "function": {"name": name}} for name in ("a", "b")]
    assert tool_names(raw(chat)) == tool_names(raw(chat[::-1])) == tool_names(raw([{"name": "b"}, {"name": "a"}]))


def test_the_key_and_the_caller_s_own_name_count() -> None:
    sites = Sites()
    assert sites.name("k1", raw("x"), b"") != sites.name("k2", raw("x"), b"")
    assert sites.name("k1", raw("x"), b"", "checkout") == sites.name("k1", raw("y"), b"", "checkout")


def test_rubbish_has_a_site_too() -> None:
    assert Sites().name("k", b"{", b"[1,2") == Sites().name("k", b"", b"")
