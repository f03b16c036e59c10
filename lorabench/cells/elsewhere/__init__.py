"""What a grid would take on a device that need not be at hand: `plan=true plan_device=h100`."""
