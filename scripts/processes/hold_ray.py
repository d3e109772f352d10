"""Starts Ray as it comes, holds it until standard input ends; `scripts.processes.ray_head`."""

import sys


def main() -> None:
    """Start, and wait."""
    import ray

    ray.init(include_dashboard=False, log_to_driver=False, _node_ip_address="127.0.0.1")
    sys.stdin.read()


if __name__ == "__main__":
    main()
