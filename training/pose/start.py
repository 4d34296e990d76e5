"""Weights of an exported graph as a starting point for further training.

Exported graphs have their batch normalisations folded into the convolutions. `load` puts the folded weights back and
gives every normalisation the statistics of the images at hand with the gain and offset that undo them, so that the
network computes what the graph computes and trains on from there. A lighter network takes what it can: the middle of a
wider kernel, and of a dense layer that it makes in two, depthwise and pointwise, the nearest such pair.
"""

import onnx
import torch
from onnx import numpy_helper
from torch import nn


def load(net, path, images, head=True):
    """Fills `net` (a KeypointNet) with the weights of the graph at `path`; `images` are a batch as in training.

    Without `head` the last layer is left as it is: for other keypoints.
    """
    graph = onnx.load(path).graph
    values = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    folded = [[torch.tensor(values[name]) for name in node.input[1:]] for node in graph.node if node.op_type == "Conv"]
    order, hooks = [], []
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            hooks.append(module.register_forward_pre_hook(lambda m, _: order.append(m)))
    net.eval()
    with torch.no_grad():
        net(images[:1])
        for hook in hooks:
            hook.remove()
        offsets, convs = {}, iter(order)
        for weight, *bias in folded:
            conv = next(convs, None)
            if conv is None:
                raise ValueError(f"{path}: {len(folded)} convolutions, too many for this network's {len(order)}")
            if conv.groups > 1 and weight.shape[1] > 1:
                weight, conv = _split(conv, weight), next(convs)
            if conv is net.head and not head:
                continue
            conv.weight.copy_(_middle(weight, conv.weight.shape[-1]))
            if conv.bias is not None:
                conv.bias.copy_(bias[0])
            elif bias:
                offsets[conv] = bias[0]
        if next(convs, None) is not None:
            raise ValueError(f"{path}: {len(folded)} convolutions, too few for this network's {len(order)}")
        _restore_statistics(net, offsets, images)


def _middle(weight, size):
    """The middle `size` x `size` of kernels."""
    if weight.shape[-1] < size:
        raise ValueError(f"a kernel {weight.shape[-1]} wide, expected at least {size}")
    edge = (weight.shape[-1] - size) // 2
    return weight[..., edge : edge + size, edge : edge + size]


def _split(depthwise, dense):
    """Gives `depthwise` its half of `dense` (outputs, inputs, 3, 3); returns the pointwise half, (outputs, inputs, 1, 1).

    For each input the outer product nearest to its slice (outputs x 9): the first singular vectors.
    """
    u, s, v = torch.linalg.svd(dense.permute(1, 0, 2, 3).flatten(2), full_matrices=False)
    depthwise.weight.copy_((s[:, 0, None].sqrt() * v[:, 0]).reshape(depthwise.weight.shape))
    return (s[:, 0, None].sqrt() * u[:, :, 0]).T[..., None, None]


def _restore_statistics(net, offsets, images):
    """Runs `images` through, layer by layer, setting every normalisation to its input's statistics on the way."""
    last = []

    def after_conv(conv, _, out):
        last[:] = [conv]

    def before_norm(norm, inputs):
        (x,) = inputs
        mean, var = x.mean(dim=(0, 2, 3)), x.var(dim=(0, 2, 3), unbiased=False)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(var)
        norm.weight.copy_((var + norm.eps).sqrt())
        norm.bias.copy_(mean + offsets[last[0]])

    hooks = [m.register_forward_hook(after_conv) for m in net.modules() if isinstance(m, nn.Conv2d)]
    hooks += [m.register_forward_pre_hook(before_norm) for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    net(images)
    for hook in hooks:
        hook.remove()
    net.train()
