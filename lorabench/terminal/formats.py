"""How numbers are written in lines for the user."""


def format_duration(seconds: float) -> str:
    """``42s``, ``3m10s`` or ``5h02m``.

    >>> format_duration(190)
    '3m10s'
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


def format_lr(lr: float) -> str:
    """A learning rate as one would type it.

    >>> format_lr(0.00063246)
    '6.3246e-4'
    """
    mantissa, exponent = f"{lr:.6e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
