"""The lines that matter, of what real tools said."""

from __future__ import annotations

from pathlib import Path

import pytest

from torchkit.machine.build_output import (
    LINE_LENGTH,
    LINES,
    lines_that_matter,
    missing_names,
    plain_output,
)

CUDA = """\
CMake Warning at /opt/torch/share/cmake/Caffe2/public/cuda.cmake:40 (message):
  PyTorch: CUDA cannot be found.  Depending on whether you are building
  PyTorch or a PyTorch dependent library, the next warning / error will give
  you more info.
Call Stack (most recent call first):
  CMakeLists.txt:6 (find_package)


CMake Error at /opt/torch/share/cmake/Caffe2/Caffe2Config.cmake:88 (message):
  Your installed Caffe2 version uses CUDA but I cannot find the CUDA
  libraries.  Please set the proper CUDA prefixes and / or install CUDA.
Call Stack (most recent call first):
  /usr/share/cmake-3.25/Modules/CMakeFindDependencyMacro.cmake:47 (find_package)
  CMakeLists.txt:6 (find_package)


-- The C compiler identification is GNU 12.2.0
-- Could NOT find nvtx3 (missing: nvtx3_dir)
-- Could NOT find CUDA (missing: CUDA_INCLUDE_DIRS CUDA_CUDART_LIBRARY) (found version "13.0")
-- Configuring incomplete, errors occurred!
See also "build/CMakeFiles/CMakeOutput.log".
"""

TRIED = """\
CMake Error at /usr/share/cmake-3.25/Modules/CMakeTestCXXCompiler.cmake:63 (message):
  The C++ compiler

    "/usr/bin/c++"

  is not able to compile a simple test program.

  It fails with the following output:

    Change Dir: build/CMakeFiles/CMakeScratch/TryCompile-OuLkW8
    \n\
    Run Build Command(s):/usr/bin/gmake -f Makefile cmTC_f767e/fast && /usr/bin/gmake  -f CMakeFiles/cmTC_f767e.dir/build.make CMakeFiles/cmTC_f767e.dir/build
    gmake[1]: Entering directory 'build/CMakeFiles/CMakeScratch/TryCompile-OuLkW8'
    Building CXX object CMakeFiles/cmTC_f767e.dir/testCXXCompiler.cxx.o
    /usr/bin/c++   -nonsense  -o CMakeFiles/cmTC_f767e.dir/testCXXCompiler.cxx.o -c build/testCXXCompiler.cxx
    {error}
    gmake[1]: *** [CMakeFiles/cmTC_f767e.dir/build.make:78: CMakeFiles/cmTC_f767e.dir/testCXXCompiler.cxx.o] Error 1
    gmake[1]: Leaving directory 'build/CMakeFiles/CMakeScratch/TryCompile-OuLkW8'
    gmake: *** [Makefile:127: cmTC_f767e/fast] Error 2



  CMake will not be able to correctly generate this project.
Call Stack (most recent call first):
  CMakeLists.txt:4 (project)
"""

COMPILER = """\
In file included from /work/trial.cpp:4:
/opt/include/torch/types.h: In function 'void f()':
/opt/include/torch/types.h:6:12: error: 'optional' in namespace 'std' does not name a template type
    6 |   std::optional<int> it;
      |        ^~~~~~~~
/opt/include/torch/types.h:9:1: error: expected ';'
/opt/include/torch/types.h:12:1: error: expected ';'
gmake[3]: *** [CMakeFiles/trial_objects.dir/build.make:76: trial.cpp.o] Error 1
gmake: *** [Makefile:149: trial_objects] Error 2
"""

LINKER = "\n".join(
    [
        "/usr/bin/ld: CMakeFiles/trial_objects.dir/trial.cpp.o: in function `trial()':",
        *(
            f"trial.cpp:(.text+0x{n:x}): undefined reference to `c10::f{n % 8}(std::string const&)'"
            for n in range(40)
        ),
        "collect2: error: ld returned 1 exit status",
        "gmake[3]: *** [CMakeFiles/trial.dir/build.make:98: bin/trial] Error 1",
    ]
)


def test_of_cmake_the_first_error_is_told_with_what_was_not_found() -> None:
    assert lines_that_matter("configure", CUDA).splitlines() == [
        "CMake Error at /opt/torch/share/cmake/Caffe2/Caffe2Config.cmake:88 (message):",
        "  Your installed Caffe2 version uses CUDA but I cannot find the CUDA",
        "  libraries.  Please set the proper CUDA prefixes and / or install CUDA.",
        'Could NOT find CUDA (missing: CUDA_INCLUDE_DIRS CUDA_CUDART_LIBRARY) (found version "13.0")',
    ]


@pytest.mark.parametrize(
    "error",
    [
        "c++: error: unrecognized command-line option '-nonsense'",
        "/usr/bin/ld: cannot find -lsurely: No such file or directory",
        "/bin/sh: 1: Syntax error: Unterminated quoted string",
    ],
)
def test_of_what_cmake_tried_to_compile_its_words_and_the_error_are_told(error: str) -> None:
    told = lines_that_matter("configure", TRIED.format(error=error)).splitlines()

    assert [line.strip() for line in told] == [
        "CMake Error at /usr/share/cmake-3.25/Modules/CMakeTestCXXCompiler.cmake:63 (message):",
        "The C++ compiler",
        '"/usr/bin/c++"',
        "is not able to compile a simple test program.",
        "It fails with the following output:",
        error,
    ]


def test_of_a_compiler_the_first_error_is_told_and_the_others_are_counted() -> None:
    assert lines_that_matter("compile", COMPILER).splitlines() == [
        "/opt/include/torch/types.h:6:12: error: 'optional' in namespace 'std' does not name a template type",
        "    6 |   std::optional<int> it;",
        "      |        ^~~~~~~~",
        "and 2 more errors",
    ]


def test_an_error_that_a_header_was_written_to_give_comes_first() -> None:
    output = f"{COMPILER}/opt/include/ATen/ATen.h:5:2: error: #error C++17 or later is required\n"

    told = lines_that_matter("compile", output)

    assert told == "/opt/include/ATen/ATen.h:5:2: error: #error C++17 or later is required"


def test_of_a_linker_every_name_is_told_once_and_five_of_many() -> None:
    told = lines_that_matter("link", LINKER).splitlines()

    assert told == [
        *(f"undefined reference to `c10::f{n}(std::string const&)'" for n in range(5)),
        "and 3 more undefined references",
    ]
    assert len(missing_names(LINKER)) == 8


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("a.o: undefined reference to `c10::f()'", "c10::f()"),
        ("a.o: undefined reference to `at::g[abi:cxx11]()'", "at::g[abi:cxx11]()"),
        ("a.cpp:3: undefined reference to 'c10::f()'", "c10::f()"),  # gold
        ("ld.lld: error: undefined symbol: c10::f()", "c10::f()"),
        ("mold: error: undefined symbol: c10::f()", "c10::f()"),
        ("libx.so: undefined reference to `fmod@GLIBC_2.38'", "fmod@GLIBC_2.38"),
    ],
)
def test_names_are_read_as_each_linker_writes_them(line: str, name: str) -> None:
    assert missing_names(line) == (name,)


@pytest.mark.parametrize(
    "line",
    [
        "/usr/bin/ld: cannot find -ltorch: No such file or directory",
        "gmake[3]: *** No rule to make target '/opt/lib/libc10.so', needed by 'bin/trial'.  Stop.",
        "/opt/lib/libc10.so: file not recognized: file format not recognized",
        "g++: fatal error: Killed signal terminated program ld",
    ],
)
def test_other_words_of_a_linker_are_told_without_those_of_make(line: str) -> None:
    noise = "collect2: error: ld returned 1 exit status\ngmake: *** [Makefile:136: trial] Error 2"

    assert lines_that_matter("link", f"{line}\n{noise}") == line


def test_where_nothing_looks_like_an_error_the_last_lines_are_told() -> None:
    output = "\n".join(["-- all is well", *(f"line {n}" for n in range(40)), "-- the end", ""])

    told = lines_that_matter("configure", output).splitlines()

    assert told == [f"line {n}" for n in range(40 - LINES, 40)]
    assert lines_that_matter("run", "") == ""


def test_no_text_makes_more_than_a_dozen_lines_of_bounded_length() -> None:
    for stage in ("configure", "compile", "link", "run"):
        for text in (
            CUDA * 30,
            COMPILER * 30,
            LINKER * 30,
            "CMake Error: " + "x\n  " * 9999,
            "é" * 99999,
        ):
            told = lines_that_matter(stage, text).splitlines()

            assert len(told) <= LINES
            assert all(len(line) <= LINE_LENGTH + 1 for line in told)


def test_output_is_plain_and_free_of_the_temporary_folder(tmp_path: Path) -> None:
    stderr = f"\x1b[01m{tmp_path}/build/trial.cpp:1:1:\x1b[m \x1b[01;31merror: \x1b[mno\r\n"

    assert plain_output("out\n", stderr, tmp_path) == "build/trial.cpp:1:1: error: no\nout"
