"""Runs in the virtual machine, as root: does what the host says, and tells it what a person beside it would see.

Speaks lines of JSON over a serial port. Without being asked it says each change of the outputs' levels, as the kernel
has them, and of the daemon's own words for what it shows, and for which session.
"""

import json
import os
import subprocess
import threading
import time
import tty

LINE = "/sys/devices/platform/gpio-sim.0/gpiochip0/sim_gpio{}/{}"
OUTPUTS = {"led": 27, "buzzer": 23}
EVERY = 0.01  # seconds from one look to the next: the shortest of the patterns is 60 ms long


def say(**what):
    with guard:
        port.write(json.dumps(what).encode() + b"\n")


def reads(name):
    try:
        with open(name) as file:
            return file.read()
    except OSError:
        return ""


def watch():
    seen, status, words = None, "", {"indicator": "", "token": ""}
    while True:
        fresh = reads("/run/rufusd/status.json")
        if fresh and fresh != status:
            status, view = fresh, json.loads(fresh)
            words = {"indicator": view["indicator"], "token": view["session"]["token"]}
        outputs = {name: reads(LINE.format(line, "value")) == "1\n" for name, line in OUTPUTS.items()}
        if (outputs, words) != seen:
            seen = (outputs, words)
            say(sight={**outputs, **words})
        time.sleep(EVERY)


def pull(line, high):
    """What a button does: connects the line."""
    with open(LINE.format(line, "pull"), "w") as file:
        file.write("pull-up" if high else "pull-down")
    return ""


def write(name, text):
    """Write a file so that it outlives a power cut."""
    with open(name, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    return ""


def run(*command):
    """Run a command to its end; all that it said."""
    return subprocess.run(command, stdout=-1, stderr=-2, text=True).stdout


def main():
    say(hello=True)
    threading.Thread(target=watch, daemon=True).start()
    for line in port:
        name, *arguments = json.loads(line)
        say(answer={"pull": pull, "write": write, "run": run}[name](*arguments))


guard = threading.Lock()
port = open("/dev/ttyS1", "r+b", buffering=0)  # noqa: SIM115 - it ends with the machine
tty.setraw(port)
main()
