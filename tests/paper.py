"""What a drawing must be so that it can be read on GitHub and printed: for the tests of the figures and the card."""

from __future__ import annotations

from xml.etree import ElementTree

SVG = "{http://www.w3.org/2000/svg}"


def width(text: str, size: float) -> float:
    """About how wide a text is in DejaVu Sans, the widest of what "sans-serif" usually is."""
    kinds = ((" ,.:;'-()/|!¿?fijlrtíI", 0.36), ("mwMW", 0.95), ("ABCDEFGHKLNOPQRSTUVXYZ", 0.7))
    return size * sum(next((wide for letters, wide in kinds if each in letters), 0.62) for each in text)


def printable(svg: str, colours: set[str]) -> None:
    """White ground first, no other colours than these, no script, style or link, and no text beyond the edge."""
    tree = ElementTree.fromstring(svg)
    _, _, wide, tall = (float(each) for each in tree.get("viewBox", "").split())
    ground = tree[1]
    assert (ground.tag, ground.get("fill"), ground.get("width")) == (f"{SVG}rect", "white", f"{wide:g}")
    for element in tree.iter():
        assert element.tag.removeprefix(SVG) in {"svg", "title", "rect", "path", "g", "circle", "text"}
        assert {element.get("fill"), element.get("stroke")} <= {None, "none", *colours}
        if element.tag == f"{SVG}text":
            size = float(element.get("font-size", "16"))
            letters = width(element.text or "", size)
            shift = {"middle": 0.5, "end": 1.0}.get(element.get("text-anchor", ""), 0.0)
            left, base = float(element.get("x", "")) - shift * letters, float(element.get("y", ""))
            assert left >= 0, element.text
            assert left + letters <= wide, element.text
            assert size <= base <= tall - 0.25 * size, element.text
