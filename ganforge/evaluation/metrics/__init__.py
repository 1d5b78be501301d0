"""Metrics, one module each."""

FLAGGED = (
    "fid",
    "fid-infinity",
    "kid",
    "is",
    "prc",
    "fd-dinov2",
    "cmmd",
    "memorization",
    "authenticity",
    "patch-distance",
    "ppl",
    "modes",
    "conditional-accuracy",
    "discriminator-accuracy",
    "linear-probe",
    "separability",
)
"""Metrics with a flag of their own in ``ganforge eval``, in the order of the results."""


def flag_of(name: str) -> str:
    """Return the flag that selects a metric."""
    return f"--{name}" if name in FLAGGED else f"--metric {name}"
