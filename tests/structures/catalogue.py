"""All definitions by name."""

from collections.abc import Callable

from torch import nn

from structures import branched, classic, mobile, residual

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "lenet": classic.LeNet,
    "tutorial": classic.TutorialNet,
    "alexnet": classic.AlexNet,
    "vgg11": classic.vgg11,
    "vgg11-without-norm": classic.vgg11_without_norm,
    "network-in-network": classic.NetworkInNetwork,
    "all-convolutional": classic.AllConvolutional,
    "perceptron": classic.Perceptron,
    "audio": classic.AudioNet,
    "resnet-padded": residual.resnet_padded,
    "resnet-projected": residual.resnet_projected,
    "resnet-bottleneck": residual.resnet_bottleneck,
    "resnext": residual.resnext,
    "preact-resnet": residual.PreActResNet,
    "wide-resnet": residual.WideResNet,
    "stochastic-depth": residual.stochastic_depth,
    "senet": residual.senet,
    "regnet": residual.regnet,
    "repvgg": residual.repvgg,
    "dla": residual.simple_dla,
    "dpn": residual.dpn,
    "squeezenet": branched.SqueezeNet,
    "googlenet": branched.GoogLeNet,
    "inception": branched.InceptionNet,
    "densenet": branched.DenseNet,
    "pnasnet": branched.PNASNet,
    "xception": branched.Xception,
    "unet": branched.UNet,
    "dilated": branched.DilatedNet,
    "sub-pixel": branched.SubPixelNet,
    "two-heads": branched.TwoHeads,
    "mobilenet": mobile.MobileNet,
    "mobilenet-v2": mobile.MobileNetV2,
    "mobilenet-v3": mobile.MobileNetV3,
    "mobilenet-v3-without-gates": mobile.mobilenet_v3_without_gates,
    "efficientnet": mobile.EfficientNet,
    "shufflenet": mobile.ShuffleNet,
    "shufflenet-v2": mobile.ShuffleNetV2,
    "mixer": mobile.Mixer,
}
