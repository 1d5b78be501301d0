"""State dictionaries in the form of rosinality's stylegan2-pytorch, with the weights of `stylegan2_files` networks."""

import math


def _unscaled(layer, inputs):
    """Weights as that form stores them: divided by the gain of the other form, times its own."""
    return layer.weight * float(layer.weight_gain) * math.sqrt(inputs)


def generator(theirs):
    """The tensors of a generator with skips and four taps."""
    found = {"input.input": theirs.synthesis.b4.const[None]}
    for index in range(theirs.mapping.num_layers):
        layer = getattr(theirs.mapping, f"fc{index}")
        weight = _unscaled(layer, layer.weight.shape[1]) / 0.01
        found |= {f"style.{index + 1}.weight": weight, f"style.{index + 1}.bias": layer.bias}
    layers, pixels = [], []
    for block in theirs.synthesis.modules.values():
        layers += [block.modules[name] for name in ("conv0", "conv1") if name in block.modules]
        pixels.append(block.torgb)
    for index, layer in enumerate(layers):
        name = "conv1" if index == 0 else f"convs.{index - 1}"
        found |= {
            f"{name}.conv.weight": layer.weight[None],
            f"{name}.conv.modulation.weight": _unscaled(layer.affine, layer.affine.weight.shape[1]),
            f"{name}.conv.modulation.bias": layer.affine.bias,
            f"{name}.noise.weight": layer.noise_strength[None],
            f"{name}.activate.bias": layer.bias,
            f"noises.noise_{index}": layer.noise_const[None, None],
        }
        if index % 2:
            found[f"{name}.conv.blur.kernel"] = 4 * layer.resample_filter
    for index, layer in enumerate(pixels):
        name = "to_rgb1" if index == 0 else f"to_rgbs.{index - 1}"
        found |= {
            f"{name}.conv.weight": layer.weight[None],
            f"{name}.conv.modulation.weight": _unscaled(layer.affine, layer.affine.weight.shape[1]),
            f"{name}.conv.modulation.bias": layer.affine.bias,
            f"{name}.bias": layer.bias[None, :, None, None],
        }
        if index:
            found[f"{name}.upsample.kernel"] = 4 * theirs.synthesis.b8.resample_filter
    return {name: each.float() for name, each in found.items()}


def discriminator(theirs):
    """The tensors of a discriminator with residuals and four taps."""
    *blocks, last = (each for name, each in theirs.modules.items() if name != "mapping")
    found = {"convs.0.0.weight": blocks[0].fromrgb.weight, "convs.0.1.bias": blocks[0].fromrgb.bias}
    for index, block in enumerate(blocks):
        name = f"convs.{index + 1}"
        found |= {
            f"{name}.conv1.0.weight": block.conv0.weight,
            f"{name}.conv1.1.bias": block.conv0.bias,
            f"{name}.conv2.0.kernel": block.resample_filter,
            f"{name}.conv2.1.weight": block.conv1.weight,
            f"{name}.conv2.2.bias": block.conv1.bias,
            f"{name}.skip.0.kernel": block.resample_filter,
            f"{name}.skip.1.weight": block.skip.weight,
        }
    found |= {"final_conv.0.weight": last.conv.weight, "final_conv.1.bias": last.conv.bias}
    for index, layer in enumerate((last.fc, last.out)):
        found |= {f"final_linear.{index}.weight": layer.weight, f"final_linear.{index}.bias": layer.bias}
    return {name: each.float() for name, each in found.items()}
