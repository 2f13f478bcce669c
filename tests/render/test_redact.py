"""What is taken out of a report that will be published, and what must stay."""

from __future__ import annotations

import getpass
import os
import time

import pytest

from torchkit.render.redact import Private, redact

ANNA = Private(home="/home/anna", user="anna", host="anna-box.lab.example.org")

UUID = "GPU-4b0a5c3e-8a4f-1e3b-9c2d-0123456789ab"

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # home folders
        ("/home/anna/project/.venv", "~/project/.venv"),
        ("/home/anna", "~"),
        ("-L/home/anna/lib", "-L/home/<user>/lib"),
        ("PATH=/home/anna/bin:/usr/bin", "PATH=~/bin:/usr/bin"),
        ("'/home/bob/x'", "'~/x'"),
        ("/home/annabel/x", "~/x"),
        ("/Users/carol/miniconda3/lib", "~/miniconda3/lib"),
        ("/mnt/c/Users/carol/x", "/mnt/c/Users/<user>/x"),
        ("/export/home/bob/x", "/export/home/<user>/x"),
        (r"C:\Users\carol\AppData", r"~\AppData"),
        (r"C:\Users\Carol Smith\AppData", r"~\AppData"),
        ("C:/Users/carol/AppData", "~/AppData"),
        (r"'C:\\Users\\carol\\x'", r"'~\\x'"),
        # names
        ("/data/anna/runs", "/data/<user>/runs"),
        ("owned by anna", "owned by <user>"),
        ("anna@anna-box:~$", "<user>@<host>:~$"),
        ("on anna-box.lab.example.org, port 1", "on <host>, port 1"),
        ("node anna-box is down", "node <host> is down"),
        ("hannah, annals and _ZN4anna3runEv", "hannah, annals and _ZN4anna3runEv"),
        # machine ids
        (f"{UUID} is busy", "<redacted> is busy"),
        (f"MIG-{UUID}/7/0", "<redacted>"),
        ("MIG-4b0a5c3e-8a4f-1e3b-9c2d-0123456789ab", "<redacted>"),
        ("Serial Number : 0324018061234", "Serial Number : <redacted>"),
        ("link/ether 02:42:ac:11:00:02 brd", "link/ether <redacted> brd"),
        ("0A-1B-2C-3D-4E-5F", "<redacted>"),
        # tokens by their form
        ("hf_AbCdEfGhIjKlMnOpQrStUvWxYz", "<redacted>"),
        ("ghp_" + "a1B2" * 9, "<redacted>"),
        ("gho_" + "a1B2" * 9, "<redacted>"),
        ("github_pat_11ABCDEFG0abcdefghijkl_mnopqrst", "<redacted>"),
        ("glpat-abcdefghij0123456789", "<redacted>"),
        ("sk-proj-Abcdef0123456789Abcdef", "<redacted>"),
        ("AKIAIOSFODNN7EXAMPLE", "<redacted>"),
        ("xoxb-123456789012-abcdef", "<redacted>"),
        (f"Authorization: Bearer {JWT}", "Authorization: Bearer <redacted>"),
        (JWT, "<redacted>"),
        ("https://bob:s3cret@host.example/x", "https://<redacted>@host.example/x"),
        ("https://ghtoken@host.example/x", "https://<redacted>@host.example/x"),
        ("WANDB_API_KEY=0123456789abcdef0123456789abcdef01234567", "WANDB_API_KEY=<redacted>"),
        ('"token": "abcd1234abcd1234abcd"', '"token": "<redacted>"'),
        ("--token abcd1234abcd1234abcd", "--token <redacted>"),
        ("aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "aws_secret_access_key = <redacted>"),
        ("PASSWORD=hunter2", "PASSWORD=<redacted>"),
        ("-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----", "<redacted>"),
        # addresses of people
        ("written by a.b+c@mail.example.org", "written by <redacted>"),
    ],
)  # fmt: skip
def test_private_data_is_taken_out(text: str, expected: str) -> None:
    assert redact(text, private=ANNA) == expected


@pytest.mark.parametrize(
    "text",
    [
        "torch 2.13.0+cpu, driver 470.57.02, CUDA 12.4, 525.60.13 or newer",
        "torch-2.13.0+cu126-cp311-cp311-manylinux_2_28_x86_64.whl",
        "2.14.0.dev20260101+gitabcdef0123456789abcdef0123456789abcdef01",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "torch.git_version 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b",
        "undefined symbol: _ZN3c106detail14torchCheckFailEPKcS2_jRKNSt7__cxx1112basic_stringE",
        "memcpy@@GLIBC_2.14, foo@GLIBCXX_3.4.30 and __cudaRegister@libcudart.so.12",
        "/usr/lib/x86_64-linux-gnu/libstdc++.so.6",
        "/opt/conda/envs/py311/lib/python3.11/site-packages/torch/lib/libc10.so",
        "~/.cache/torch_extensions/py311_cu121",
        "https://example.com/home/index.html and https://pytorch.org/Users/guide",
        "/home and /Users/Shared/x",
        "git+https://github.com/pytorch/vision.git@v0.28.0 and git@github.com:pytorch/vision",
        "NVIDIA A100-SXM4-40GB (8.0, 40 GiB) at 0000:3b:00.0",
        "expected token: identifier_that_is_rather_long",
        "max_tokens = 32768, tokenizer: bert-base-uncased-finetuned-2",
        "sk-learn-contrib-some-long-name2",
        "localhost:29500",
        "user root in group users",
        "GPU-0 and MIG-enabled",
        "pip install torchvision==0.28.0 --index-url URL",
        "the password file: see the docs",
        "/etc/passwd: cannot be read",
        "12:34:56 until 23:59:59, fe80::42:acff:fe11:2",
    ],
)
def test_what_a_reader_needs_stays(text: str) -> None:
    assert redact(text, private=ANNA) == text


@pytest.mark.parametrize("name", ["root", "user", "ubuntu", "runner", "torch", "cuda", "a", "12"])
def test_a_common_name_is_no_secret(name: str) -> None:
    text = f"{name} runs torch with cuda 12 as root on ubuntu, a user of a runner"

    assert redact(text, private=Private(home=f"/home/{name}", user=name, host=name)) == text


def test_the_home_of_root_is_a_home() -> None:
    private = Private(home="/root", user="root", host="localhost")

    assert redact("/root/.cache, /rootfs and localhost", private=private) == (
        "~/.cache, /rootfs and localhost"
    )


@pytest.mark.parametrize("home", ["", "/", "~", "C:\\"])
def test_a_home_that_is_none_damages_nothing(home: str) -> None:
    text = "/usr/lib and C:\\tools and ~/x"

    assert redact(text, private=Private(home=home)) == text


@pytest.mark.parametrize("name", ["a+b(c", "ann[a]", r"dom\ann"])
def test_a_name_may_hold_any_character(name: str) -> None:
    private = Private(home=f"/data/{name}", user=name, host=name)

    assert name not in redact(f"/data/{name}/x of {name} .", private=private)


def test_redacting_twice_changes_nothing_more() -> None:
    text = f"anna on anna-box has {UUID}, PASSWORD=hunter2, /home/anna/x, a@b.example.org, hf_{'a' * 30}"

    once = redact(text, private=ANNA)

    assert redact(once, private=ANNA) == once


def test_this_machine_is_known() -> None:
    private = Private.of_this_machine()

    assert private.home == os.path.expanduser("~")  # noqa: PTH111 - the words of the module
    assert private.user == getpass.getuser()
    assert private.host == os.uname().nodename


def test_a_process_without_home_and_passwd_entry_has_no_secrets_of_that_kind() -> None:
    import subprocess
    import sys

    program = (
        "import os\n"
        "from torchkit.render.redact import Private\n"
        "os.environ.clear()\n"
        "if os.getuid() == 0: os.setuid(54321)\n"
        "p = Private.of_this_machine()\n"
        "print(repr(p.home), repr(p.user))\n"
    )
    if os.getuid() != 0:
        pytest.skip("only root can become a user without an entry")

    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )

    assert answer.stdout == "'' ''\n"


@pytest.mark.parametrize(
    "unit", ["a", "a.", "a@", "/home/", "eyJ", "token=", "://a", "-", "0:", "a "]
)
def test_a_long_value_is_redacted_in_no_time(unit: str) -> None:
    text = unit * (100_000 // len(unit))

    start = time.process_time()
    redact(text, private=ANNA)

    assert time.process_time() - start < 2
