"""Settings of a refinement; each method uses some of the tables."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from hepflows.autoregressive_flow import MOST_BINS
from hepflows.classifier import ClassifierConfig
from hepflows.config import HiddenUnits, StrictConfig
from hepflows.train.settings import TrainingConfig


class PullConfig(StrictConfig):
    """How weights are pulled back to the latent space.

    Attributes:
        source: what the weights of latents are. `latents`: what a second classifier finds, between latents with and
            without the weights of their events, as in arXiv 2106.00792. `events`: w(g(z)) itself, the classifier of
            events at the event that the generator makes of z, which must be a torch module and tell all of an event
            by its latents.
        iterations: OmniFold iterations (arXiv 1911.09107): 1 for a generator whose events follow from the latents, more
            for one with further noise that is not refined.
        classifier: the classifier on latents.
    """

    source: Literal["latents", "events"] = "latents"
    iterations: int = Field(default=1, ge=1)
    classifier: ClassifierConfig = ClassifierConfig(calibration="affine", max_weight=20.0)


class HmcConfig(StrictConfig):
    """Hamiltonian Monte Carlo; step, leapfrog steps, chains and burn-in are those of arXiv 2106.00792.

    Attributes:
        step: step of the leapfrog.
        leapfrog: leapfrog steps a transition.
        chains: chains that run side by side.
        burn_in: transitions that are dropped.
        draws: transitions a chain that are kept.
        adapt: adapt the step during the burn-in, by dual averaging (arXiv 1111.4246, algorithm 5).
        target_acceptance: acceptance that the adaptation aims at.
        warn_r_hat: warn if the largest R-hat lies above it.
        largest_r_hat: give up above it.
        least_ess: give up if a coordinate's effective number of draws is smaller.
        candidates: of an event of the artefact: candidates of which the start is chosen by their weights.
        transitions: of an event of the artefact: transitions from there.
    """

    step: float = Field(default=0.004, gt=0)
    leapfrog: int = Field(default=50, ge=1)
    chains: int = Field(default=100, ge=4)
    burn_in: int = Field(default=3000, ge=0)
    draws: int = Field(default=200, ge=4)
    adapt: bool = False
    target_acceptance: float = Field(default=0.8, gt=0, lt=1)
    warn_r_hat: float = Field(default=1.05, gt=1)
    largest_r_hat: float = Field(default=1.2, gt=1)
    least_ess: float = Field(default=50.0, ge=0)
    candidates: int = Field(default=64, ge=1)
    transitions: int = Field(default=10, ge=0)


class RefinerFlowConfig(StrictConfig):
    """The second flow, of spline couplings, from noise to refined latents; new, it is nearly the identity.

    Attributes:
        objective: `weights` trains by the likelihood of latents with pulled-back weights, as in arXiv 2106.00792;
            `reverse` by the reverse divergence, with gradients through the generator and the classifier of its events,
            whatever `pull.source` is.
        blocks: couplings.
        width: units of their networks.
        depth: residual blocks of their networks.
        bins: bins of the splines.
        bound: the splines act on [-bound, bound].
        events: latents drawn an epoch.
        training: epochs and so on.
    """

    objective: Literal["weights", "reverse"] = "weights"
    blocks: int = Field(default=6, ge=2)
    width: int = Field(default=64, ge=1)
    depth: int = Field(default=1, ge=1)
    bins: int = Field(default=8, ge=2, le=MOST_BINS)
    bound: float = Field(default=5.0, gt=0)
    events: int = Field(default=20_000, ge=1)
    training: TrainingConfig = TrainingConfig(epochs=20, batch_size=500, learning_rate=1e-3, schedule="cosine")


class RefinerGanConfig(StrictConfig):
    """The second generator as a GAN with auxiliary latents.

    Attributes:
        auxiliary: normal numbers beside those of the first generator; arXiv 2106.00792 has a GAN of 4.
        residual: add what the network gives to the first generator's noise, which it starts from; otherwise
            `auxiliary` numbers are all the noise there is.
        hidden: units of the hidden layers of both networks.
        learning_rate: of Adam, both networks.
        batch_size: latents a step.
        steps: training steps of the generator.
        critic_steps: steps of the discriminator a step of the generator.
        gradient_penalty: weight of the R1 penalty (arXiv 1801.04406).
        average: decay of the averaged weights that are kept.
    """

    auxiliary: int = Field(default=4, ge=0)
    residual: bool = True
    hidden: HiddenUnits = (128, 128)
    learning_rate: float = Field(default=3e-4, gt=0)
    batch_size: int = Field(default=500, ge=2)
    steps: int = Field(default=2000, ge=1)
    critic_steps: int = Field(default=2, ge=1)
    gradient_penalty: float = Field(default=0.1, ge=0)
    average: float = Field(default=0.995, ge=0, lt=1)


class RejectionConfig(StrictConfig):
    """Rejection in latent space.

    Attributes:
        tries: candidates of an event before the sampling gives up.
    """

    tries: int = Field(default=4096, ge=16)


class DiscFlowConfig(StrictConfig):
    """Fine-tuning of the likelihood with classifier weights (arXiv 2110.13632).

    Attributes:
        alpha: events count with w^alpha: regions that the generator under-produces count more.
        rounds: how often the weights are estimated anew.
        training: of each round.
    """

    alpha: float = Field(default=1.0, ge=0)
    rounds: int = Field(default=3, ge=1)
    training: TrainingConfig = TrainingConfig(epochs=5, batch_size=250, learning_rate=1e-4, schedule="cosine")


class RefineConfig(StrictConfig):
    """All tables of a refinement.

    Attributes:
        seed: of generated events, splits, initialisations and batches.
        copies: generated events a reference event.
        rounds: how often the refinement is repeated on its own result; laser-flow and laser-gan only.
        classifier: between reference and generated events.
        pull: weights on latents.
        hmc: see there.
        flow: see there.
        gan: see there.
        rejection: see there.
        discflow: see there.
    """

    seed: int = Field(default=1, ge=0, lt=2**63)
    copies: int = Field(default=2, ge=1)
    rounds: int = Field(default=1, ge=1)
    classifier: ClassifierConfig = ClassifierConfig()
    pull: PullConfig = PullConfig()
    hmc: HmcConfig = HmcConfig()
    flow: RefinerFlowConfig = RefinerFlowConfig()
    gan: RefinerGanConfig = RefinerGanConfig()
    rejection: RejectionConfig = RejectionConfig()
    discflow: DiscFlowConfig = DiscFlowConfig()
