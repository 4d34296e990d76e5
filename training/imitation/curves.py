"""Training curves of a run as one PNG.

    python curves.py --run runs/policy --out ../../models/policy-clone/training.png
"""

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np


CLONING = [
    ("reward", "reward per step"),
    ("falls_per_s", "falls and losses of track per second"),
    ("loss", "cloning loss"),
    ("prior", "divergence from the prior, nats"),
]
SHOOTING = [
    ("cost", "cost per step, over segments"),
    ("falls_per_s", "falls per second, exploring"),
    ("fresh", "cost per step, newest segments"),
    ("alive", "share of stretches within reach of their derivatives"),
]
# Stages and what is shown of them; the first stage of a run decides.
PANELS = {"shooting": SHOOTING, "clone": CLONING, "ppo": CLONING}


def read(file):
    return np.genfromtxt(file, delimiter=",", names=True, dtype=float)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    stages = [stage for stage in PANELS if (args.run / f"{stage}.csv").exists()]
    figure, axes = plt.subplots(2, 2, figsize=(10, 6.5), constrained_layout=True)
    for axis, (column, title) in zip(axes.flat, PANELS[stages[0]]):
        for stage in stages:
            rows = read(args.run / f"{stage}.csv")
            if column in rows.dtype.names:
                axis.plot(rows["seen" if "seen" in rows.dtype.names else "steps"] / 1e3, rows[column], lw=1, label=stage)
        axis.set(title=title, xlabel="control steps seen, thousands")
        axis.grid(alpha=0.3)
        axis.legend()
    axes[0, 1].set_ylim(bottom=0)
    figure.savefig(args.out, dpi=110)


if __name__ == "__main__":
    main()
