"""Draws docs/wiring/*.svg, the figures of the wiring guide: `make docs`. Symbols first, then one function a figure.

Black on white, for paper: nothing is told by a colour. A part with two ends is drawn from (0, 0) to (80, 0) and turned
by its angle; which GPIO a pin of the header is comes from rufusd/core/settings.py, as the program understands it.
"""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import escape

from rufusd.core.settings import InvalidValue, pin_number

FOLDER = Path(__file__).parent / "wiring"

# The pins of the 40-pin header that the guide uses, and for what.
USED = {
    1: "pull-up of a long cable",
    2: "buzzer",
    6: "buzzer",
    9: "button",
    11: "button",
    13: "reader",
    14: "reader",
    15: "LED",
    16: "buzzer",
    20: "LED",
    31: "power lost (UPS)",
}
POWER = {1: "3.3 V", 2: "5 V", 4: "5 V", 17: "3.3 V"}
GROUND = (6, 9, 14, 20, 25, 30, 34, 39)

BODY = "M0 0H20M60 0H80"
SYMBOLS = {
    "resistor": f'<path d="{BODY}"/><rect x="20" y="-9" width="40" height="18" fill="white"/>',
    "diode": '<path d="M0 0H80M52 -12V12"/><path d="M28 -12V12L52 0Z" fill="black" stroke="none"/>',
    "schottky": '<path d="M0 0H80M58 -7V-12H52V12H46V7"/><path d="M28 -12V12L52 0Z" fill="black" stroke="none"/>',
    "led": '<path d="M0 0H80M52 -12V12M36 -16L44 -28M39 -28H44V-23M50 -16L58 -28M53 -28H58V-23"/>'
    '<path d="M28 -12V12L52 0Z" fill="black" stroke="none"/>',
    "button": '<path d="M0 0H20M60 0H80M16 -14H64M40 -14V-26M32 -26H48"/>'
    '<circle cx="20" cy="0" r="4" fill="white"/><circle cx="60" cy="0" r="4" fill="white"/>',
    "contact": '<path d="M0 0H20M60 0H80M22 -3L58 -20"/>'
    '<circle cx="20" cy="0" r="4" fill="white"/><circle cx="60" cy="0" r="4" fill="white"/>',
    "coil": f'<path d="{BODY}"/><rect x="20" y="-16" width="40" height="32" fill="white"/><path d="M20 16L60 -16"/>',
    "buzzer": f'<path d="{BODY}"/><path d="M20 -16H60V6A20 20 0 0 1 20 6Z" fill="white"/>',
    # A transistor: (0, 0) is where its base's wire ends, (52, -40) its collector, (52, 40) its emitter.
    "npn": '<circle cx="42" cy="0" r="26" fill="white"/><path d="M0 0H32M52 -40V-22L32 -8M32 8L52 22V40"/>'
    '<path d="M32 -16V16" stroke-width="4"/><path d="M50 21L40 20L45 12Z" fill="black"/>',
    # An optocoupler, its light on the right: collector (0, 0), emitter (0, 80), anode (120, 0), cathode (120, 80).
    "optocoupler": '<rect x="10" y="-10" width="100" height="100" fill="white"/>'
    '<path d="M0 0H24V22L40 32M40 48L24 58V80H0M120 0H92V80H120M80 54H104"/>'
    '<path d="M40 24V56" stroke-width="4"/><path d="M26 57L36 56L31 48Z" fill="black"/>'
    '<path d="M80 28H104L92 54Z" fill="black"/>'
    '<path d="M72 32H54M59 28L54 32L59 36M72 46H54M59 42L54 46L59 50"/>',
}


def pin_name(number: int) -> str:
    """What a pin of the header is: "3.3 V", "ground" or its GPIO; empty where the guide does not say."""
    try:
        return f"GPIO{pin_number(f'BOARD{number}')}"
    except InvalidValue:
        return "ground" if number in GROUND else POWER.get(number, "")


class Sheet:
    """One figure. Lengths are in pixels; 800 are printed as wide as a page's text, and letters of 16 as 9.5 points."""

    def __init__(self, width: int, height: int, title: str) -> None:
        """A white sheet; the title is for readers that cannot see it."""
        self.lines = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="16" fill="none" stroke="black" '
            'stroke-width="2" stroke-linejoin="round">',
            f"<title>{escape(title)}</title>",
            f'<rect width="{width}" height="{height}" fill="white" stroke="none"/>',
        ]

    def text(self, x: float, y: float, *lines: str, anchor: str = "start", bold: bool = False) -> None:
        """One line of text or more, the first on the given height."""
        weight = ' font-weight="bold"' if bold else ""
        for number, line in enumerate(lines):
            self.lines.append(
                f'<text x="{x:g}" y="{y + 20 * number:g}" text-anchor="{anchor}"{weight} fill="black" stroke="none">'
                f"{escape(line)}</text>"
            )

    def wire(self, *points: tuple[float, float], dashed: bool = False) -> None:
        """A wire through these points; dashed is what is not always there."""
        path = "L".join(f"{x:g} {y:g}" for x, y in points)
        self.lines.append(f'<path d="M{path}"{_dashes(dashed)}/>')

    def part(self, symbol: str, x: float, y: float, angle: int = 0, *, dashed: bool = False) -> None:
        """A part with its first end here, turned clockwise by so many degrees."""
        turned = f' rotate({angle})"' if angle else '"'
        self.lines.append(f'<g transform="translate({x:g} {y:g}){turned}{_dashes(dashed)}>{SYMBOLS[symbol]}</g>')

    def dots(self, *places: tuple[float, float]) -> None:
        """Where wires are joined."""
        self.lines += [f'<circle cx="{x:g}" cy="{y:g}" r="4" fill="black"/>' for x, y in places]

    def terminals(self, *places: tuple[float, float]) -> None:
        """Where a cable is screwed or soldered to something."""
        self.lines += [f'<circle cx="{x:g}" cy="{y:g}" r="6" fill="white"/>' for x, y in places]

    def box(self, x: float, y: float, width: float, height: float, *title: str, dashed: bool = False) -> None:
        """A thing, with its name in its upper left corner."""
        self.lines.append(f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}"{_dashes(dashed)}/>')
        self.text(x + 10, y + 22, *title, bold=True)

    def pi(self, pins: dict[int, int]) -> None:
        """The Raspberry Pi with these pins of its header, each at its height."""
        self.box(20, min(pins.values()) - 55, 170, max(pins.values()) - min(pins.values()) + 85, "Raspberry Pi")
        for number, y in pins.items():
            self.text(178, y + 5, f"{pin_name(number)}, pin {number}", anchor="end")
        self.terminals(*((190, y) for y in pins.values()))

    def pull_up(self, x: float, y: float) -> None:
        """10 kΩ from 3.3 V, which is 80 above, to a wire."""
        self.wire((196, y - 80), (x, y - 80), (x, y - 78), dashed=True)
        self.part("resistor", x, y - 80, 90, dashed=True)
        self.dots((x, y))
        self.text(x + 20, y - 44, "10 kΩ: long or", "wet cable only")

    def done(self) -> str:
        """The SVG's text."""
        return "\n".join([*self.lines, "</svg>"]) + "\n"


def _dashes(dashed: bool) -> str:
    return ' stroke-dasharray="6 5"' if dashed else ""


def header() -> str:
    """The 40-pin header as one sees it with the USB sockets below."""
    sheet = Sheet(640, 700, "The 40-pin header, and the pins that this guide uses")
    sheet.text(320, 26, "seen from above, the USB sockets below, the board's edge on the right", anchor="middle")
    sheet.lines.append('<rect x="288" y="44" width="64" height="600"/>')
    for number in range(1, 41):
        right, y = number % 2 == 0, 62 + (number - 1) // 2 * 29.5
        x, used = (336 if right else 304), number in USED
        sheet.lines.append(f'<circle cx="{x}" cy="{y + 4:g}" r="12" fill="{"black" if used else "white"}"/>')
        sheet.lines.append(
            f'<text x="{x}" y="{y + 8.5:g}" font-size="12" text-anchor="middle" stroke="none" '
            f'fill="{"white" if used else "black"}">{number}</text>'
        )
        if used:
            end, side = (360, "start") if right else (280, "end")
            sheet.text(end, y + 9.5, f"{pin_name(number)}: {USED[number]}", anchor=side)
    sheet.text(320, 672, "black: used here; pin 1 is beside a mounting hole, at a corner", anchor="middle")
    sheet.text(320, 692, "a pin takes 3.3 V at the most", anchor="middle", bold=True)
    return sheet.done()


def button() -> str:
    """Button and LED."""
    sheet = Sheet(800, 440, "Button and LED")
    sheet.pi({1: 75, 11: 155, 9: 235, 15: 315, 20: 395})
    sheet.pull_up(360, 155)
    sheet.wire((196, 155), (220, 155))
    sheet.part("resistor", 220, 155)
    sheet.text(260, 138, "1 kΩ", anchor="middle")
    sheet.wire((300, 155), (580, 155))
    sheet.part("button", 580, 155, 90)
    sheet.wire((580, 235), (196, 235))
    sheet.text(420, 200, "cable to the button", anchor="middle")
    sheet.text(622, 190, "button,", "normally open", bold=True)
    sheet.wire((196, 315), (220, 315))
    sheet.part("resistor", 220, 315)
    sheet.text(260, 298, "330 Ω", anchor="middle")
    sheet.wire((300, 315), (580, 315))
    sheet.part("led", 580, 315, 90)
    sheet.wire((580, 395), (196, 395))
    sheet.text(420, 360, "cable to the LED", anchor="middle")
    sheet.text(622, 340, "LED: red, yellow", "or green", bold=True)
    sheet.text(622, 386, "flat side, short leg:", "to ground")
    return sheet.done()


def buzzer() -> str:
    """An active buzzer through a transistor."""
    sheet = Sheet(800, 410, "Active buzzer through an NPN transistor")
    sheet.pi({2: 80, 16: 250, 6: 370})
    sheet.wire((196, 80), (612, 80))
    sheet.part("buzzer", 482, 80, 90)
    sheet.dots((482, 80), (482, 160))
    sheet.text(504, 106, "+")
    sheet.text(446, 118, "active buzzer for 5 V,", "at most 50 mA", anchor="end", bold=True)
    sheet.wire((482, 160), (482, 212))
    sheet.part("npn", 430, 250)
    sheet.text(512, 240, "NPN: BC337, 2N2222,", "2N3904 (look up its legs)", bold=True)
    sheet.wire((196, 250), (220, 250))
    sheet.part("resistor", 220, 250)
    sheet.text(260, 233, "1 kΩ", anchor="middle")
    sheet.wire((300, 250), (430, 250))
    sheet.dots((350, 250), (350, 370))
    sheet.part("resistor", 350, 250, 90)
    sheet.text(334, 296, "10 kΩ", anchor="end")
    sheet.wire((350, 330), (350, 370))
    sheet.wire((482, 290), (482, 370), (196, 370))
    sheet.wire((482, 160), (612, 160), dashed=True)
    sheet.part("diode", 612, 160, -90, dashed=True)
    sheet.text(636, 110, "1N4148, only for", "a buzzer that has", "a coil (magnetic)")
    return sheet.done()


def contact() -> str:
    """A dry contact."""
    sheet = Sheet(800, 300, "A dry contact of the reader")
    _input(sheet, 560)
    sheet.wire((560, 155), (620, 155))
    sheet.part("contact", 620, 155, 90)
    sheet.wire((620, 235), (560, 235))
    sheet.text(450, 200, "long cable", anchor="middle")
    sheet.box(560, 90, 220, 180, "reader", dashed=True)
    sheet.terminals((560, 155), (560, 235))
    sheet.text(656, 172, "open while it", "runs, closed", "when it is off")
    return sheet.done()


def power() -> str:
    """A relay that says whether the reader has power."""
    sheet = Sheet(880, 330, "A relay that tells whether the reader has power")
    _input(sheet, 500)
    sheet.wire((500, 155), (540, 155))
    sheet.part("contact", 540, 155, 90)
    sheet.wire((540, 235), (500, 235))
    sheet.text(400, 200, "long cable", anchor="middle")
    sheet.box(500, 90, 260, 170, "relay, beside the reader", dashed=True)
    sheet.text(500, 284, "contacts COM and NC, drawn while the", "reader has power: they are open then")
    sheet.wire((556, 195), (624, 195), dashed=True)
    sheet.part("coil", 640, 155, 90)
    sheet.part("diode", 710, 235, -90)
    sheet.wire((640, 155), (776, 155))
    sheet.wire((640, 235), (776, 235))
    sheet.dots((710, 155), (710, 235))
    sheet.terminals((500, 155), (500, 235), (782, 155), (782, 235))
    sheet.text(796, 161, "+")
    sheet.text(796, 241, "\N{MINUS SIGN}")
    sheet.text(776, 184, "supply of", "the reader", "(DC)")
    return sheet.done()


def _input(sheet: Sheet, end: int) -> None:
    """GPIO27 and ground as far as the cable's other end."""
    sheet.pi({1: 75, 13: 155, 14: 235})
    sheet.pull_up(340, 155)
    sheet.wire((196, 155), (220, 155))
    sheet.part("resistor", 220, 155)
    sheet.text(260, 138, "1 kΩ", anchor="middle")
    sheet.wire((300, 155), (end, 155))
    sheet.wire((end, 235), (196, 235))


def collector() -> str:
    """An open collector or open drain."""
    sheet = Sheet(820, 370, "An open collector or open drain of the reader")
    sheet.pi({13: 160, 14: 320})
    sheet.wire((196, 160), (220, 160))
    sheet.part("resistor", 220, 160)
    sheet.text(260, 143, "1 kΩ", anchor="middle")
    sheet.wire((300, 160), (330, 160))
    sheet.part("schottky", 330, 160)
    sheet.text(382, 118, "BAT85,", "ring to the reader", anchor="middle")
    sheet.wire((410, 160), (640, 160), (640, 202))
    sheet.text(390, 245, "cable", anchor="middle")
    sheet.box(540, 24, 260, 336, "reader", dashed=True)
    sheet.part("npn", 588, 240)
    sheet.wire((640, 280), (640, 320), (196, 320))
    sheet.part("resistor", 640, 160, -90, dashed=True)
    sheet.dots((640, 160))
    sheet.terminals((540, 160), (540, 320))
    sheet.text(556, 152, "OUT")
    sheet.text(556, 343, "ground")
    sheet.text(662, 92, "a pull-up to", "5 V or more:", "the diode keeps", "it off the pin")
    sheet.text(672, 236, "conducts when", "it is stopped")
    return sheet.done()


def optocoupler() -> str:
    """An output of 5 to 30 V through an optocoupler."""
    sheet = Sheet(860, 400, "An output of 5 to 30 V through an optocoupler")
    sheet.pi({13: 150, 14: 230})
    sheet.wire((196, 150), (215, 150))
    sheet.part("resistor", 215, 150)
    sheet.text(255, 133, "1 kΩ", anchor="middle")
    sheet.wire((295, 150), (320, 150))
    sheet.part("optocoupler", 320, 150)
    sheet.wire((196, 230), (320, 230))
    sheet.text(322, 168, "4", anchor="end")
    sheet.text(322, 222, "3", anchor="end")
    sheet.text(438, 168, "1")
    sheet.text(438, 222, "2")
    sheet.text(380, 108, "PC817,", "beside the Pi", anchor="middle", bold=True)
    sheet.wire((440, 150), (570, 150))
    sheet.wire((440, 230), (800, 230), (800, 252))
    sheet.part("diode", 480, 230, -90)
    sheet.dots((480, 150), (480, 230))
    sheet.text(480, 262, "1N4148,", "ring to pin 1", anchor="middle")
    sheet.text(575, 196, "long cable", anchor="middle")
    sheet.part("resistor", 570, 150)
    sheet.text(610, 108, "R, beside", "the reader", anchor="middle", bold=True)
    sheet.wire((650, 150), (800, 150))
    sheet.box(680, 60, 160, 320, "reader", dashed=True)
    sheet.part("resistor", 800, 150, 90, dashed=True)
    sheet.part("npn", 748, 290)
    sheet.dots((800, 150), (800, 230))
    sheet.wire((800, 330), (800, 352), (680, 352))
    sheet.terminals((680, 150), (680, 230), (680, 352))
    sheet.text(696, 142, "V+")
    sheet.text(696, 222, "OUT")
    sheet.text(696, 344, "V\N{MINUS SIGN}")
    sheet.text(660, 310, "conducts when it is stopped:", "only then there is a current", anchor="end")
    sheet.text(660, 358, "never to the Pi", anchor="end")
    return sheet.done()


FIGURES = {
    "header": header,
    "button": button,
    "buzzer": buzzer,
    "contact": contact,
    "power": power,
    "collector": collector,
    "optocoupler": optocoupler,
}

if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, figure in FIGURES.items():
        (FOLDER / f"{name}.svg").write_text(figure(), encoding="utf-8")
