"""Addresses are shown without what may be secret."""

from __future__ import annotations

from each_case import each_case

from avadet.urls import scheme_of, shown_url, without_secrets


@each_case(
    ("text", "scheme"),
    [
        ("HTTP://h/a", "http"),
        ("s3://b/k", "s3"),
        ("file:///a", "file"),
        ("a.mp4", ""),
        ("C:/a.mp4", ""),
        ("a://b://c", ""),
    ],
)
def test_schemes_are_lower_case(text: str, scheme: str) -> None:
    assert scheme_of(text) == scheme


def test_a_url_is_shown_by_its_host() -> None:
    assert shown_url("S3://bucket/key.mp4?sig=secret") == "s3://bucket"
    assert shown_url("https://me:secret@host:8000/secret") == "https://host:8000"


@each_case(
    ("said", "shown"),
    [
        ("no such file: https:/h/a.mp4?sig=secret; check", "no such file: https:/h/a.mp4?..."),
        ("cannot open 'http://me:secret@h/a.mp4#secret'", "cannot open 'http://h/a.mp4#...'"),
        ("fetch https://h/models/a.safetensors first", "fetch https://h/models/a.safetensors first"),
        ("see clips/a.mp4 at 3:/4, a ratio of 16:/9", "see clips/a.mp4 at 3:/4, a ratio of 16:/9"),
    ],
)
def test_messages_lose_secrets_and_nothing_else(said: str, shown: str) -> None:
    assert without_secrets(said).startswith(shown)
    assert "secret" not in without_secrets(said)
