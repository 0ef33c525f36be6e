"""The jobs of benchmarks/peers on this device."""

from collections.abc import Mapping
from statistics import median
from typing import Any

from child import Child, ChildError
from rows import Run
from scale import Peers
from turns import Turn, spread, take_turns


def start_peers(run: Run, peers: Peers) -> dict[str, Child]:
    """Start a process for each side."""
    return {
        f"{side}/{mode}": run.child(
            "peer_worker.py",
            f"{peers.job}-{side}-{mode}",
            side=side,
            compile=mode,
            job=peers.job,
            budget=peers.budget,
            precisions=peers.precisions,
            max_memory_bytes=peers.max_memory_bytes,
        )
        for side, mode in peers.sides
    }


def measure_peers(run: Run, peers: Peers, children: Mapping[str, Child], ready: float) -> None:
    """Let the sides plan in turns."""
    turns: list[Turn] = []
    for name, child in children.items():
        try:
            answer: dict[str, Any] = child.answer(until=ready)
        except ChildError as error:
            run.row("peer", job=peers.job, side=name, error=str(error))
            continue
        side, mode = name.split("/")
        turns += [
            Turn(
                child=child,
                request={"do": "plan", "precision": precision},
                about={"job": peers.job, **peers.budget, "side": side, "compile": mode,
                       "version": answer["version"], "precision": precision},
                last={"error": answer["errors"][precision]} if precision in answer["errors"] else {},
            )
            for precision in peers.precisions
        ]  # fmt: skip
    turns.sort(key=lambda turn: peers.precisions.index(str(turn.request["precision"])))
    take_turns(turns, until=run.until(peers.seconds))
    for turn in turns:
        if not turn.seconds:
            run.row("peer", **turn.about, error=turn.last.get("error", "no time was left"))
            continue
        same = [one for one in turns if one.request == turn.request and one.seconds]
        theirs = [median(one.seconds) for one in same if one.about["side"] != "jepawm"]
        row = {**turn.about, **spread(turn)}
        if theirs and turn.about["side"] == "jepawm":
            row["times_fastest_peer"] = min(theirs) / median(turn.seconds)
        run.row("peer", **row)
    for child in children.values():
        child.close()
