"""Certificates, keys and tokens."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from cryptography import x509

from funcs.errors import Terminal, Unauthorized
from runtimes.cluster import pki
from runtimes.cluster.api.tokens import AUDIENCE, Claims

from .live import signing_key

NOW = 1_700_000_000.0
DAY = 86400.0
CLAIMS = Claims(namespace="ns", name="robot", uid="u", audiences=(AUDIENCE,), issued=NOW, expires=NOW + 600, id="j")


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_files_are_made_once_and_only_their_owner_reads_them(tmp_path: Path) -> None:
    pki.ensure(tmp_path / "pki", NOW)
    before = contents(tmp_path / "pki")
    pki.ensure(tmp_path / "pki", NOW + 10 * DAY)
    assert contents(tmp_path / "pki") == before
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "pki").iterdir()} == {0o600}


def test_the_server_certificate_is_renewed_in_time_and_the_authority_stays(tmp_path: Path) -> None:
    first = pki.ensure(tmp_path, NOW)
    authority, server = first.authority_pem(), first.server.read_bytes()
    pki.ensure(tmp_path, NOW + 340 * DAY)
    assert first.authority_pem() == authority
    assert first.server.read_bytes() != server
    ssl.create_default_context(cafile=str(first.authority)).load_cert_chain(first.server, first.server_key)


def test_new_names_make_a_new_certificate(tmp_path: Path) -> None:
    found = pki.ensure(tmp_path, NOW, names=["box.local"])
    certificate = x509.load_pem_x509_certificate(found.server.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "box.local" in names.get_values_for_type(x509.DNSName)


def test_a_broken_key_is_named(tmp_path: Path) -> None:
    found = pki.ensure(tmp_path, NOW)
    found.tokens.write_text("nonsense")
    with pytest.raises(Terminal, match=r"service-account\.key"):
        found.token_key()


def test_a_token_tells_its_account() -> None:
    key = signing_key()
    found = key.verify(key.sign(CLAIMS), (AUDIENCE,), NOW + 1)
    assert found == CLAIMS
    assert found.user.name == "system:serviceaccount:ns:robot"


@pytest.mark.parametrize(
    ("audience", "later"),
    [pytest.param("another", 1.0, id="for others"), pytest.param(AUDIENCE, 600.0, id="expired"),
     pytest.param(AUDIENCE, -3600.0, id="not yet")],
)  # fmt: skip
def test_a_token_out_of_place_is_refused(audience: str, later: float) -> None:
    key = signing_key()
    with pytest.raises(Unauthorized):
        key.verify(key.sign(CLAIMS), (audience,), NOW + later)


def test_a_token_of_another_key_or_altered_is_refused() -> None:
    key = signing_key()
    head, body, signature = key.sign(CLAIMS).split(".")
    none = "eyJhbGciOiJub25lIn0"
    for forged in (
        signing_key().sign(CLAIMS),
        f"{none}.{body}.",
        f"{head}.{body}x.{signature}",
        "a.b.c",
        f"{head}.{body}.",
    ):
        with pytest.raises(Unauthorized):
            key.verify(forged, (AUDIENCE,), NOW + 1)
