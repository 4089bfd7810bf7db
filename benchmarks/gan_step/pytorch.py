"""The same architecture and schedule in PyTorch, written by hand."""

import time

import torch
from torch import nn

from benchmarks.gan_step.problem import CRITIC_STEPS, LATENT_DIM, PENALTY_WEIGHT, read_problem


class Torch:
    """The same architecture and schedule in PyTorch; `compiled` is None, "parts" or "whole"."""

    def __init__(self, threads, compiled=None):
        torch.set_num_threads(threads)
        self.generator, self.critic = torch_networks()
        adam = {"lr": 1e-4, "betas": (0.0, 0.9), "eps": 1e-7}
        self.generator_optimizer = torch.optim.Adam(self.generator.parameters(), **adam)
        self.critic_optimizer = torch.optim.Adam(self.critic.parameters(), **adam)
        self.penalty = self.functional_penalty if compiled == "whole" else self.eager_penalty
        self.call_generator, self.call_critic = self.generator, self.critic
        self.critic_terms, self.generator_loss = self._critic_terms, self._generator_loss
        if compiled == "parts":
            self.call_generator, self.call_critic = torch.compile(self.generator), torch.compile(self.critic)
        if compiled == "whole":
            self.critic_terms = torch.compile(self._critic_terms)
            self.generator_loss = torch.compile(self._generator_loss)

    def num_parameters(self):
        """Trainable parameters of generator and critic."""
        return tuple(
            sum(weight.numel() for weight in network.parameters()) for network in (self.generator, self.critic)
        )

    def load(self, problem, batch_size):
        """Takes over the shared weights and images."""
        weights, images, self.example = read_problem(problem, batch_size)
        parameters = [*self.generator.parameters(), *self.critic.parameters()]
        with torch.no_grad():
            for parameter, weight in zip(parameters, weights, strict=True):
                parameter.copy_(torch.from_numpy(_to_torch(weight)))
        self.images = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous().split(batch_size)
        self.latents_shape = (batch_size, LATENT_DIM)
        self.num_steps = 0

    def check(self):
        """Critic loss, weighted penalty, and the norm of their gradient in the critic's weights."""
        images, latents, mix = map(torch.from_numpy, self.example)
        critic_loss, penalty = self.critic_terms(images.permute(0, 3, 1, 2), latents, mix.reshape(-1, 1, 1, 1))
        gradients = torch.autograd.grad(critic_loss + penalty, list(self.critic.parameters()))
        norm = torch.stack([gradient.norm() for gradient in gradients]).norm()
        return critic_loss.item(), penalty.item(), norm.item()

    def eager_penalty(self, between):
        """The penalty by a backward pass that is recorded."""
        between.requires_grad_(True)
        (gradient,) = torch.autograd.grad(self.critic(between).sum(), between, create_graph=True)
        return ((gradient.flatten(1).norm(dim=1) - 1.0) ** 2).mean()

    def functional_penalty(self, between):
        """The penalty by a gradient that `torch.compile` can trace."""
        gradient = torch.func.grad(lambda images: self.critic(images).sum())(between)
        return ((gradient.flatten(1).norm(dim=1) - 1.0) ** 2).mean()

    def _critic_terms(self, images, latents, mix):
        with torch.no_grad():
            fake = self.call_generator(latents)
            between = fake + mix * (images - fake)
        critic_loss = self.call_critic(fake).mean() - self.call_critic(images).mean()
        return critic_loss, PENALTY_WEIGHT * self.penalty(between)

    def _generator_loss(self, latents):
        return -self.call_critic(self.call_generator(latents)).mean()

    def step(self):
        """`CRITIC_STEPS` critic updates, then one of the generator."""
        images = self.images[self.num_steps % len(self.images)]
        self.num_steps += 1
        for _ in range(CRITIC_STEPS):
            latents, mix = torch.randn(self.latents_shape), torch.rand(len(images), 1, 1, 1)
            self.critic_optimizer.zero_grad()
            critic_loss, penalty = self.critic_terms(images, latents, mix)
            (critic_loss + penalty).backward()
            self.critic_optimizer.step()
        # The generator's update needs no gradients of the critic's weights; ours leaves them out as well.
        self.critic.requires_grad_(False)
        self.generator_optimizer.zero_grad()
        self.generator_loss(torch.randn(self.latents_shape)).backward()
        self.generator_optimizer.step()
        self.critic.requires_grad_(True)

    def steps(self, count):
        """Seconds per step over `count` steps, after a step that is not counted."""
        self.step()
        start = time.perf_counter()
        for _ in range(count):
            self.step()
        return (time.perf_counter() - start) / count

    def first_step(self):
        """Seconds of one step, compiling included."""
        start = time.perf_counter()
        self.step()
        return time.perf_counter() - start


def torch_networks():
    """Generator and critic, the layers of `dcgan_generator(norm="layer")` and `dcgan_critic` at 28x28x1."""
    generator = nn.Sequential(
        nn.Linear(LATENT_DIM, 7 * 7 * 128, bias=False),
        nn.Unflatten(1, (128, 7, 7)),
        nn.GroupNorm(1, 128, eps=1e-5),
        nn.ReLU(),
        nn.ConvTranspose2d(128, 64, 4, stride=2, padding=1, bias=False),
        nn.GroupNorm(1, 64, eps=1e-5),
        nn.ReLU(),
        nn.ConvTranspose2d(64, 1, 4, stride=2, padding=1),
        nn.Tanh(),
    )
    critic = nn.Sequential(
        nn.Conv2d(1, 64, 4, stride=2, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(64, 128, 4, stride=2, padding=1, bias=False),
        nn.GroupNorm(1, 128, eps=1e-5),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        nn.Linear(7 * 7 * 128, 1),
    )
    return generator, critic


def _to_torch(weight):
    """A Keras weight as PyTorch holds it: channels before rows and columns, outputs before inputs."""
    if weight.ndim == 4:
        return weight.transpose(3, 2, 0, 1).copy()
    if weight.shape == (LATENT_DIM, 7 * 7 * 128):
        return weight.reshape(LATENT_DIM, 7, 7, 128).transpose(3, 1, 2, 0).reshape(-1, LATENT_DIM).copy()
    if weight.shape == (7 * 7 * 128, 1):
        return weight.reshape(7, 7, 128).transpose(2, 0, 1).reshape(1, -1).copy()
    return weight
