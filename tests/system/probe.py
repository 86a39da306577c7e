"""Runs where the daemon does, by ExecStartPre=, and writes what can be done there, as JSON, into the runtime folder."""

import ctypes
import json
import os
import socket

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWUSER = 0x10000000


def can(what):
    """Whether a call raises nothing, and is no function of C's that fails."""
    try:
        return what() != -1
    except OSError:
        return False


def write(folder):
    name = os.path.join(folder, "probe")
    with open(name, "w"):
        os.unlink(name)


def opened(*kind):
    socket.socket(*kind).close()


def reads(name):
    with open(name, "rb") as file:
        file.read()


found = {
    "ask whether the clock is set": can(lambda: LIBC.adjtimex(ctypes.create_string_buffer(512))),
    "read the Pi's model": can(lambda: reads("/proc/cpuinfo")),
    "read the boot's id": can(lambda: reads("/proc/sys/kernel/random/boot_id")),
    "read its configuration": can(lambda: reads("/etc/rufusd/config.toml")),
    "write its state": can(lambda: write("/var/lib/rufusd")),
    "write its runtime folder": can(lambda: write("/run/rufusd")),
    "use IPv4": can(lambda: opened(socket.AF_INET)),
    "use IPv6": can(lambda: opened(socket.AF_INET6)),
    "hear of networks": can(lambda: opened(socket.AF_NETLINK, socket.SOCK_RAW, 0)),
    "write its configuration": can(lambda: write("/etc/rufusd")),
    "write elsewhere": any(
        can(lambda folder=folder: write(folder)) for folder in ("/", "/etc", "/var", "/run", "/opt")
    ),
    "read secrets": can(lambda: reads("/etc/shadow")),
    "see homes": can(lambda: os.listdir("/root")) or can(lambda: os.listdir("/home")),
    "see others' processes": os.path.exists("/proc/1"),
    "set the clock": can(lambda: LIBC.clock_settime(0, ctypes.create_string_buffer(16))),
    "make namespaces": can(lambda: LIBC.unshare(CLONE_NEWUSER)),
    "sniff packets": can(lambda: opened(socket.AF_PACKET, socket.SOCK_RAW, 0)),
    "become root": can(lambda: os.setuid(0)),
}
with open("/run/rufusd/probe.json", "w") as file:
    json.dump({"can": sorted(what for what, done in found.items() if done), "groups": os.getgroups()}, file)
