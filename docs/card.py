"""Draws docs/card.svg and docs/card.es.svg, the timekeeper's card on one A4 page, from one source: `make docs`.

The lights are those of led.py, drawn by the code that drives them; the durations are the defaults of the settings. Each
sentence stands here once in English, where it is used, and once in SPANISH.
"""

from __future__ import annotations

import runpy
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from rufusd.core.indicator import Indication
from rufusd.core.settings import Button, Close, Reader

LED: dict[str, Any] = runpy.run_path(str(Path(__file__).with_name("led.py")))
WIDTH, HEIGHT, LEFT, RIGHT = 794, 1123, 48, 746  # A4 in CSS pixels, and what a printer can reach of it
TIMES = {"hold": Button(pin=17).hold_time, "grace": Close().grace, "settle": Reader(pin=27).settle_time}

SPANISH = {
    "Closing the session at the finish line": "Cerrar la sesión en la línea de meta",
    "station and session": "estación y sesión",
    "technician, telephone": "técnico, teléfono",
    "To close, once the last runner is in": "Para cerrar, cuando haya llegado el último corredor",
    "Hold the button. The LED flickers.": "Mantener pulsado el botón. El LED parpadea muy rápido.",
    "After {hold:g} seconds the LED is steady: let go now.": "A los {hold:g} segundos el LED queda fijo: soltar ahora.",
    "Confirmed. A mistake? One short press within {grace:g} seconds takes it back.": (
        "Confirmado. ¿Un error? Una pulsación corta en los {grace:g} segundos siguientes lo anula."
    ),
    "Wait, or go home: the station needs power, nothing else.": (
        "Esperar, o irse a casa: la estación solo necesita corriente."
    ),
    "Steady: RUFUS says that the session is closed.": "Fijo: RUFUS dice que la sesión está cerrada.",
    "What the LED says": "Lo que dice el LED",
    "six seconds each; black: LED on; grey below: buzzer": (
        "seis segundos por fila; negro: LED encendido; gris debajo: zumbador"
    ),
    # What follows is led.py's table.
    "not running": "no está en marcha",
    "no power, no good configuration, or stopped": "sin corriente, mal configurada o parada",
    "armed": "armada",
    "hold the button 3 s and let go to close": "para cerrar, mantener pulsado el botón 3 s y soltar",
    "not armed yet": "aún no armada",
    "waits for the button's release, or for the reader": "espera a que se suelte el botón, o al lector",
    "held, not long enough yet": "pulsado, aún no lo suficiente",
    "keep holding": "mantener pulsado el botón",
    "held long enough": "pulsado lo suficiente",
    "let go now: that confirms": "soltar ahora: con eso se confirma el cierre",
    "confirmed": "confirmado",
    "a short press takes it back": "una pulsación corta anula el cierre",
    "withdrawn": "anulado",
    "for a second, then as before": "durante un segundo, luego como antes",
    "pending": "pendiente",
    "waits for the last passings, or for the network": "espera a las últimas pasadas, o a la red",
    "closed": "cerrada",
    "RUFUS says so": "lo dice RUFUS",
    "fault": "fallo",
    "a person is needed: `rufusd status` says why": "llamar al técnico: `rufusd status` dice por qué",
    "pending, and a fault": "pendiente, con fallo",
    "nothing is lost, but a person is needed": "no se ha perdido nada; llamar al técnico",
    "off": "apagado",
    "on": "fijo",
    "a short blip every 3 s": "un destello cada 3 s",
    "two blips every 3 s": "dos destellos cada 3 s",
    "10 Hz": "10 Hz",
    "4 Hz": "4 Hz",
    "2 Hz": "2 Hz",
    "1 Hz": "1 Hz",
    "4 Hz and 1 Hz, 2 s each": "4 Hz y 1 Hz, 2 s c/u",
    "one short beep": "un pitido corto",
    "two short beeps": "dos pitidos cortos",
    "three short beeps": "tres pitidos cortos",
    "one long beep": "un pitido largo",
    "a tick each second": "un tic por segundo",
    # Here it ends.
    "Four flashes a second, and nobody holds the button: a fault": (
        "Cuatro parpadeos por segundo, y nadie pulsa el botón: fallo"
    ),
    "Switch nothing off: what is confirmed may only be safe while there is power. Timing goes on.": (
        "No apagar nada: lo confirmado puede estar a salvo solo si hay corriente. El cronometraje sigue."
    ),
    "Is the button jammed, or does something lie on it? Free it, and do not press it again.": (
        "¿Está atascado el botón, o hay algo encima? Liberarlo, y no volver a pulsarlo."
    ),
    "Call the technician. Say whether the LED flashes fast all the time, or fast and slowly in turn (then a close is "
    "confirmed and is kept), since when, and who pressed what.": (
        "Llamar al técnico. Decir si el LED parpadea rápido todo el tiempo, o alternando rápido y lento (entonces "
        "hay un cierre confirmado, que se conserva), desde cuándo, y quién pulsó qué."
    ),
    "Nobody answers? Leave the power on, and go on timing. The session can be closed later.": (
        "¿No contesta nadie? No cortar la corriente y seguir cronometrando. La sesión se puede cerrar más tarde."
    ),
    "Never": "Nunca",
    "try the button during a race: closing cannot be undone, and later passings are lost.": (
        "probar el botón durante una carrera: el cierre es irreversible y las pasadas posteriores se pierden."
    ),
    "press again because it takes long: within {grace:g} seconds a short press takes the close back.": (
        "volver a pulsar porque tarda: en los primeros {grace:g} segundos una pulsación corta anula el cierre."
    ),
    "switch the station off while the LED blinks. If the power fails, the close is sent once it is back.": (
        "apagar la estación mientras el LED parpadea. Si se corta la corriente, el cierre se envía al volver."
    ),
    "switch the reader off before the last runner is in: where it is wired to the station, that closes after "
    "{settle:g} seconds.": (
        "apagar el lector antes de que llegue el último corredor: si está conectado a la estación, eso cierra la "
        "sesión a los {settle:g} segundos."
    ),
    "The LED stays dark? Look at the station's plug, wait two minutes, call the technician.": (
        "¿LED apagado? Mirar el enchufe de la estación, esperar dos minutos, llamar al técnico."
    ),
}

STEPS = [  # what to do, whether the button is down, what the LED does
    ("Hold the button. The LED flickers.", True, Indication.HOLDING),
    ("After {hold:g} seconds the LED is steady: let go now.", False, Indication.LET_GO),
    ("Confirmed. A mistake? One short press within {grace:g} seconds takes it back.", False, Indication.GRACE),
    ("Wait, or go home: the station needs power, nothing else.", False, Indication.PENDING),
    ("Steady: RUFUS says that the session is closed.", False, Indication.CLOSED),
]
FAULT = [
    "Switch nothing off: what is confirmed may only be safe while there is power. Timing goes on.",
    "Is the button jammed, or does something lie on it? Free it, and do not press it again.",
    "Call the technician. Say whether the LED flashes fast all the time, or fast and slowly in turn (then a close is "
    "confirmed and is kept), since when, and who pressed what.",
    "Nobody answers? Leave the power on, and go on timing. The session can be closed later.",
]
NEVER = [
    "try the button during a race: closing cannot be undone, and later passings are lost.",
    "press again because it takes long: within {grace:g} seconds a short press takes the close back.",
    "switch the station off while the LED blinks. If the power fails, the close is sent once it is back.",
    "switch the reader off before the last runner is in: where it is wired to the station, that closes after "
    "{settle:g} seconds.",
]


DARK = "The LED stays dark? Look at the station's plug, wait two minutes, call the technician."


class Page:
    """The card as it is written, from above to below. `y` is how far it has come."""

    def __init__(self, say: Callable[[str], str]) -> None:
        """`say` gives each sentence in the card's language."""
        self.say = say
        self.y = 56.0
        self.lines: list[str] = []

    def text(self, x: float, y: float, said: str, size: int = 13, room: float = RIGHT, bold: bool = False) -> float:
        """A sentence from here, in as many lines as it takes as far as `room`; gives where the next line would be."""
        weight = ' font-weight="bold"' if bold else ""
        letters = int((room - x) / (size * (0.59 if bold else 0.52)))
        for line in textwrap.wrap(self.say(said).format(**TIMES).replace("`", ""), letters):
            self.lines.append(f'<text x="{x:g}" y="{y:g}" font-size="{size}"{weight}>{escape(line)}</text>')
            y += size * 1.3
        return y

    def heading(self, said: str) -> None:
        """A heading below a line across the page."""
        self.lines.append(f'<path d="M{LEFT} {self.y:g}H{RIGHT}" stroke="black" stroke-width="2"/>')
        self.y = self.text(LEFT, self.y + 22, said, 16, bold=True) + 3

    def fill_in(self, said: str, left: float, right: float) -> None:
        """A line to write on, with what belongs there below it."""
        self.lines.append(f'<path d="M{left:g} {self.y:g}H{right:g}" stroke="black"/>')
        self.text(left, self.y + 14, said, 11, right)

    def items(self, sentences: list[str], mark: Callable[[int], str]) -> None:
        """A list; `mark` is what stands before each."""
        for number, sentence in enumerate(sentences, 1):
            self.lines.append(
                f'<text x="{LEFT}" y="{self.y:g}" font-size="13" font-weight="bold">{mark(number)}</text>'
            )
            self.y = self.text(LEFT + 22, self.y, sentence) + 2


def card(say: Callable[[str], str], language: str) -> str:
    """The card's SVG in a language."""
    page = Page(say)
    page.text(LEFT, page.y, "Closing the session at the finish line", 24, bold=True)
    page.y += 46
    page.fill_in("station and session", LEFT, 380)
    page.fill_in("technician, telephone", 410, RIGHT)
    page.y += 30
    page.heading("To close, once the last runner is in")
    wide = (RIGHT - LEFT) / len(STEPS)
    ends = []
    for number, (sentence, down, indication) in enumerate(STEPS):
        x = LEFT + number * wide
        page.lines.append(f'<text x="{x:g}" y="{page.y + 16:g}" font-size="20" font-weight="bold">{number + 1}</text>')
        if number < 2:  # the button from above: black while a finger is on it
            for radius, colour in ((13, "none"), (8, "black" if down else "none")):
                page.lines.append(
                    f'<circle cx="{x + 36:g}" cy="{page.y + 9:g}" r="{radius}" fill="{colour}" stroke="black" '
                    'stroke-width="2"/>'
                )
        page.lines += LED["strip"](indication, x, page.y + 34, (wide - 16) / 2, 2)
        ends.append(page.text(x, page.y + 72, sentence, room=x + wide - 14))
    page.y = max(ends) + 4
    page.heading("What the LED says")
    page.text(300, page.y - 26, "six seconds each; black: LED on; grey below: buzzer", 12)
    for indication, what, then, led, buzzer in LED["ROWS"]:
        page.lines += LED["strip"](indication, LEFT, page.y, 40)
        page.text(300, page.y + 7, what, 13, bold=True)
        page.text(300, page.y + 21, then, 12)
        page.text(596, page.y + 7, led, 12)
        if buzzer:
            page.text(596, page.y + 21, buzzer, 12)
        page.y += 32
    page.y += 6
    page.heading("Four flashes a second, and nobody holds the button: a fault")
    page.items(FAULT, "{}.".format)
    page.y += 2
    page.heading("Never")
    page.items(NEVER, lambda _: "\N{MULTIPLICATION SIGN}")
    page.y = page.text(LEFT, page.y + 8, DARK, bold=True)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" lang="{language}" width="210mm" height="297mm" '
            f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">',
            f"<title>{escape(say('Closing the session at the finish line'))}</title>",
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
            *page.lines,
            "</svg>\n",
        ]
    )


CARDS: dict[str, tuple[Callable[[str], str], str]] = {
    "card.svg": (str, "en"),
    "card.es.svg": (SPANISH.__getitem__, "es"),
}

if __name__ == "__main__":
    for name, (say, language) in CARDS.items():
        Path(__file__).with_name(name).write_text(card(say, language), encoding="utf-8")
