"""torch is built for CUDA, but its driver is not there or not reachable.

## What it looks at
The kernel driver, libcuda, the device files in /dev, and NVIDIA GPUs on the PCI bus.

## Why it matters
`torch.cuda.is_available()` is False and training runs on the CPU; `.cuda()` fails. In a
container the host's driver is invisible unless the container was started with the GPUs.

## What to do
Install the driver, or start the container with the GPUs. On a machine without an NVIDIA GPU
nothing is wrong: a CUDA build of torch runs there on the CPU.

## References
- https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/
- https://github.com/NVIDIA/nvidia-docker/issues/1256
"""

from __future__ import annotations

from torchkit.advice.lines import driver_installation
from torchkit.machine.facts import Gpu, Unknown
from torchkit.report import WOULD_FAIL_WITH, Evidence, Verdict, does_not_apply, fail, info, ok, warn
from torchkit.versions import Version

AREA = "driver"

NO_DRIVER = (
    "RuntimeError: Found no NVIDIA driver on your system. Please check that you have an NVIDIA "
    "GPU and installed a driver from http://www.nvidia.com/Download/index.aspx"
)

CONTAINER_FIX = {
    "docker": "docker run --gpus all …",
    "podman": "podman run --device nvidia.com/gpu=all …",
    "kubernetes": "add to the container: resources: {limits: {nvidia.com/gpu: 1}}",
    "singularity": "apptainer exec --nv …",
}


def judge(
    driver_version: Version | None,
    torch_cuda: Version | None | Unknown,
    gpus: tuple[Gpu, ...] | None | Unknown,
    driver_library_version: Version | None | Unknown,
    driver_cuda: Version | None | Unknown,
    nvidia_devices_on_bus: int | None | Unknown,
    nvidia_device_nodes: bool | None | Unknown,
    is_container: bool | None | Unknown,
    container_runtime: str | None | Unknown,
    jetson_model: str | None | Unknown,
    driver_error: str | None | Unknown,
    os_name: str | None | Unknown,
) -> Verdict:
    wants_cuda = isinstance(torch_cuda, Version)
    usable = isinstance(gpus, tuple) and len(gpus) > 0
    if usable or isinstance(jetson_model, str):
        return ok("the NVIDIA driver and its GPUs are there")
    if driver_version is not None:
        without_library = driver_cuda is None and not isinstance(driver_library_version, Version)
        untold = isinstance(driver_cuda, Unknown) and is_container is True
        if gpus == () and (without_library or untold):
            return _out_of_reach(
                driver_version,
                is_container=is_container is True,
                runtime=container_runtime,
                nodes=nvidia_device_nodes,
                wants_cuda=wants_cuda,
                os_name=os_name,
            )
        if gpus == () and wants_cuda:
            return _shows_no_gpu(
                driver_version,
                nvidia_devices_on_bus if isinstance(nvidia_devices_on_bus, int) else 0,
                driver_error if isinstance(driver_error, str) else None,
                container_runtime if is_container is True else None,
            )
        return ok(f"NVIDIA driver {driver_version} is there")
    if isinstance(nvidia_devices_on_bus, int) and nvidia_devices_on_bus > 0:
        return _not_installed(
            nvidia_devices_on_bus,
            runtime=container_runtime if is_container is True else None,
            wants_cuda=wants_cuda,
            error=driver_error if isinstance(driver_error, str) else None,
            os_name=os_name,
        )
    if not wants_cuda:
        return does_not_apply("nothing here asks for an NVIDIA driver")
    hint = [_container_fix(container_runtime)] if is_container is True else []
    return info(
        f"torch is built for CUDA {torch_cuda}; there is no NVIDIA driver here, it runs on the CPU",
        fix=[f"if the host has a GPU: {line}" for line in hint],
    )


def _out_of_reach(
    driver_version: Version,
    *,
    is_container: bool,
    runtime: str | None | Unknown,
    nodes: bool | None | Unknown,
    wants_cuda: bool,
    os_name: str | None | Unknown,
) -> Verdict:
    """The kernel has the driver, but this process gets neither its library nor its devices."""
    place = (
        "this container was started without the GPUs"
        if is_container
        else ("its library libcuda.so.1 is not installed")
    )
    found = "no libcuda.so.1" + (", no /dev/nvidia*" if nodes is False else "")
    fix = [
        _container_fix(runtime) if is_container else _library_installation(driver_version, os_name)
    ]
    evidence = [
        Evidence("found", f"NVIDIA kernel driver {driver_version}, but {found}"),
    ]
    if not wants_cuda:
        return info(
            f"NVIDIA driver {driver_version} is loaded, but {place}", evidence=evidence, fix=fix
        )
    return fail(
        f"NVIDIA driver {driver_version} is loaded, but {place}",
        evidence=[Evidence(WOULD_FAIL_WITH, NO_DRIVER), *evidence],
        fix=fix,
        brief="the GPUs are out of this container's reach"
        if is_container
        else "libcuda is missing",
    )


def _shows_no_gpu(
    driver_version: Version, devices: int, error: str | None, runtime: str | None | Unknown
) -> Verdict:
    """Driver and library are there, and no GPU: fallen off the bus, or kept from the container."""
    lost = devices > 0 or error is not None
    fix = [
        "look for the cause: sudo dmesg | grep -iE 'nvrm|xid'",
        "then reboot, or power the GPU up",
    ]
    if runtime is not None:
        fix = [_container_fix(runtime)]
    evidence = [
        Evidence(WOULD_FAIL_WITH, "RuntimeError: No CUDA GPUs are available"),
        Evidence("found", f"driver {driver_version}, {devices or 'no'} NVIDIA GPUs on the PCI bus"),
    ]
    if error is not None:
        evidence.append(Evidence("NVIDIA says", error))
    build = fail if lost else warn
    return build(
        f"NVIDIA driver {driver_version} is loaded, but it shows no GPU",
        evidence=evidence,
        fix=fix,
        brief="the driver shows no GPU",
    )


def _not_installed(
    devices: int,
    *,
    runtime: str | None | Unknown,
    wants_cuda: bool,
    error: str | None,
    os_name: str | None | Unknown,
) -> Verdict:
    gpus = "an NVIDIA GPU is" if devices == 1 else f"{devices} NVIDIA GPUs are"
    fix = [driver_installation(os_name)]
    if runtime is not None:
        fix = [f"on the host: {driver_installation(None)}", f"then {_container_fix(runtime)}"]
    evidence = [Evidence("found", error, "NVIDIA")] if error else []
    if not wants_cuda:
        return info(f"{gpus} on the PCI bus, without a driver", evidence=evidence, fix=fix)
    return fail(
        f"{gpus} on the PCI bus, but no NVIDIA driver is loaded",
        evidence=[Evidence(WOULD_FAIL_WITH, NO_DRIVER), *evidence],
        fix=fix,
        brief="there is a GPU without a driver",
    )


def _library_installation(driver_version: Version, os_name: str | None | Unknown) -> str:
    """The package with libcuda.so.1 (packages.debian.org, packages.ubuntu.com)."""
    name = os_name.lower() if isinstance(os_name, str) else ""
    if name.startswith("debian"):
        return "sudo apt install libcuda1"
    if name.startswith("ubuntu"):
        return f"sudo apt install libnvidia-compute-{driver_version.major}"
    return f"install the libraries of driver {driver_version}, among them libcuda.so.1"


def _container_fix(runtime: str | None | Unknown) -> str:
    named = runtime if isinstance(runtime, str) else "docker"
    return CONTAINER_FIX.get(named, "start the container with the host's NVIDIA GPUs")
