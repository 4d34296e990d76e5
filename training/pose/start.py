"""Weights of an exported graph as a starting point for further training.

Exported graphs have their batch normalisations folded into the convolutions. `load` puts the folded weights back and
gives every normalisation the statistics of the images at hand with the gain and offset that undo them, so that the
network computes what the graph computes and trains on from there.
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
    folded = [(values[node.input[1]], values[node.input[2]]) for node in graph.node if node.op_type == "Conv"]
    order, hooks = [], []
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            hooks.append(module.register_forward_pre_hook(lambda m, _: order.append(m)))
    net.eval()
    with torch.no_grad():
        net(images[:1])
        for hook in hooks:
            hook.remove()
        offsets = {}
        for conv, (weight, bias) in zip(order, folded, strict=True):
            if conv is net.head and not head:
                continue
            conv.weight.copy_(torch.from_numpy(weight.copy()))
            if conv.bias is None:
                offsets[conv] = torch.from_numpy(bias.copy())
            else:
                conv.bias.copy_(torch.from_numpy(bias.copy()))
        _restore_statistics(net, offsets, images)


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
