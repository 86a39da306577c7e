"""A network of its own: stations on one side, RUFUS on the other, a cable between them; a name server, a system log.

Nothing in it reaches the machine's network, and nothing is left of it once its processes have ended.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

from forked import Forge
from stations import until

HERE, FAR, ELSEWHERE = "198.51.100.2", "198.51.100.1", "198.51.100.9"  # RFC 5737 and 3849: nobody's
HERE6, FAR6 = "2001:db8::2", "2001:db8::1"
CLONE_NEWNET = 0x40000000
A, AAAA = 1, 28

#: What is between: ports of the far side, to which packets are lost or refused.
FILTER = """
table inet venue {
    set swallowed { type inet_service; }
    set swallowed6 { type inet_service; }
    set refused { type inet_service; }
    set forbidden { type inet_service; }
    chain arriving {
        type filter hook input priority 0;
        tcp dport @swallowed drop
        meta nfproto ipv6 tcp dport @swallowed6 drop
        tcp dport @refused reject with tcp reset
        tcp dport @forbidden reject with icmpx type host-unreachable
    }
}
"""

#: Makes the near side's folder the /dev of the program that it becomes, and its files those of the resolver.
NEAR = """
set -e
ip link set lo up
for device in null zero random urandom; do
    touch "$0/dev/$device"
    mount --bind "/dev/$device" "$0/dev/$device"
done
mount --rbind "$0/dev" /dev
mount --bind "$0/resolv.conf" /etc/resolv.conf
mount --bind "$0/hosts" /etc/hosts
exec "$@"
"""


def unavailable() -> str:
    """Why this machine can have no network apart; nothing if it can."""
    if missing := [tool for tool in ("unshare", "nsenter", "ip", "nft") if not shutil.which(tool)]:
        return f"this machine has no {' and no '.join(missing)}"
    if os.geteuid() or subprocess.run(["unshare", "--net", "--mount", "true"], capture_output=True).returncode:
        return "only root may make a network of its own, and not in every container"
    return ""


class Apart:
    """The two sides, from `with` on."""

    def __init__(self, folder: Path) -> None:
        """Prepare the near side's folder: its resolver's files, its system log."""
        self.folder = folder
        self.hosts = folder / "hosts"
        self.zone: dict[str, str] = {}  # what the name server answers for each name
        self._stack = contextlib.ExitStack()
        self._done = threading.Event()
        (folder / "dev").mkdir()
        (folder / "resolv.conf").write_text(f"nameserver {FAR}\n")
        self.hosts.write_text("")

    def __enter__(self) -> Apart:
        """Make both, and the cable."""
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        far = ["unshare", "--net", "sh", "-c", "ip link set lo up && echo ready && exec cat"]
        self._far = self._stack.enter_context(subprocess.Popen(far, **pipes))  # type: ignore[call-overload]
        self._stack.callback(self._far.stdin.close)
        assert self._far.stdout.readline() == b"ready\n"
        self.journal = self._stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        self.journal.bind(str(self.folder / "dev" / "log"))
        inside = ["unshare", "--net", "--mount", "sh", "-c", NEAR, str(self.folder)]
        self.forge = self._stack.enter_context(contextlib.closing(Forge(self.folder, inside=inside)))
        self.far("ip", "link", "add", "far", "type", "veth", "peer", "name", "near", "netns", str(self.forge.pid))
        for address in (f"{FAR}/24", f"{ELSEWHERE}/24", f"{FAR6}/64"):
            self.far("ip", "address", "add", address, "dev", "far", *["nodad"] * (":" in address))
        for address in (f"{HERE}/24", f"{HERE6}/64"):
            self.near("ip", "address", "add", address, "dev", "near", *["nodad"] * (":" in address))
        self.far("ip", "link", "set", "far", "up")
        self.near("ip", "link", "set", "near", "up")
        self.settles()
        self.far("nft", "-f", "-", told=FILTER)
        with self.on(self._far.pid):
            names = self._stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            names.bind((FAR, 53))
            names.settimeout(0.1)
        serving = threading.Thread(target=self._serve, args=(names,), daemon=True)
        serving.start()
        self._stack.callback(serving.join)
        self._stack.callback(self._done.set)
        return self

    def __exit__(self, *_: object) -> None:
        """End its processes, and with them all else."""
        self._stack.close()

    @contextlib.contextmanager
    def on(self, pid: int) -> Iterator[None]:
        """In this thread, and in those that it starts meanwhile, sockets are made on the side of a process."""
        with open("/proc/thread-self/ns/net") as back, open(f"/proc/{pid}/ns/net") as there:
            _enter(there.fileno())
            try:
                yield
            finally:
                _enter(back.fileno())

    def on_far(self) -> contextlib.AbstractContextManager[None]:
        """Sockets are made on RUFUS's side."""
        return self.on(self._far.pid)

    def far(self, *command: str, told: str = "") -> None:
        """Run a command on RUFUS's side."""
        _run(self._far.pid, command, told)

    def near(self, *command: str) -> None:
        """Run a command on the stations' side."""
        _run(self.forge.pid, command)

    def settles(self) -> None:
        """Wait until the kernel has no more to tell of the cable: each message hurries a station's call, and cuts it.

        The link's state comes up to a second late, the check of a link-local address (RFC 4862) a second or two.
        """
        for side, run in (("far", self._far.pid), ("near", self.forge.pid)):
            until(lambda side=side, run=run: "state UP" in _run(run, ("ip", "link", "show", side)))  # type: ignore[misc]
            until(lambda run=run: not _run(run, ("ip", "-6", "address", "show", "tentative")))  # type: ignore[misc]

    def block(self, how: str, port: int) -> None:
        """Packets to this port of the far side are from now on `swallowed`, `refused`, `forbidden`..."""
        self.far("nft", "add", "element", "inet", "venue", how, f"{{ {port} }}")

    def unblock(self, how: str, port: int) -> None:
        """They arrive again."""
        self.far("nft", "delete", "element", "inet", "venue", how, f"{{ {port} }}")

    @contextlib.contextmanager
    def watched(self) -> Iterator[bytearray]:
        """Every packet on the cable, as somebody on the stations' network sees it."""
        seen = bytearray()
        everything = 3  # ETH_P_ALL
        with (
            self.on(self.forge.pid),
            socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(everything)) as sock,
        ):
            sock.bind(("near", everything))
            sock.settimeout(0.05)
            done = threading.Event()

            def look() -> None:
                while True:
                    try:
                        seen.extend(sock.recv(1 << 17))
                    except socket.timeout:
                        if done.is_set():
                            return

            thread = threading.Thread(target=look, daemon=True)
            thread.start()
            try:
                yield seen
            finally:
                done.set()
                thread.join()

    def heard(self) -> bytes:
        """What has come to the system's log since the last time."""
        came = b""
        with contextlib.suppress(BlockingIOError):
            while True:
                came += self.journal.recv(1 << 17, socket.MSG_DONTWAIT) + b"\n"
        return came

    def _serve(self, names: socket.socket) -> None:
        while not self._done.is_set():
            with contextlib.suppress(OSError):  # nobody asks, or who asked is not reached any more
                query, who = names.recvfrom(4096)
                if reply := self._reply(query):
                    names.sendto(reply, who)

    def _reply(self, query: bytes) -> bytes:
        """The answer to a query (RFC 1035), as the zone has it; nothing where it is to be silent."""
        labels, at = [], 12
        while length := query[at]:
            labels.append(query[at + 1 : at + 1 + length].decode())
            at += 1 + length
        (kind,) = struct.unpack_from("!H", query, at + 1)
        says = self.zone.get(".".join(labels).lower(), "NXDOMAIN")
        if says == "nothing":
            return b""
        if says == "rubbish":
            return query[:2] + b"\x81\x80" + b"\xff" * 40
        code = {"SERVFAIL": 2, "NXDOMAIN": 3, "REFUSED": 5}.get(says, 0)
        known = {"right": {A: FAR}, "both": {A: FAR, AAAA: FAR6}, "six": {AAAA: FAR6}, "elsewhere": {A: ELSEWHERE}}
        found = b""
        if address := known.get(says, {}).get(kind):
            packed = socket.inet_pton(socket.AF_INET if kind == A else socket.AF_INET6, address)
            found = b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 0, len(packed)) + packed
        return query[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, bool(found), 0, 0) + query[12 : at + 5] + found


def _run(pid: int, command: tuple[str, ...], told: str = "") -> str:
    done = subprocess.run(
        ["nsenter", "-t", str(pid), "-n", *command], input=told.encode(), capture_output=True, timeout=60
    )
    assert done.returncode == 0, f"{command}: {done.stderr.decode()}"
    return done.stdout.decode()


def _enter(namespace: int) -> None:
    """Move this thread into a network namespace; setns(2), which Python knows since 3.12."""
    if ctypes.CDLL(None, use_errno=True).setns(namespace, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")
