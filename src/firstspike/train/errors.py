"""The error of training."""


class TrainingError(RuntimeError):
    """Training cannot go on; the text says why and what is kept."""
