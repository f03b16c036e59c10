"""Devices by name, with what their makers' data sheets say of them."""

from dataclasses import dataclass

from lorabench.errors import UserError, nearest


@dataclass(frozen=True)
class Hardware:
    """A device.

    Attributes:
        name: as in ``plan_device``.
        flops: dense matrix products in bfloat16 (float16 where it has none) with sums in float32, a second.
        memory: bytes.
        bandwidth: of its memory, bytes a second.
        reported: parts of the names that torch gives to such devices, for telling where a finished cell ran.
    """

    name: str
    flops: float
    memory: float
    bandwidth: float
    reported: tuple[str, ...]


# Of NVIDIA's data sheets (H200, H100 SXM5, A100 SXM4, L40S, L4, V100, T4), AWS's page of the G5 (A10G), and the whitepapers of
# Ada and Ampere for GeForce cards. Products of dense matrices: half of what is printed "with sparsity".
DEVICES = {
    device.name: device
    for device in (
        Hardware("h200", 989e12, 141e9, 4.8e12, ("H200",)),
        Hardware("h100", 989e12, 80e9, 3.35e12, ("H100",)),
        Hardware("a100", 312e12, 80e9, 2.04e12, ("A100-SXM4-80GB", "A100 80GB", "A100-SXM-80GB")),
        Hardware("a100-40gb", 312e12, 40e9, 1.56e12, ("A100-SXM4-40GB", "A100-PCIE-40GB")),
        Hardware("l40s", 362e12, 48e9, 0.864e12, ("L40S",)),
        Hardware("l4", 121e12, 24e9, 0.3e12, ("NVIDIA L4",)),
        Hardware("a10g", 70e12, 24e9, 0.6e12, ("A10G",)),
        Hardware("4090", 165e12, 24e9, 1.008e12, ("RTX 4090",)),
        Hardware("3090", 71e12, 24e9, 0.936e12, ("RTX 3090",)),
        Hardware("v100", 125e12, 32e9, 0.9e12, ("V100",)),
        Hardware("t4", 65e12, 16e9, 0.3e12, ("T4",)),
    )
}


def hardware(name: str) -> Hardware:
    """The device of a name.

    Raises:
        UserError: there is none here.
    """
    if name.lower() not in DEVICES:
        raise UserError(f"plan_device={name} is none of those known here; {nearest(name.lower(), [*DEVICES, 'cpu'])}")
    return DEVICES[name.lower()]


def reported_as(name: str) -> Hardware | None:
    """The device to which torch gives such a name, None for another one.

    >>> reported_as("NVIDIA H100 80GB HBM3").name
    'h100'
    """
    return next((device for device in DEVICES.values() if any(part in name for part in device.reported)), None)
