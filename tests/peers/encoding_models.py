"""Other people's encoding models on the same numbers.

    encoding_models.py DIR          reads DIR/*.npy, writes DIR/peers.json
    encoding_models.py --speed DIR  fits some of DIR/counts.npy on DIR/regressors.npy and prints seconds a fit

`tests/encoding/peers.rs` and `benches/encoding.rs` write the inputs and compare.
"""

import json
import pathlib
import sys
import time

import numpy as np


def ridge(x, y, strength):
    from sklearn.linear_model import PoissonRegressor

    model = PoissonRegressor(alpha=strength, solver="newton-cholesky", tol=1e-12, max_iter=1000).fit(x, y)
    return [model.intercept_, *model.coef_]


def elastic_net(x, y, strength, mixing):
    """Positive and negative parts as variables of their own make the objective smooth on a box: L-BFGS-B, then polished
    by proximal gradient steps in float64 until nothing moves."""
    from scipy.optimize import minimize

    n, p = x.shape
    l1, l2 = strength * mixing, strength * (1 - mixing)

    def value(v):
        w, b = v[:p] - v[p:-1], v[-1]
        eta = x @ w + b
        rate = np.exp(eta)
        g = x.T @ (rate - y) / n + l2 * w
        f = np.mean(rate - y * eta) + l1 * v[:-1].sum() + 0.5 * l2 * w @ w
        return f, np.concatenate([g + l1, -g + l1, [np.mean(rate - y)]])

    start = np.zeros(2 * p + 1)
    start[-1] = np.log(y.mean())
    bounds = [(0, None)] * (2 * p) + [(None, None)]
    found = minimize(value, start, jac=True, method="L-BFGS-B", bounds=bounds,
                     options={"maxiter": 20000, "maxfun": 40000, "ftol": 1e-16, "gtol": 1e-10}).x
    w, b = found[:p] - found[p:-1], found[-1]
    step = 1.0 / (np.linalg.norm(np.c_[x, np.ones(n)], 2) ** 2 / n * np.exp(x @ w + b).max())
    for _ in range(3000):
        rate = np.exp(x @ w + b)
        moved = w - step * (x.T @ (rate - y) / n + l2 * w)
        new = np.sign(moved) * np.maximum(np.abs(moved) - step * l1, 0)
        b_new = b - step * np.mean(rate - y)
        far = max(np.abs(new - w).max(), abs(b_new - b))
        w, b = new, b_new
        if far < 1e-13:
            break
    return [b, *w]


def similarity(folder, out):
    import rsatoolbox

    data = np.load(folder / "responses.npy")
    conditions, folds = np.load(folder / "conditions.npy")[:, 0], np.load(folder / "rsa_folds.npy")[:, 0]
    precision = np.load(folder / "precision.npy")
    dataset = rsatoolbox.data.Dataset(data, obs_descriptors={"condition": conditions, "fold": folds})
    plain = rsatoolbox.rdm.calc_rdm(dataset, method="crossnobis", descriptor="condition", cv_descriptor="fold")
    white = rsatoolbox.rdm.calc_rdm(
        dataset, method="crossnobis", descriptor="condition", cv_descriptor="fold", noise=precision
    )
    out["crossnobis"] = plain.dissimilarities[0].tolist()
    out["crossnobis_precision"] = white.dissimilarities[0].tolist()
    out["whitened_cosine"] = float(rsatoolbox.rdm.compare(plain, white, method="cosine_cov")[0, 0])
    out["cosine"] = float(rsatoolbox.rdm.compare(plain, white, method="cosine")[0, 0])
    out["correlation"] = float(rsatoolbox.rdm.compare(plain, white, method="corr")[0, 0])
    parts = rsatoolbox.rdm.RDMs(np.load(folder / "parts.npy"))
    low, high = rsatoolbox.inference.boot_noise_ceiling(parts, method="cosine_cov")
    out["ceiling"] = [float(low), float(high)]


def agree(folder):
    x, y = np.load(folder / "regressors.npy"), np.load(folder / "counts.npy")
    settings = json.loads((folder / "settings.json").read_text())
    out = {
        "ridge": [ridge(x, y[:, unit], settings["strength"]) for unit in range(y.shape[1])],
        "elastic_net": [
            elastic_net(x, y[:, unit], settings["strength"], settings["mixing"]) for unit in range(y.shape[1])
        ],
    }
    similarity(folder, out)
    (folder / "peers.json").write_text(json.dumps(out))


def speed(folder):
    """Seconds of one ridge fit (the peer has no elastic net), windowing not counted, by its default and its best solver."""
    from sklearn.linear_model import PoissonRegressor

    x, y = np.load(folder / "regressors.npy"), np.load(folder / "counts.npy")
    out = {}
    for solver in ["lbfgs", "newton-cholesky"]:
        seconds = []
        for unit in range(y.shape[1]):
            model = PoissonRegressor(alpha=0.01, solver=solver, tol=1e-6, max_iter=1000)
            began = time.perf_counter()
            model.fit(x, y[:, unit])
            seconds.append(time.perf_counter() - began)
        out[solver] = sorted(seconds)[len(seconds) // 2]
    print(json.dumps(out))


if __name__ == "__main__":
    if sys.argv[1] == "--speed":
        speed(pathlib.Path(sys.argv[2]))
    else:
        agree(pathlib.Path(sys.argv[1]))
