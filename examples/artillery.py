"""A gun learns to hit: the miss distance is the loss, and the error goes back through the whole simulated flight.

A shell flies with drag and wind; where it lands is a long chain of small steps in time. Backpropagation follows that
chain back from the miss to the gun's elevation and charge, and gradient descent corrects both. The parameter that
moves the shell most per unit moves most: a damped Newton step along the gradient (Gauss-Newton) sets the length.
Run it: python examples/artillery.py [--plot FILE.svg]
"""

import math
import sys
from pathlib import Path

import numpy as np

import chainrule as cr

TARGET = 1800.0  # metres
WIND = -8.0  # metres a second, against the shell
DRAG = 3.0e-4  # a metre: deceleration is DRAG · speed²
GRAVITY = 9.81
TIME_STEP = 0.1  # seconds


def flight(elevation: cr.Tensor, speed: cr.Tensor) -> tuple[cr.Tensor, list[tuple[float, float]]]:
    """Where a shell lands (metres), differentiable in both arguments, and its path."""
    x, height = cr.asarray(0.0, dtype=cr.float64), cr.asarray(0.0, dtype=cr.float64)
    vx, vy = speed * cr.cos(elevation), speed * cr.sin(elevation)
    path = [(0.0, 0.0)]
    while True:
        through_air = cr.sqrt((vx - WIND) ** 2 + vy**2)
        vx = vx - TIME_STEP * DRAG * through_air * (vx - WIND)
        vy = vy - TIME_STEP * (DRAG * through_air * vy + GRAVITY)
        before_x, before_height = x, height
        x, height = x + TIME_STEP * vx, height + TIME_STEP * vy
        if height.item() < 0:  # it hit the ground within this step: go back to where the height was 0
            part = before_height / (before_height - height)
            x = before_x + part * (x - before_x)
            path.append((x.item(), 0.0))
            return x, path
        path.append((x.item(), height.item()))


def main(plot: str | None = None) -> float:
    elevation = cr.Parameter(np.float64(math.radians(25)), name="elevation")
    charge = cr.Parameter(np.float64(1.0), name="charge")  # full charge gives 150 m/s
    print(f"target at {TARGET:.0f} m, wind {WIND:.0f} m/s\n")
    print("shot   elevation   charge    lands at      misses by   d miss/d elevation   d miss/d charge")
    paths = []
    for shot in range(1, 16):
        landed, path = flight(elevation, 150.0 * charge)
        paths.append(path)
        miss = landed - TARGET
        gradients = cr.backpropagate(miss)
        by_elevation, by_charge = gradients[elevation].item(), gradients[charge].item()
        print(
            f"{shot:4}   {math.degrees(elevation.item()):7.3f}°   {charge.item():6.4f}   {landed.item():8.2f} m "
            f"  {miss.item():10.3f} m   {by_elevation:11.1f} m/rad   {by_charge:11.1f} m"
        )
        if abs(miss.item()) < 0.1:
            print(f"\nhit within 0.1 m with shot {shot}")
            break
        # The length of the step: as long as the line that the gradient promises to zero, at most 0.1 either way.
        slope = by_elevation**2 + by_charge**2
        step = max(-0.1, min(0.1, miss.item() / math.sqrt(slope))) / math.sqrt(slope)
        elevation.assign(elevation - step * gradients[elevation])
        charge.assign(charge - step * gradients[charge])
    if plot:
        draw(paths, plot)
    else:
        sketch(paths)
    return abs(miss.item())


def sketch(paths: list[list[tuple[float, float]]], width: int = 76, rows: int = 16) -> None:
    """The flights in text: the first with ·, the last with ●, the target with X."""
    right = max(TARGET, *(x for path in paths for x, _ in path)) * 1.02
    top = max(height for path in paths for _, height in path) * 1.05
    picture = [[" "] * width for _ in range(rows)]
    for path, mark in [*((path, "·") for path in paths[:-1]), (paths[-1], "●")]:
        for x, height in path:
            picture[rows - 1 - int(height / top * (rows - 1))][int(x / right * (width - 1))] = mark
    picture[-1][int(TARGET / right * (width - 1))] = "X"
    print("\n" + "\n".join("".join(row).rstrip() for row in picture))
    print("▔" * width + f"\n0 m{right:>{width - 5}.0f} m")


def draw(paths: list[list[tuple[float, float]]], file: str) -> None:
    """The flights as a picture in SVG, which every browser shows: misses grey, the hit blue, the target orange."""
    right = max(TARGET, *(x for path in paths for x, _ in path)) * 1.05
    top = max(height for path in paths for _, height in path) * 1.1
    lines = []
    for path in paths:
        points = " ".join(f"{x:.1f},{top - height:.1f}" for x, height in path)
        look = 'stroke="#1f77b4" stroke-width="6"' if path is paths[-1] else 'stroke="#b0b0b0" stroke-width="3"'
        lines.append(f'<polyline points="{points}" fill="none" {look}/>')
    Path(file).write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {right:.0f} {top + 60:.0f}" font-size="40">\n'
        + "\n".join(lines)
        + f'\n<path d="M0,{top:.0f} H{right:.0f}" stroke="#444444" stroke-width="3"/>'
        + f'\n<circle cx="{TARGET}" cy="{top:.1f}" r="14" fill="#ff7f0e"/>'
        + f'\n<text x="{TARGET}" y="{top + 52:.0f}" text-anchor="middle">{TARGET:.0f} m</text>'
        + f'\n<text x="10" y="45">{len(paths)} shots, highest {top / 1.1:.0f} m</text>\n</svg>\n',
        encoding="utf-8",
    )
    print(f"wrote {file}")


if __name__ == "__main__":
    main(sys.argv[2] if sys.argv[1:2] == ["--plot"] and len(sys.argv) > 2 else None)
