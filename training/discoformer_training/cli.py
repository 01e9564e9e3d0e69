"""The command line of training: `discoformer-train`."""

from pathlib import Path

import click


@click.group()
def main() -> None:
    """Train and measure DiScoFormer networks."""


@main.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the run.")
@click.option("--resume", type=click.Path(path_type=Path), help="Checkpoint to continue from.")
@click.option("--seed", default=0, show_default=True)
@click.option("--steps", default=20_000, show_default=True)
@click.option("--learning-rate", default=2e-3, show_default=True)
@click.option("--time-budget", type=float, help="Minutes after which the run ends, its learning rate decayed.")
@click.option("--threads", type=int, help="CPU threads.")
def run(out, resume, seed, steps, learning_rate, time_budget, threads):
    """Train a network."""
    import torch

    from discoformer_training.config import TrainConfig
    from discoformer_training.train import train

    if threads:
        torch.set_num_threads(threads)
    config = TrainConfig(seed=seed, steps=steps, learning_rate=learning_rate)
    progress = train(config, out, resume=resume, time_budget=time_budget and 60 * time_budget)
    click.echo(f"step {progress.step}, {progress.tokens:,} tokens, {progress.seconds:.0f} s")


if __name__ == "__main__":
    main()
