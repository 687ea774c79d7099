"""docs/soak.md as text, from what was kept of a soak."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.soak.verdict import Finding, Look, Recording, Window, verdict


def line(finding: Finding) -> str:
    """One finding for the terminal."""
    return f"{'ok    ' if finding.passed else 'FAILED'} {finding.what}: {_held(finding)}"


def _held(finding: Finding) -> str:
    return f"{finding.found:,.3g} of {finding.limit:,.3g} {finding.unit}"


def in_columns(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Looks and windows as a column of numbers each, in one text: a line of the file instead of thousands."""
    looks, more, windows = figures["during"], figures["more"][1:-1], figures["windows"]
    columns: dict[str, list[float]] = {"at": [look["at"] for look in looks]}
    for name in figures["before"]["memory"]:
        columns[f"memory_mb {name}"] = [round(look["memory"].get(name, 0) / 1024, 2) for look in looks]
        columns[f"all_mb {name}"] = [each["all_mb"].get(name, 0) for each in more]
        columns[f"descriptors {name}"] = [look["descriptors"].get(name, 0) for look in looks]
        columns[f"threads {name}"] = [look["threads"].get(name, 0) for look in looks]
        columns[f"cpu {name}"] = [each["cpu"].get(name, 0) for each in more]
    for name in ("tasks", "connections"):
        columns[name] = [look[name] for look in looks]
    columns["windows at"] = [window["at"] for window in windows]
    for name in ("p50_ms", "p99_ms"):
        columns[name] = [window[name] for window in windows]
    rest = {name: value for name, value in figures.items() if name not in ("during", "more", "windows")}
    return rest | {"columns": {name: " ".join(f"{value:g}" for value in some) for name, some in columns.items()}}


def recording_of(figures: Mapping[str, Any]) -> Recording:
    """What was kept, to be judged again; memory is kept in hundredths of a MB."""
    columns = {name: [float(one) for one in text.split()] for name, text in figures["columns"].items()}
    names = list(figures["before"]["memory"])
    looks = [
        Look(
            at=at,
            memory={name: columns[f"memory_mb {name}"][index] * 1024 for name in names},
            descriptors={name: int(columns[f"descriptors {name}"][index]) for name in names},
            threads={name: int(columns[f"threads {name}"][index]) for name in names},
            tasks=int(columns["tasks"][index]),
            connections=int(columns["connections"][index]),
        )
        for index, at in enumerate(columns["at"])
    ]
    windows = zip(columns["windows at"], columns["p50_ms"], columns["p99_ms"], strict=True)
    return Recording(
        before=Look(**figures["before"]),
        during=looks,
        after=Look(**figures["after"]),
        windows=[Window(*window) for window in windows],
        **{name: figures[name] for name in ("due", "answered", "unavailable", "failures", "pids_before", "pids_after")},
    )


def _done(done: Mapping[str, int]) -> str:
    return ", ".join(f"{what.replace('_', ' ')} {count:,}" for what, count in done.items())


def page(kept: Mapping[str, Any]) -> str:
    """The whole page."""
    figures, options = kept["figures"], kept["figures"]["options"]
    findings = verdict(recording_of(figures))
    machine = ", ".join(f"{what} {value}" for what, value in kept["machine"].items())
    failed = sum(not one.passed for one in findings)
    rows = "".join(
        f"| {one.what} | {one.found:,.3g} | {one.limit:,.3g} | {one.unit} | {'met' if one.passed else '**not met**'} |\n"
        for one in findings
    )
    before, after = figures["before"], figures["after"]
    states = "".join(
        f"| {name} | {before['memory'][name] / 1024:.1f} | {after['memory'].get(name, 0) / 1024:.1f} "
        f"| {before['descriptors'][name]} | {after['descriptors'].get(name, 0)} "
        f"| {before['threads'][name]} | {after['threads'].get(name, 0)} |\n"
        for name in before["memory"]
    )
    flags = " ".join(f"--{name} {options[name]:g}" for name in ("minutes", "workers"))
    failures = "".join(f"- {count} times: `{what}`\n" for what, count in sorted(figures["failures"].items()))
    return f"""# Soak

Written by `make soak`: a server with its embedded stores, steady play far below what it can do, and people who come and go all
the time. Do not edit it by hand. `make soak ARGS="--minutes 5 --workers 2"` does it otherwise; it ends with 1 when a limit is not met.

Measured on {machine}; {kept["measured_on"]}, with `make soak ARGS="{flags}"`.{" " + options["note"] if options["note"] else ""}

**{"Every limit is met." if not failed else f"{failed} of {len(findings)} limits are not met."}** {figures["answered"]:,} actions, {options["rate"]:g} a second
as they fall due, by {options["players"]} players at a time, an eighth over HTTP; {options["spectators"]} spectators at a time.

| what | found | limit | | |
| --- | ---: | ---: | --- | --- |
{rows}
{failures}
![the soak, minute by minute](benchmarks/soak.svg)

Before the load (accounts made, the cache of tokens filled, everybody gone) and after it (everybody gone again):

| process | own MB before | after | descriptors before | after | threads before | after |
| --- | ---: | ---: | ---: | ---: | ---: | ---: |
{states}
Tasks: {before["tasks"]} before, {after["tasks"]} after. Sockets: {before["connections"]}, {after["connections"]}.

## What happens in it

Players register, log in, resume, renew their tokens in the middle of play, play sessions, let stages be dealt and answer them, have
drawings compared; they vanish, with an action under way or without, say goodbye, log out, or stay until their token (90 s) has expired. Each
answer is held against what it has to be, down to the score, and who comes back has to find what was acknowledged last. Spectators follow
one to four boards; some stop reading, some for so long that they are closed. Strangers say nothing (4408), babble (4400), send what is
too much (1009), binary (1003) or not UTF-8 (1007), ask for what they may not have, stop in the middle of a head. In this run: {_done(figures["done"])}.

## How it is judged

Each limit is explained where it stands, in `bench/soak/verdict.py`. Memory is what a process has allocated itself (`Pss_Anon` of
`smaps_rollup`), so that PostgreSQL's shared buffers, which may fill up to their 128 MB, and mapped files stay out of it; its growth is the
median slope between all pairs of looks (Theil–Sen) of the last two thirds. What is meant to grow is filled before: the server remembers
10,000 verified tokens. The states of up to 50,000 players are kept as well; here there are {options["players"] * 3} and a few new ones, some bytes each.
Latency counts from when an action was due; what is compared is the fastest tenth of the windows of {options["every"]:g} s in each third.
"""
