"""The cluster's keys and certificates: made once, kept in files only their owner can read, renewed in time.

Law: nothing here is ever sent anywhere; a file appears whole and with mode 0600 or not at all. The authority is made
for ten years and the server's certificate for one; the latter is made anew when a month is left or its names change.
IO: the `pki` directory.
"""

from __future__ import annotations

import base64
import ipaddress
import os
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from funcs.api.meta import Object
from funcs.errors import Terminal

T = TypeVar("T")

SERVER_NAMES = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)
SERVER_ADDRESSES = ("127.0.0.1", "::1")
_AUTHORITY_DAYS, _SERVER_DAYS, _RENEWAL_DAYS = 3650, 365, 30


@dataclass(frozen=True, slots=True)
class Pki:
    """Where the files are. `authority` is the certificate that clients trust; `tokens` signs service-account tokens."""

    directory: Path

    @property
    def authority(self) -> Path:
        return self.directory / "ca.crt"

    @property
    def authority_key(self) -> Path:
        return self.directory / "ca.key"

    @property
    def server(self) -> Path:
        return self.directory / "server.crt"

    @property
    def server_key(self) -> Path:
        return self.directory / "server.key"

    @property
    def tokens(self) -> Path:
        return self.directory / "service-account.key"

    def token_key(self) -> ec.EllipticCurvePrivateKey:
        return _read_key(self.tokens)

    def authority_pem(self) -> bytes:
        return self.authority.read_bytes()


def ensure(directory: Path, now: float, names: Sequence[str] = (), addresses: Sequence[str] = ()) -> Pki:
    """Make what is missing and renew what is about to expire. `now` is Unix seconds. Raises Terminal for broken files.

    `names` and `addresses` are those of the server beside loopback and the in-cluster names.
    """
    pki = Pki(directory)
    moment = datetime.fromtimestamp(now, UTC)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not pki.tokens.exists():
        write_private(pki.tokens, _key_pem(ec.generate_private_key(ec.SECP256R1())))
    if not pki.authority.exists() or not pki.authority_key.exists():
        _make_authority(pki, moment)
    alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in (*SERVER_NAMES, *names)]
    alternatives += [x509.IPAddress(ipaddress.ip_address(found)) for found in (*SERVER_ADDRESSES, *addresses)]
    if not _is_good(pki, alternatives, moment):
        _make_server(pki, alternatives, moment)
    return pki


def write_private(path: Path, content: bytes) -> None:
    """Whole and 0600, whatever the umask, and durable before it is seen."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _make_authority(pki: Pki, now: datetime) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("funcs-ca")
    unsigned = (
        _dated(name, name, key, now, _AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(sign=False, certify=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    write_private(pki.authority_key, _key_pem(key))
    write_private(pki.authority, _pem(unsigned.sign(key, hashes.SHA256())))


def _make_server(pki: Pki, alternatives: Sequence[x509.GeneralName], now: datetime) -> None:
    authority, authority_key = _read_certificate(pki.authority), _read_key(pki.authority_key)
    key = ec.generate_private_key(ec.SECP256R1())
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    unsigned = (
        _dated(_name("kube-apiserver"), authority.subject, key, now, _SERVER_DAYS)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(sign=True, certify=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(identifier, critical=False)
    )
    write_private(pki.server_key, _key_pem(key))
    write_private(pki.server, _pem(unsigned.sign(authority_key, hashes.SHA256())))


def _is_good(pki: Pki, alternatives: Sequence[x509.GeneralName], now: datetime) -> bool:
    """Of this authority and this key, for these names, and with a month left."""
    if not pki.server.exists() or not pki.server_key.exists():
        return False
    found = _read_certificate(pki.server)
    held = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return (
        found.not_valid_after_utc - now > timedelta(days=_RENEWAL_DAYS)
        and list(held) == list(alternatives)
        and found.public_key() == _read_key(pki.server_key).public_key()
        and found.issuer == _read_certificate(pki.authority).subject
        and _is_signed(found, _read_key(pki.authority_key))
    )


def _is_signed(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> bool:
    identifier = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    return identifier == x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())


def _dated(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=days))
    )


def _usage(*, sign: bool, certify: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=sign, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=certify, crl_sign=certify, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _read_certificate(path: Path) -> x509.Certificate:
    return _read(path, x509.load_pem_x509_certificate)


def _read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = _read(path, lambda pem: serialization.load_pem_private_key(pem, password=None))
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise _broken(path)
    return key


def _read(path: Path, load: Callable[[bytes], T]) -> T:
    try:
        return load(path.read_bytes())
    except ValueError as error:
        raise _broken(path) from error


def _broken(path: Path) -> Terminal:
    return Terminal(
        f"{path} cannot be read as a certificate or key",
        reason="BrokenKey",
        hint=f"Remove {path} to have a new one made; clients then need the new kubeconfig.",
    )


def kubeconfig(cluster: str, server: str, authority: bytes, token: str) -> Object:
    """A kubeconfig of one cluster, one user and one context, all named after the cluster."""
    certificate = base64.b64encode(authority).decode()
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": cluster, "cluster": {"server": server, "certificate-authority-data": certificate}}],
        "users": [{"name": cluster, "user": {"token": token}}],
        "contexts": [{"name": cluster, "context": {"cluster": cluster, "user": cluster, "namespace": "default"}}],
        "current-context": cluster,
    }
