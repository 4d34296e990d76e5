"""Left and right swapped, for augmentation and for symmetric feedback."""

import numpy as np


def _swap(name):
    parts = name.split("_")
    swapped = ["R" if p == "L" else "L" if p == "R" else p for p in parts]
    return "_".join(swapped)


def signed_permutation(names):
    """Index and sign so that mirrored[i] = sign[i] * values[index[i]]: bends and twists change sign, limbs swap sides."""
    index = np.array([names.index(_swap(name)) for name in names])
    sign = np.array([-1.0 if name.endswith(("bend", "twist")) else 1.0 for name in names])
    return index, sign


def joint_names(model):
    return [model.joint(i).name for i in range(1, model.njnt)]


def actuator_names(model):
    return [model.actuator(i).name for i in range(model.nu)]


def qpos(model, values):
    """Coordinates reflected in the plane y = 0."""
    index, sign = signed_permutation(joint_names(model))
    out = values.copy()
    out[..., 1] *= -1
    out[..., 4] *= -1
    out[..., 6] *= -1
    out[..., 7:] = sign * values[..., 7:][..., index]
    return out
