"""The files under /etc that give a pod its name and tell it where names are answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kindling.cluster.model.api import Obj

__all__ = ["DNS_ADDRESS", "DOMAIN", "Resolver", "hostname_of", "hosts_file", "resolver_of"]

DNS_ADDRESS = "10.198.0.10"
DOMAIN = "cluster.local"
_MOST_NAMESERVERS, _MOST_SEARCHES = 3, 32


@dataclass(frozen=True, slots=True)
class Resolver:
    """What /etc/resolv.conf says."""

    nameservers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Resolver:
        servers: list[str] = []
        searches: Sequence[str] = ()
        options: Sequence[str] = ()
        for line in text.splitlines():
            words = line.split("#")[0].split()
            if not words:
                continue
            if words[0] == "nameserver" and len(words) > 1:
                servers.append(words[1])
            elif words[0] == "search":
                searches = [word for word in words[1:] if word != "."]
            elif words[0] == "options":
                options = words[1:]
        return cls(tuple(servers), tuple(searches), tuple(options))

    @classmethod
    def of_host(cls, path: Path = Path("/etc/resolv.conf")) -> Resolver:
        try:
            return cls.parse(path.read_text(encoding="utf-8", errors="replace"))
        except OSError:
            return cls()

    def reached_from_pods(self, instead: str) -> Resolver:
        """With `instead` in place of servers on this machine's loopback, such as that of
        systemd-resolved: a pod has a loopback of its own."""
        servers = [
            instead if one.startswith("127.") or one == "::1" else one for one in self.nameservers
        ]
        return replace(self, nameservers=_unique(servers))

    def render(self) -> str:
        lines = []
        if self.searches:
            lines.append("search " + " ".join(self.searches))
        lines += [f"nameserver {server}" for server in self.nameservers]
        if self.options:
            lines.append("options " + " ".join(self.options))
        return "\n".join(lines) + "\n"


def resolver_of(pod: Obj, host: Resolver, dns_address: str = DNS_ADDRESS) -> Resolver:
    """By `dnsPolicy` and `dnsConfig`, merged as the kubelet does: its own entries come first, and
    an option that the pod names replaces the one there."""
    spec = pod["spec"]
    policy = spec.get("dnsPolicy") or "ClusterFirst"
    if policy == "ClusterFirst" and spec.get("hostNetwork"):
        policy = "Default"
    if policy in ("ClusterFirst", "ClusterFirstWithHostNet"):
        namespace = pod["metadata"]["namespace"]
        own = (f"{namespace}.svc.{DOMAIN}", f"svc.{DOMAIN}", DOMAIN)
        base = Resolver((dns_address,), _unique((*own, *host.searches)), ("ndots:5",))
    elif policy == "None":
        base = Resolver()
    else:
        base = host
    config = spec.get("dnsConfig") or {}
    options = {option.partition(":")[0]: option for option in base.options}
    for option in config.get("options") or ():
        value = option.get("value")
        options[option["name"]] = f"{option['name']}:{value}" if value else option["name"]
    return Resolver(
        _unique((*base.nameservers, *(config.get("nameservers") or ())))[:_MOST_NAMESERVERS],
        _unique((*base.searches, *(config.get("searches") or ())))[:_MOST_SEARCHES],
        tuple(options.values()),
    )


def hostname_of(pod: Obj) -> tuple[str, str]:
    """The pod's host name, and its name with the domain (empty without a subdomain)."""
    spec, metadata = pod["spec"], pod["metadata"]
    name = spec.get("hostname") or metadata["name"][:63].rstrip("-.")
    if not (subdomain := spec.get("subdomain")):
        return name, ""
    return name, f"{name}.{subdomain}.{metadata['namespace']}.svc.{DOMAIN}"


def hosts_file(pod: Obj, address: str, host_file: str = "") -> str:
    """/etc/hosts; a pod in the host's network keeps the host's, with its aliases added."""
    if pod["spec"].get("hostNetwork"):
        text = "# Kubernetes-managed hosts file (host network).\n" + host_file
    else:
        name, full = hostname_of(pod)
        names = f"{full}\t{name}" if full else name
        text = (
            "# Kubernetes-managed hosts file.\n"
            "127.0.0.1\tlocalhost\n"
            "::1\tlocalhost ip6-localhost ip6-loopback\n"
            "fe00::0\tip6-localnet\n"
            "fe00::0\tip6-mcastprefix\n"
            "fe00::1\tip6-allnodes\n"
            "fe00::2\tip6-allrouters\n"
            f"{address}\t{names}\n"
        )
    aliases = pod["spec"].get("hostAliases") or ()
    if aliases:
        text += "\n# Entries added by HostAliases.\n"
        for alias in aliases:
            text += "\t".join([alias["ip"], *(alias.get("hostnames") or ())]) + "\n"
    return text


def _unique(words: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(words))
