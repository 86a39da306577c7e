"""Draws docs/led.svg, the picture of what the LED and the buzzer say, from the code that drives them: `make docs`."""

from __future__ import annotations

from pathlib import Path

from rufusd.core.indicator import Indication, light, sound

SECONDS, SCALE, LEFT, ROW = 6, 70, 330, 34

# What the station does, what that means for a person, and what the LED and the buzzer do then.
ROWS = [
    (Indication.OFF, "not running", "no power, no good configuration, or stopped", "off", ""),
    (Indication.ARMED, "armed", "hold the button 3 s and let go to close", "a short blip every 3 s", ""),
    (
        Indication.UNARMED,
        "not armed yet",
        "waits for the button's release, or for the reader",
        "two blips every 3 s",
        "",
    ),
    (Indication.HOLDING, "held, not long enough yet", "keep holding", "10 Hz", ""),
    (Indication.LET_GO, "held long enough", "let go now: that confirms", "on", "one short beep"),
    (Indication.GRACE, "confirmed", "a short press takes it back", "2 Hz", "a tick each second"),
    (Indication.WITHDRAWN, "withdrawn", "for a second, then as before", "off", "two short beeps"),
    (Indication.PENDING, "pending", "waits for the last passings, or for the network", "1 Hz", ""),
    (Indication.CLOSED, "closed", "RUFUS says so", "on", "three short beeps"),
    (Indication.FAULT, "fault", "a person is needed: `rufusd status` says why", "4 Hz", "one long beep"),
    (
        *(Indication.FAULT_PENDING, "pending, and a fault", "nothing is lost, but a person is needed"),
        *("4 Hz and 1 Hz, 2 s each", "one long beep"),
    ),
]


def bars(pattern: list[bool]) -> list[tuple[int, int]]:
    """The stretches in which a pattern is on: (first, length)."""
    found: list[tuple[int, int]] = []
    for place, on in enumerate(pattern):
        if on and found and sum(found[-1]) == place:
            found[-1] = (found[-1][0], found[-1][1] + 1)
        elif on:
            found.append((place, 1))
    return found


def strip(indication: Indication, x: float, y: float, scale: float, seconds: float = SECONDS) -> list[str]:
    """One indication drawn over the seconds: the LED's bars, the buzzer's below. `scale` is the width of a second."""
    lines = [f'<rect x="{x:g}" y="{y:g}" width="{seconds * scale:g}" height="14" fill="none" stroke="#888"/>']
    for pattern, top, tall, colour in ((light, y, 14, "black"), (sound, y + 17, 5, "#777")):
        samples = [pattern(indication, place / 100) for place in range(round(seconds * 100))]
        for first, length in bars(samples):
            left, wide = x + first * scale / 100, length * scale / 100
            lines.append(f'<rect x="{left:.1f}" y="{top:g}" width="{wide:.1f}" height="{tall}" fill="{colour}"/>')
    return lines


def picture() -> str:
    """The SVG's text. Black and white, for paper; every row a strip of six seconds."""
    width, height = LEFT + SECONDS * SCALE + 20, 40 + ROW * len(ROWS) + 14
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="13">',
        "<title>What the LED and the buzzer say</title>",
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for second in range(SECONDS + 1):
        x = LEFT + second * SCALE
        lines.append(
            f'<path d="M{x} 28V{height - 14}" stroke="#ccc"/>'
            f'<text x="{x}" y="20" text-anchor="middle">{second} s</text>'
        )
    for number, (indication, what, then, *_) in enumerate(ROWS):
        y = 40 + number * ROW
        lines.append(f'<text x="12" y="{y + 8}" font-weight="bold">{what}</text>')
        lines.append(f'<text x="12" y="{y + 23}" font-size="11" fill="#444">{then}</text>')
        lines += strip(indication, LEFT, y, SCALE)
    lines.append(
        f'<text x="{LEFT}" y="{height - 3}" font-size="11" fill="#444">black: LED on; grey below: buzzer</text>'
    )
    return "\n".join([*lines, "</svg>"]) + "\n"


if __name__ == "__main__":
    Path(__file__).with_name("led.svg").write_text(picture(), encoding="utf-8")
