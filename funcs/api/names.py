"""Names made from names, and the rules a name must keep.

Law: deterministic; the same parent and suffix give the same child everywhere, byte for byte as Knative's
`kmeta.ChildName` does, so that objects of both systems can stand side by side. No IO.
"""

from __future__ import annotations

import hashlib
import re

LONGEST = 63
# No vowels and no look-alikes (k8s.io/apimachinery/pkg/util/rand.SafeEncodeString).
SAFE = "bcdfghjklmnpqrstvwxz2456789"
_HEAD = LONGEST - 32  # what is left beside an md5 in hex

_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_DNS_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_DNS_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


def child(parent: str, suffix: str) -> str:
    """`parent + suffix`, shortened with a hash when it would pass 63 characters (knative.dev/pkg/kmeta.ChildName)."""
    if len(parent) <= LONGEST - len(suffix):
        return parent + suffix
    if len(suffix) >= _HEAD:
        made = parent[:_HEAD] + _md5(parent + suffix)
        made += suffix[: LONGEST - len(made)]
        return _ending_alphanumeric(made)
    return parent[: _HEAD - len(suffix)] + _md5(parent) + suffix


def generated(prefix: str, random: str) -> str:
    """`generateName`: the prefix, cut so that five random characters fit (k8s.io/apiserver/storage/names)."""
    return prefix[: LONGEST - len(random)] + random


def is_dns_label(name: str) -> bool:
    """RFC 1123 label, at most 63 characters."""
    return len(name) <= LONGEST and _DNS_LABEL.fullmatch(name) is not None


def is_dns_1035(name: str) -> bool:
    """RFC 1035 label: an RFC 1123 label that starts with a letter."""
    return len(name) <= LONGEST and _DNS_1035.fullmatch(name) is not None


def is_dns_subdomain(name: str) -> bool:
    """RFC 1123 subdomain, at most 253 characters."""
    return len(name) <= 253 and _DNS_SUBDOMAIN.fullmatch(name) is not None


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _ending_alphanumeric(name: str) -> str:
    return re.sub(r"[^a-zA-Z0-9]+$", "", name)
