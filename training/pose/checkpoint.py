"""A training run's state on disk, so that an interrupted run goes on where it was."""

import torch


def resume(path, net, averaged, optimiser):
    """Takes up the state at `path`, if there is one; returns the steps made so far."""
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    net.load_state_dict(state["net"])
    averaged.load_state_dict(state["averaged"])
    optimiser.load_state_dict(state["optimiser"])
    return state["step"]


def keep(path, net, averaged, optimiser, step):
    """Writes the state to `path`, whole or not at all."""
    state = {"net": net.state_dict(), "averaged": averaged.state_dict(), "optimiser": optimiser.state_dict()}
    torch.save({**state, "step": step}, path.with_suffix(".new"))
    path.with_suffix(".new").replace(path)
