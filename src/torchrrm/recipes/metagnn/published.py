"""What the text of [Huang2024] says in numbers; its figures are not read off."""

__all__ = ["PUBLISHED"]

PUBLISHED: dict[str, str] = {
    "fig06": "both rates level off after about 250 of 400 outer loops; the minimum rate peaks within the first 100",
    "fig07": "20 to 30 epochs against about 200 from scratch; over ITLinQ +1.2 % mean and +13 % minimum rate; WMMSE "
    "has the best mean rate and a very poor minimum",
    "fig08": "over ITLinQ +3.48 % mean rate at a similar minimum rate; mismatch and random start (20 epochs) below",
    "fig09": "from scratch degrades with fewer samples, most at 256; the meta-initialised networks hardly do",
    "fig10": "256 samples: no collapse before about 250 epochs; from scratch it overfits after about 150",
}
