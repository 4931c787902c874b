"""Small charts as SVG: they need no script, no font and no network, print in black and white, and say in words what they show."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

WIDTH, LEFT, RIGHT = 720, 92, 96
ROW, BAR = 26, 15
HEIGHT, TOP, BOTTOM = 190, 14, 30
# Two charts beside each other.
NARROW, NARROW_LEFT, NARROW_RIGHT = 400, 60, 52
DOTS = 20


def _svg(height: float, title: str, words: str, parts: Sequence[str], width: int = WIDTH) -> str:
    name = "c" + format(abs(hash_of(title)), "x")
    head = f'<svg viewBox="0 0 {width} {height:.0f}" role="img" aria-labelledby="{name}t {name}d" xmlns="http://www.w3.org/2000/svg">'
    return f'{head}<title id="{name}t">{escape(title)}</title><desc id="{name}d">{escape(words)}</desc>{"".join(parts)}</svg>'


def hash_of(text: str) -> int:
    """A number that is the same in every run; Python's own hash is not."""
    total = 0
    for letter in text:
        total = (total * 31 + ord(letter)) % 2**32
    return total


def steps(top: float, wanted: int = 4) -> list[float]:
    """Round numbers from 0 to at least `top`."""
    raw = max(top, 1e-9) / wanted
    unit: float = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * unit for factor in (1, 2, 2.5, 5, 10) if factor * unit >= raw * 0.999)
    return [number * step for number in range(math.ceil(top / step * 0.999) + 1)]


def bars(title: str, rows: Sequence[tuple[str, float, float]]) -> str:
    """One bar per row: its name, what is there, and what was planned as an outline around it."""
    most = max([1.0, *(max(done, planned) for _, done, planned in rows)])
    room = WIDTH - LEFT - RIGHT
    parts = []
    for place, (name, done, planned) in enumerate(rows):
        y = place * ROW + 4
        full, part = room * planned / most, room * done / most
        parts.append(
            f'<text class="name" x="{LEFT - 10}" y="{y + 12}" text-anchor="end">{escape(name)}</text>'
            f'<rect class="planned" x="{LEFT}" y="{y}" width="{full:.1f}" height="{BAR}"/>'
            f'<rect class="done" x="{LEFT}" y="{y}" width="{part:.1f}" height="{BAR}"/>'
            f'<text x="{LEFT + max(full, part) + 8:.1f}" y="{y + 12}">{done:g} of {planned:g}</text>'
        )
    words = "; ".join(f"{name}: {done:g} of {planned:g}" for name, done, planned in rows)
    return _svg(max(1, len(rows)) * ROW + 4, title, words, parts)


def progress(title: str, blocks: Sequence[tuple[str, int, int, bool]]) -> str:
    """Waves side by side, as wide as they have members: name, how many are there, how many there are, whether it is the one meant."""
    total = max(1, sum(members for _, _, members, _ in blocks))
    gap, x, parts = 3.0, 0.0, []
    room = WIDTH - gap * (len(blocks) - 1)
    for name, done, members, meant in blocks:
        width = room * members / total
        parts.append(
            f'<rect class="planned" x="{x:.1f}" y="4" width="{width:.1f}" height="22"/>'
            f'<rect class="done" x="{x:.1f}" y="4" width="{width * done / max(1, members):.1f}" height="22"/>'
            f'<text class="{"meant" if meant else "name"}" x="{x + width / 2:.1f}" y="44" text-anchor="middle">{escape(name)}</text>'
        )
        x += width + gap
    return _svg(50, title, "; ".join(f"{name}: {done} of {members}" for name, done, members, _ in blocks), parts)


def line(title: str, values: Sequence[tuple[float, float | None]], limit: float, unit: str, width: int = WIDTH) -> str:
    """Values over minutes under their limit; a moment without a value is a gap."""
    left, right = (LEFT, RIGHT) if width >= WIDTH else (NARROW_LEFT, NARROW_RIGHT)
    known = [value for _, value in values if value is not None]
    marks = steps(max([limit * 1.15, *known, 1e-6]))
    last = max([minute for minute, _ in values] or [1.0])
    first = min(0.0, *(minute for minute, _ in values)) if values else 0.0
    room, tall = width - left - right, HEIGHT - TOP - BOTTOM

    def at(minute: float) -> float:
        return left + room * (minute - first) / max(last - first, 1e-9)

    def level(value: float) -> float:
        return TOP + tall - tall * value / marks[-1]

    parts = [
        f'<line class="grid" x1="{left}" x2="{left + room}" y1="{level(mark):.1f}" y2="{level(mark):.1f}"/>'
        f'<text class="name" x="{left - 8}" y="{level(mark) + 4:.1f}" text-anchor="end">{mark:g} {escape(unit)}</text>'
        for mark in marks
    ]
    path, pen = "", "M"
    for minute, value in values:
        if value is None:
            pen = "M"
            continue
        path += f"{pen}{at(minute):.1f} {level(value):.1f} "
        pen = "L"
        # Many dots would hide the line.
        if len(values) <= DOTS:
            parts.append(f'<circle class="dot" cx="{at(minute):.1f}" cy="{level(value):.1f}" r="3"/>')
    parts.append(f'<path class="curve" d="{path.strip() or "M0 0"}"/>')
    parts.append(f'<line class="limit" x1="{left}" x2="{left + room}" y1="{level(limit):.1f}" y2="{level(limit):.1f}"/>')
    parts.append(
        f'<text class="limit" x="{left + room + 8}" y="{level(limit) + 4:.1f}">{"limit " if width >= WIDTH else ""}{limit:g} {escape(unit)}</text>'
    )
    parts += [
        f'<text class="name" x="{at(mark):.1f}" y="{HEIGHT - 8}" text-anchor="middle">{mark:g} min</text>'
        for mark in steps(last, 5 if width >= WIDTH else 3)
        if mark <= last
    ]
    words = f"between {min(known):.3g} and {max(known):.3g} {unit}, limit {limit:g} {unit}" if known else "nothing was measured"
    return _svg(HEIGHT, title, words, parts, width)
