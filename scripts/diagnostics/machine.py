"""The doctor's checks of the machine: Python, packages, processors, memory, disks."""

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from fl_app.core.paths import resolve_data_dir, resolve_output_dir
from scripts.diagnostics.report import Finding, fail, ok, warn
from scripts.processes.flower_cli import DEFAULT_HOME, HOME_VARIABLE

DISTRIBUTION = "delta-fedavg"
_GIB = 2**30
_LEAST_MEMORY, _LEAST_DISK, _ENOUGH_DISK = 2 * _GIB, 1 * _GIB, 5 * _GIB
_TORCH_SECONDS = 120
_WITHOUT_COMPILER = "Training of convolutions takes half as long again without; install gcc"
# In a process of its own: a library built for another processor ends the one that loads it.
_TORCH_PROBE = """
import json, torch
found = {"version": torch.__version__, "sum": float(torch.ones(3).sum()), "gpus": []}
for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
    free, total = torch.cuda.mem_get_info(index)
    found["gpus"].append([torch.cuda.get_device_name(index), free, total])
print("\\n" + json.dumps(found))
"""


def check_python() -> Iterator[Finding]:
    """Compare Python and the packages with what the installed project requires."""
    from packaging.specifiers import SpecifierSet

    try:
        project = metadata.metadata(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        yield fail("project", f"{DISTRIBUTION} is not installed here. Run scripts/setup.sh.")
        return
    python, wanted = platform.python_version(), project["Requires-Python"] or ""
    if SpecifierSet(wanted).contains(python, prereleases=True):
        yield ok("python", f"{python} ({sys.executable})")
    else:
        yield fail("python", f"{python} does not satisfy {wanted}. Run scripts/setup.sh.")
    yield from _check_packages(metadata.requires(DISTRIBUTION) or [])


def _check_packages(requirements: list[str]) -> Iterator[Finding]:
    from packaging.requirements import Requirement

    fine = []
    for requirement in map(Requirement, requirements):
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            yield fail("packages", f"{requirement.name} is missing. Run scripts/setup.sh.")
            continue
        if requirement.specifier.contains(version, prereleases=True):
            fine.append(f"{requirement.name} {version}")
        else:
            yield fail(
                "packages",
                f"{requirement.name} is {version}, but {requirement.specifier} is needed. "
                "Run scripts/setup.sh.",
            )
    if fine:
        yield ok("packages", ", ".join(fine))


def check_torch() -> Iterator[Finding]:
    """Load PyTorch, add a few numbers and ask it for GPUs."""
    command = [sys.executable, "-c", _TORCH_PROBE]
    try:
        probe = subprocess.run(
            command, capture_output=True, text=True, timeout=_TORCH_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        yield fail("torch", f"was not loaded after {_TORCH_SECONDS} s. Is this disk very slow?")
        return
    if probe.returncode:
        reason = (probe.stderr.strip() or "no message").splitlines()[-1][:300]
        died = f"ended by signal {-probe.returncode}: " if probe.returncode < 0 else ""
        yield fail("torch", f"cannot be used ({died}{reason}). Delete .venv, run scripts/setup.sh.")
        return
    found = json.loads(probe.stdout.splitlines()[-1])
    yield ok("torch", f"{found['version']} works")
    for name, free, total in found["gpus"]:
        text = f"{name}, {free / _GIB:.1f} of {total / _GIB:.1f} GiB free"
        roomy = free >= _GIB
        yield ok("gpu", text) if roomy else warn("gpu", f"{text}. Another program holds the rest.")
    if found["gpus"]:
        return
    if shutil.which("nvidia-smi"):
        yield warn(
            "gpu",
            "nvidia-smi is here, but PyTorch finds no GPU. Compare the driver with the CUDA "
            f"version of PyTorch {found['version']}; until then training uses the processor.",
        )
    else:
        yield ok("gpu", "none; training uses the processor")


def check_resources() -> Iterator[Finding]:
    """Count processor cores and memory."""
    has_affinity = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    yield ok("processor", f"{cores} core{'s' * (cores != 1)} to use, {platform.machine()}")
    memory = available_memory()
    if memory is None:
        yield warn("memory", "this system does not tell how much is available")
    elif memory < _LEAST_MEMORY:
        yield warn(
            "memory", f"{memory / _GIB:.1f} GiB available; {_LEAST_MEMORY // _GIB} or more is safer"
        )
    else:
        yield ok("memory", f"{memory / _GIB:.1f} GiB available")


def check_compiler() -> Iterator[Finding]:
    """Compile a few lines of C and load them, as training does with its gradients."""
    from strategies.native.compiler import (
        COMPILER_VARIABLE,
        CompilationError,
        build_library,
        find_compiler,
    )

    compiler = find_compiler()
    if compiler is None:
        yield warn("compiler", f"none. {_WITHOUT_COMPILER}, or name one in {COMPILER_VARIABLE}.")
        return
    try:
        build_library(compiler, "doctor", "int answer(void) { return 42; }")
    except CompilationError as error:
        yield warn("compiler", f"{compiler} does not work: {error}. {_WITHOUT_COMPILER}.")
    else:
        yield ok("compiler", f"{compiler} works")


def available_memory() -> int | None:
    """Return the bytes that a new program may use, the container's limit included, if known."""
    found: list[int] = []
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        found += [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")]
        found.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))  # or "max": no limit
    except (OSError, ValueError):
        pass
    return min(found, default=None)


def check_disks(data: Path | None) -> Iterator[Finding]:
    """Check free space, and permission to write, where a node keeps things.

    Args:
        data: The participant's own data, which is only read; None: the data folder.
    """
    if data is None:
        yield _check_disk("data disk", resolve_data_dir(""), writes=True)
    elif data.exists():
        yield _check_disk("data disk", data, writes=False)
    yield _check_disk("results disk", resolve_output_dir(""), writes=True)
    flower = Path(os.environ.get(HOME_VARIABLE) or Path.home() / DEFAULT_HOME)
    yield _check_disk("Flower's disk", flower, writes=True, role=f" ({HOME_VARIABLE})")
    yield _check_disk("temporary disk", Path(tempfile.gettempdir()), writes=True, role=" (TMPDIR)")


def _check_disk(check: str, path: Path, writes: bool, role: str = "") -> Finding:
    there = path.absolute()
    while not there.exists():
        there = there.parent
    place = f"{path}{role}"
    if writes and not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
        return fail(check, f"{place}: {there} cannot be written to by this user. Change its owner.")
    free = shutil.disk_usage(there).free
    text = f"{place}: {free / _GIB:.1f} GiB free"
    if not writes or free >= _ENOUGH_DISK:
        return ok(check, text)
    if free >= _LEAST_DISK:
        return warn(check, f"{text}; {_ENOUGH_DISK // _GIB} or more is safer. Make room.")
    return fail(check, f"{text}; at least {_LEAST_DISK // _GIB} is needed. Make room.")
