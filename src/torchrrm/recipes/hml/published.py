"""What [Hao2024] prints, as far as its text gives numbers: optimality in per cent of its iterative algorithm."""

from dataclasses import dataclass

__all__ = ["PUBLISHED", "Published"]


@dataclass(frozen=True)
class Published:
    """Numbers of one figure.

    Attributes:
        figure: its number.
        zero_shot: of HML before the first epoch, per cent; None if the text gives none.
        final: after fine-tuning, per cent.
        note: what else the text says.
    """

    figure: str
    zero_shot: float | None
    final: float | None
    note: str


PUBLISHED: dict[str, Published] = {
    "secrecy": Published("5(a)", None, 98.55, "HML in 8 epochs, MAML and MTL transfer in more than 30"),
    "secrecy-short": Published("5(b)", 92.07, 96.26, ""),
    "data-rate": Published("6(a)", 86.23, None, "gap after fine-tuning below that of Fig. 5"),
    "data-rate-short": Published("6(b)", 85.07, None, "gap after fine-tuning below that of Fig. 5"),
    "effective-capacity": Published("7(a)", None, 94.0, "gap below 6 %; HML in 10 to 30 epochs"),
    "effective-capacity-short": Published("7(b)", None, 94.0, "gap below 6 %; HML in 10 to 30 epochs"),
}
