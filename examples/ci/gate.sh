#!/bin/sh
# Refuse a machine before a job builds or trains on it:   sh examples/ci/gate.sh
#
# torchkit env ends with 0 (nothing wrong), 1 (something is wrong) or 2 (could not answer), so
# `set -e` is enough. Requirements come from the environment, so that one script serves all jobs.
set -eu

: "${TORCHKIT:=torchkit}"
: "${REQUIRE:=torch>=2.0}"

$TORCHKIT env --require "$REQUIRE" --quiet

# Values for the steps that follow: nothing else is printed, an empty line means "there is none".
cuda=$($TORCHKIT env --get torch_cuda)
prefix=$($TORCHKIT env --get torch_cmake_prefix)
echo "torch for ${cuda:-the CPU}, CMAKE_PREFIX_PATH=$prefix"
