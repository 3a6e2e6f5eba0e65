"""What the comparison of losses has to tell its user in a few lines: about its losses, its search, what failed."""


def of_losses(losses, same, unfit):
    """Lines on losses that are the same function on these data, and on those that do not fit them.

    Args:
        losses: those that are compared.
        same: {loss: an earlier one that is the same function}.
        unfit: {loss: why}.
    """
    lines = []
    for loss, twin in same.items():
        told = "both are trained, and any difference is chance" if loss in losses else f"{twin} stands for both"
        lines.append(f"{loss} is the same function as {twin} on these data: {told}")
    return lines + [f"left out: {why}" for why in unfit.values()]


def of_search(result, config):
    """Lines on what the search used, rates at the edge of what was tried, and whether any was better.

    Args:
        result: of the study, with `search`, `losses` and `changed`.
        config: `kseg.configs.CompareLosses`.
    """
    search = result.search
    if not search or not search.rounds:
        return []
    most = max(search.epochs.values())
    lines = [
        f"Search: {search.minutes:.3g} minutes used of {search.budget:g}, at most {most} of {config.epochs} epochs a "
        "candidate."
    ]
    if search.first_minutes > search.budget:
        lines.append(f"One epoch of all candidates took {search.first_minutes:.3g} minutes: --budget was too little.")
    for side, rates in wider(search).items():
        losses = [loss for loss in result.losses if search.edge.get(loss) == side]
        if losses:
            rate = search.tried[0 if side == "lowest" else -1]
            lines.append(
                f"At the edge of what was tried: {', '.join(losses)} ({rate:g}, the {side} rate). Try --rates "
                f"{' '.join(f'{rate:g}' for rate in rates)}."
            )
    if untaught := [loss for loss in result.losses if loss in search.untaught]:
        lines.append(
            f"No foreground was found with any rate by {', '.join(untaught)}: its rate is a guess. Try a larger "
            "--budget, or more --epochs."
        )
    known = [loss for loss in result.losses if search.rates.get(loss) is not None]
    if known and not result.changed:
        lines.append("No rate that was tried was better than the given one.")
    if len(known) < len(result.losses):
        lines.append(f"No rate ended in the search: {', '.join(loss for loss in result.losses if loss not in known)}.")
    return lines


def wider(search):
    """{"lowest": rates to try for losses at that edge, "highest": ..}: the edge and two beyond, ascending."""
    tried = search.tried
    if len(tried) < 2:
        return {}
    down, up = tried[1] / tried[0], tried[-1] / tried[-2]
    return {
        "lowest": tuple(tried[0] / down**step for step in (2, 1, 0)),
        "highest": tuple(tried[-1] * up**step for step in range(3)),
    }


def of_breakdowns(result):
    """A line for each model that broke down, with the reason, and for each loss whose cost is not known."""
    lines = [f"{name} broke down: {why}" for name, why in broken(result).items()]
    costs = ((loss, each.get("why")) for loss, each in result.costs.items())
    return lines + [f"memory and time of {loss} are not known: {why}" for loss, why in costs if why]


def broken(result):
    """{model's name: why it broke down}."""
    return {entry.name: entry.trouble for entry in result.entries.values() if entry.trouble}
