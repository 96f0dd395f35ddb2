"""Secrets' values never leave the engine."""

import base64

from kindling.engine.redact import Redactor


def test_a_value_and_its_base64_form_become_the_name_of_the_secret() -> None:
    redactor = Redactor()
    redactor.learn([("db:password", "hunter2-long")])
    encoded = base64.b64encode(b"hunter2-long").decode()
    assert redactor.text("login with hunter2-long") == "login with [redacted secret db:password]"
    assert encoded not in redactor.text(f"data: {encoded}")


def test_values_shorter_than_five_characters_stay_since_they_would_tear_holes_into_text() -> None:
    redactor = Redactor()
    redactor.learn([("db:user", "root")])
    assert redactor.text("the root folder") == "the root folder"


def test_each_long_line_of_a_value_is_cut_out_because_logs_come_by_the_line() -> None:
    redactor = Redactor()
    redactor.learn([("tls:key", "-----BEGIN-----\nMIIEvQIBADAN\n")])
    assert redactor.text("got MIIEvQIBADAN") == "got [redacted secret tls:key]"


def test_the_longer_of_two_values_wins_where_one_holds_the_other() -> None:
    redactor = Redactor()
    redactor.learn([("a:k", "secret"), ("b:k", "secret-and-more")])
    assert redactor.text("x secret-and-more") == "x [redacted secret b:k]"
