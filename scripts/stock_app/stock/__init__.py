"""The reference experiment as Flower's own tutorial would have it: a yardstick."""
