"""The table of models, which every property of this folder is held against. A new model adds a row."""

from dataclasses import dataclass
from functools import partial

import keras
import numpy as np

from tests.helpers.examples import Numbers, Objects, Pixels, Texts, arguments
from zoo import (
    FCN,
    GAN,
    OTGAN,
    VAE,
    WGAN,
    WGANGP,
    Autoencoder,
    CycleGAN,
    MaskRCNN,
    Seq2Seq,
    SinkhornGAN,
    Transformer,
    Vocabulary,
    box_head,
    dcgan_critic,
    dcgan_generator,
    fcn_head,
    feature_pyramid,
    mask_head,
    mlp_critic,
    mlp_decoder,
    mlp_encoder,
    mlp_generator,
    patch_discriminator,
    resnet_generator,
    torchvision_resnet,
)

# (Number of examples, batch size). Of the first, two replicas get four and three rows, and at last three each, which
# micro-batches share as two and one; of the second four each.
UNEVEN, EVEN = (7 + 7 + 6, 7), (8 + 8, 8)


@dataclass(frozen=True)
class Row:
    """A model small enough to test.

    Attributes:
        build: Makes the uncompiled model.
        examples: What it learns from, of one of the kinds of tests/helpers/examples.py.
        trains: For each optimizer the networks that it moves and the terms whose sum it lowers.
        large: Options of `build` for a model of realistic size, which benchmarks/scale.py trains.
        learning_rate: Of SGD; small where a loss is so steep that rounding would grow from step to step.
    """

    build: callable
    examples: callable
    trains: dict
    large: dict
    learning_rate: float = 0.05

    @property
    def shape(self):
        """Of one example."""
        return self.examples.shape


def _images(model, judge, side=8, filters=4, num_features=1, **options):
    shape = (side, side, 1)
    generator = dcgan_generator(shape, filters, filters, norm="layer")
    return model(**{"generator": generator, judge: dcgan_critic(shape, filters, num_features)}, **options)


def _points(model, judge, width=8, num_features=1, **options):
    hidden = (width, width)
    networks = {"generator": mlp_generator((2,), hidden=hidden), judge: mlp_critic((2,), hidden, num_features)}
    return model(**networks, **options)


def _coder(model, side=8, hidden=(16,), code_dim=4, num_outputs=4, output_activation=None, **options):
    shape = (side, side, 1)
    encoder = mlp_encoder(shape, num_outputs, hidden, "tanh", output_activation)
    return model(encoder, mlp_decoder(shape, code_dim, hidden, "tanh"), **options)


def _translator(side=16, filters=4, num_blocks=1, **options):
    shape = (side, side, 1)
    generators = [resnet_generator(shape, filters, num_blocks) for _ in range(2)]
    return CycleGAN(*generators, *(patch_discriminator(shape, filters) for _ in range(2)), **options)


def _speaker(width=8, num_layers=1, tokens=20, **options):
    words = Vocabulary(["<pad>", "<s>", "</s>", "<unk>", *(f"\u2581w{index}" for index in range(tokens - 4))])
    network = Transformer(tokens, width=width, num_layers=num_layers, num_heads=2, hidden=2 * width)
    return Seq2Seq(network, words, num_beams=2, max_length=8, **options)


def _detector(width=8, hidden=16, num_classes=3, **options):
    return MaskRCNN(
        torchvision_resnet(18, width=width, blocks=(1, 1, 1, 1)),
        num_classes,
        feature_pyramid=feature_pyramid([width, 2 * width, 4 * width, 8 * width], width),
        box_head=box_head(num_classes, width, 3, hidden),
        mask_head=mask_head(num_classes, width, 4, num_layers=1),
        anchor_sizes=(8, 16, 32, 64, 128),
        image_size=(32, 32),
        **options,
    )


def _segmenter(width=8, num_classes=3, **options):
    backbone = torchvision_resnet(18, width=width, blocks=(1, 1, 1, 1))
    head = fcn_head([2 * width, 4 * width, 8 * width], num_classes, width=2 * width, kernel_size=3)
    return FCN(backbone, num_classes, head=head, image_size=(32, 32), **options)


def _adversaries(judge, *penalties):
    return {
        f"{judge}_optimizer": ((judge,), (f"{judge}_loss", *penalties)),
        "generator_optimizer": (("generator",), ("generator_loss",)),
    }


GAN_TRAINS = _adversaries("discriminator")
WGAN_GP_TRAINS = _adversaries("critic", "gradient_penalty")
LARGE_IMAGES, LARGE_POINTS, LARGE_CODER = (
    {"side": 28, "filters": 32},
    {"width": 256},
    {"side": 28, "hidden": (200, 200)},
)
DETECTOR = ("backbone", "feature_pyramid", "rpn_head", "box_head", "mask_head")
IMAGES, POINTS = Numbers((8, 8, 1)), Numbers((2,))
ROWS = {
    "gan": Row(partial(_images, GAN, "discriminator"), IMAGES, GAN_TRAINS, LARGE_IMAGES),
    "gan_minimax_ema": Row(
        partial(_points, GAN, "discriminator", generator_loss="minimax", discriminator_steps=2, generator_ema=0.9),
        POINTS,
        GAN_TRAINS,
        LARGE_POINTS,
    ),
    # Clipping at the paper's 0.01 would move a critic that does not train: test_wgan.py looks at it.
    "wgan": Row(
        partial(_points, WGAN, "critic", critic_steps=2, clip=10.0), POINTS, _adversaries("critic"), LARGE_POINTS
    ),
    "wgan_gp": Row(
        partial(_images, WGANGP, "critic", critic_steps=2, generator_ema=0.9), IMAGES, WGAN_GP_TRAINS, LARGE_IMAGES
    ),
    "sinkhorn_gan": Row(
        partial(
            _points,
            SinkhornGAN,
            "critic",
            num_features=4,
            max_iterations=20,
            gradient_penalty_weight=1.0,
            generator_ema=0.9,
        ),
        POINTS,
        WGAN_GP_TRAINS,
        # Plain SGD cannot hold a wider critic of squared distances.
        {"width": 64},
        learning_rate=0.005,
    ),
    "ot_gan": Row(
        partial(
            _points,
            OTGAN,
            "critic",
            width=32,
            num_features=16,
            generator_steps=1,
            epsilon=0.1,
            gradient_penalty_weight=0.1,
        ),
        POINTS,
        WGAN_GP_TRAINS,
        LARGE_POINTS,
        learning_rate=0.005,
    ),
    "cycle_gan": Row(
        partial(_translator, pool_size=5, generator_ema=0.9),
        # Of the first ones, a value lies on a kink of the loss, where its last bit decides.
        Numbers((16, 16, 1), domains=2, first_seed=10),
        {
            "generator_optimizer": (
                ("generator_xy", "generator_yx"),
                ("adversarial_xy", "adversarial_yx", "cycle_x", "cycle_y"),
            ),
            "discriminator_optimizer": (
                ("discriminator_x", "discriminator_y"),
                ("discriminator_x_loss", "discriminator_y_loss"),
            ),
        },
        {"side": 32, "filters": 16, "num_blocks": 3},
        learning_rate=0.0001,
    ),
    "autoencoder": Row(
        partial(
            _coder,
            Autoencoder,
            output_activation="sigmoid",
            corruption="gaussian",
            sparsity="kl",
            target_activity=0.3,
            contraction="estimate",
        ),
        IMAGES,
        {"optimizer": (("encoder", "decoder"), ("reconstruction_loss", "sparsity", "contraction"))},
        LARGE_CODER,
        learning_rate=0.005,
    ),
    "vae": Row(
        partial(_coder, VAE, num_outputs=8, binarize=True, warm_up_steps=4),
        IMAGES,
        {"optimizer": (("encoder", "decoder"), ("reconstruction_loss", "kl_divergence"))},
        {**LARGE_CODER, "code_dim": 32, "num_outputs": 64},
        learning_rate=0.005,
    ),
    "seq2seq": Row(
        partial(_speaker, copy_weight=0.5, sequence_weight=0.5, transport_iterations=10, network_ema=0.9),
        Texts((6,), tokens=20),
        {"optimizer": (("network",), ("cross_entropy", "copy_loss", "sequence_loss"))},
        {"width": 64, "num_layers": 3},
    ),
    "mask_rcnn": Row(
        partial(
            _detector,
            num_anchor_samples=16,
            num_box_samples=8,
            num_training_proposals=12,
            num_proposals=6,
            max_detections=4,
        ),
        Objects((32, 32, 3), num_classes=3),
        {"optimizer": (DETECTOR, MaskRCNN.terms)},
        {"width": 16, "hidden": 128},
        learning_rate=0.01,
    ),
    "fcn": Row(
        partial(_segmenter, class_weights=(0.5, 1.0, 2.0)),
        Pixels((40, 36, 3), num_classes=3),
        {"optimizer": (("backbone", "head"), FCN.terms)},
        {"width": 32},
    ),
}


def weights(network):
    return network.get_weights()


def largest_difference(one, other):
    return max(np.abs(a - b).max() for a, b in zip(one, other, strict=True))


def compile_sgd(model, learning_rate, **execution):
    """SGD shows a gradient of the wrong size, which Adam would hide."""
    optimizers = [keras.optimizers.SGD(learning_rate, momentum=0.5) for _ in model.optimizer_networks]
    model.compile(*optimizers, **execution)


def fit(model, examples, epochs=2, batch_size=8, **options):
    return model.fit(*arguments(examples), batch_size=batch_size, epochs=epochs, shuffle=False, verbose=0, **options)
