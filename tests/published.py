"""Networks as their authors published them, and what others measured on them.

The figures are those of Araujo, Norris and Sim, "Computing Receptive Fields of Convolutional Neural Networks" (Distill,
2019), as their repository google-research/receptive_field lists them for the definitions of TF-Slim. Two things of
these definitions matter: their padding is that of "SAME", which depends on the size, and their ResNets have the stride
in the last unit of a block, on its 3 x 3 convolution.
"""

from __future__ import annotations

VGG_16 = """
    conv3x64@conv1_1 conv3x64 pool2@pool1 conv3x128@conv2_1 conv3x128 pool2@pool2
    conv3x256@conv3_1 conv3x256@conv3_2 conv3x256 pool2@pool3 conv3x512@conv4_1 conv3x512@conv4_2 conv3x512 pool2@pool4
    conv3x512@conv5_1 conv3x512@conv5_2 conv3x512 pool2@pool5
"""
ALEXNET_V2 = """
    conv11x64/4p0@conv1 pool3/2@pool1 conv5x192@conv2 pool3/2@pool2 conv3x384@conv3 conv3x384@conv4 conv3x256@conv5
    pool3/2@pool5
"""


def mobilenet_v1() -> str:
    """Depthwise convolutions and pointwise ones in turn (Howard et al. 2017)."""
    words = ["conv3x32/2psame@Conv2d_0"]
    strides = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)
    channels = (64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
    for number, (stride, width) in enumerate(zip(strides, channels, strict=True), start=1):
        words += [f"dwconv3/{stride}psame", f"conv1x{width}@Conv2d_{number}_pointwise"]
    return " ".join(words)


def resnet_v1(units: tuple[int, ...], place: str = "last 3x3") -> str:
    """Bottlenecks (He et al. 2016) with the stride where `place` says.

    ``"last 3x3"`` is TF-Slim: on the 3 x 3 convolution of the last unit of a block. ``"first 1x1"`` is the paper: on
    the first convolution of the first unit. ``"first 3x3"`` is torchvision, also known as v1.5.
    """
    words, last = ["conv7x64/2p3 pool3/2psame@pool1"], "pool1"
    for block, count in enumerate(units):
        width = 64 * 2**block
        for unit in range(1, count + 1):
            if place == "last 3x3":
                stride = 2 if unit == count and block < len(units) - 1 else 1
            else:
                stride = 2 if unit == 1 and block > 0 else 1
            name = f"block{block + 1}" if unit == count else f"unit{block + 1}_{unit}"
            shortcut = last
            if unit == 1:
                shortcut = f"{name}_shortcut"
                words.append(f"conv1x{4 * width}/{stride}<{last}@{shortcut}")
            elif stride == 2:
                shortcut = f"{name}_shortcut"
                words.append(f"pool1/2<{last}@{shortcut}")
            first, second = (stride, 1) if place == "first 1x1" else (1, stride)
            words.append(f"conv1x{width}/{first}<{last} conv3x{width}/{second}p1 conv1x{4 * width}+{shortcut}@{name}")
            last = name
    return " ".join(words)


def inception_v2() -> str:
    """Inception with two 3 x 3 convolutions for 5 x 5 (Ioffe and Szegedy 2015), first layer not separable."""
    words = ["conv7x64/2psame@Conv2d_1a_7x7 pool3/2psame@MaxPool_2a_3x3 conv1x64@Conv2d_2b_1x1"]
    words.append("conv3x192psame@Conv2d_2c_3x3 pool3/2psame@MaxPool_3a_3x3")
    last = "MaxPool_3a_3x3"
    mixed = {
        "3b": (64, 64, 64, 64, 96, "avgpool", 32),
        "3c": (64, 64, 96, 64, 96, "avgpool", 64),
        "4a": (128, 160, 64, 96),
        "4b": (224, 64, 96, 96, 128, "avgpool", 128),
        "4c": (192, 96, 128, 96, 128, "avgpool", 128),
        "4d": (160, 128, 160, 128, 160, "avgpool", 96),
        "4e": (96, 128, 192, 160, 192, "avgpool", 96),
        "5a": (128, 192, 192, 256),
        "5b": (352, 192, 320, 160, 224, "avgpool", 128),
        "5c": (352, 192, 320, 192, 224, "maxpool", 128),
    }
    for name, widths in mixed.items():
        a, b, c = (f"m{name}_{branch}" for branch in "abc")
        if len(widths) == 4:
            one, two, three, four = widths
            words += [f"conv1x{one}<{last} conv3x{two}/2psame@{a}", f"conv1x{three}<{last} conv3x{four}psame"]
            words += [f"conv3x{four}/2psame@{b}", f"maxpool3/2psame<{last}|{a}|{b}@Mixed_{name}"]
        else:
            one, two, three, four, five, pool, six = widths
            words += [f"conv1x{one}<{last}@{a}", f"conv1x{two}<{last} conv3x{three}psame@{b}"]
            words += [f"conv1x{four}<{last} conv3x{five}psame conv3x{five}psame@{c}"]
            words += [f"{pool}3/1psame<{last} conv1x{six}|{a}|{b}|{c}@Mixed_{name}"]
        last = f"Mixed_{name}"
    return " ".join(words)


RESNET_50, RESNET_101, RESNET_152 = (3, 4, 6, 3), (3, 4, 23, 3), (3, 8, 36, 3)

ENDPOINTS: dict[str, tuple[str, dict[str, tuple[int, int, int, int, float]]]] = {
    "vgg_16": (
        VGG_16,
        {
            "conv1_1": (3, 1, 1, 1, 0.177),
            "pool1": (6, 2, 2, 2, 3.882),
            "conv2_1": (10, 2, 4, 4, 5.734),
            "pool2": (16, 4, 6, 6, 9.436),
            "conv3_1": (24, 4, 10, 10, 11.287),
            "conv3_2": (32, 4, 14, 14, 14.987),
            "pool3": (44, 8, 18, 18, 18.688),
            "conv4_1": (60, 8, 26, 26, 20.538),
            "conv4_2": (76, 8, 34, 34, 24.238),
            "pool4": (100, 16, 42, 42, 27.938),
            "conv5_1": (132, 16, 58, 58, 28.863),
            "conv5_2": (164, 16, 74, 74, 29.788),
            "pool5": (212, 32, 90, 90, 30.713),
        },
    ),
    "alexnet_v2": (
        ALEXNET_V2,
        {
            "conv1": (11, 4, 0, 0, 0.136),
            "pool1": (19, 8, 0, 0, 0.136),
            "conv2": (51, 8, 16, 16, 0.552),
            "conv3": (99, 16, 32, 32, 0.743),
            "conv4": (131, 16, 48, 48, 1.125),
            "conv5": (163, 16, 64, 64, 1.380),
            "pool5": (195, 32, 64, 64, 1.380),
        },
    ),
    "inception_v2": (
        inception_v2(),
        {
            "Conv2d_1a_7x7": (7, 2, 2, 3, 0.237),
            "MaxPool_2a_3x3": (11, 4, 2, 5, 0.239),
            "Conv2d_2b_1x1": (11, 4, 2, 5, 0.265),
            "Conv2d_2c_3x3": (19, 4, 6, 9, 0.959),
            "MaxPool_3a_3x3": (27, 8, 6, 13, 0.960),
            "Mixed_3b": (59, 8, 22, 29, 1.304),
            "Mixed_3c": (91, 8, 38, 45, 1.712),
            "Mixed_4a": (123, 16, 46, 61, 2.001),
            "Mixed_4b": (187, 16, 78, 93, 2.241),
            "Mixed_4c": (251, 16, 110, 125, 2.502),
            "Mixed_4d": (315, 16, 142, 157, 2.854),
            "Mixed_4e": (379, 16, 174, 189, 3.288),
            "Mixed_5a": (443, 32, 190, 221, 3.614),
            "Mixed_5b": (571, 32, 254, 285, 3.828),
            "Mixed_5c": (699, 32, 318, 349, 4.051),
        },
    ),
    "mobilenet_v1": (
        mobilenet_v1(),
        {
            "Conv2d_0": (3, 2, 0, 1, 0.022),
            "Conv2d_1_pointwise": (7, 2, 2, 3, 0.082),
            "Conv2d_2_pointwise": (11, 4, 2, 5, 0.137),
            "Conv2d_3_pointwise": (19, 4, 6, 9, 0.248),
            "Conv2d_4_pointwise": (27, 8, 6, 13, 0.302),
            "Conv2d_5_pointwise": (43, 8, 14, 21, 0.409),
            "Conv2d_6_pointwise": (59, 16, 14, 29, 0.461),
            "Conv2d_7_pointwise": (91, 16, 30, 45, 0.566),
            "Conv2d_8_pointwise": (123, 16, 46, 61, 0.671),
            "Conv2d_9_pointwise": (155, 16, 62, 77, 0.775),
            "Conv2d_10_pointwise": (187, 16, 78, 93, 0.880),
            "Conv2d_11_pointwise": (219, 16, 94, 109, 0.985),
            "Conv2d_12_pointwise": (251, 32, 94, 125, 1.037),
            "Conv2d_13_pointwise": (315, 32, 126, 157, 1.140),
        },
    ),
    "resnet_v1_50": (
        resnet_v1(RESNET_50),
        {
            "block1": (35, 8, 15, 17, 1.323),
            "block2": (99, 16, 47, 49, 2.974),
            "block3": (291, 32, 143, 145, 5.498),
            "block4": (483, 32, 239, 241, 6.963),
        },
    ),
    "resnet_v1_101": (
        resnet_v1(RESNET_101),
        {
            "block1": (35, 8, 15, 17, 1.323),
            "block2": (99, 16, 47, 49, 2.974),
            "block3": (835, 32, 415, 417, 12.923),
            "block4": (1027, 32, 511, 513, 14.387),
        },
    ),
    "resnet_v1_152": (
        resnet_v1(RESNET_152),
        {
            "block1": (35, 8, 15, 17, 1.323),
            "block2": (163, 16, 79, 81, 4.721),
            "block3": (1315, 32, 655, 657, 20.347),
            "block4": (1507, 32, 751, 753, 21.811),
        },
    ),
}
"""By network: its layers, and by end-point the receptive field, the effective stride, the effective padding at inputs
of 224 and of 321 pixels, and the billions of operations up to there at 224, a multiply-add being two."""
WITH_BIASES = {"vgg_16", "alexnet_v2", "inception_v2", "mobilenet_v1"}
"""Where these operations hold one addition for each result of a convolution; in all, a pooling has one for each tap."""
