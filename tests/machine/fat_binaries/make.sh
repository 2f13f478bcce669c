#!/bin/sh
# Makes the files beside it with nvcc 13.0. They are the smallest that hold real fat binaries: one
# empty kernel for each source file, no C library, and no symbols.
set -e
work=$(mktemp -d)
echo '__global__ void one() {}' >"$work/one.cu"
echo '__global__ void two() {}' >"$work/two.cu"
echo '__global__ void three() {}' >"$work/three.cu"
echo '__device__ float half(float x) { return x / 2; }' >"$work/half.cu"
echo 'extern __device__ float half(float); __global__ void uses(float *x) { *x = half(*x); }' >"$work/uses.cu"
echo 'int nothing(void) { return 0; }' >"$work/nothing.c"

compile() { # the object file, the source file, options
    object=$1 source=$2
    shift 2
    nvcc -c -Xcompiler -fPIC --compress-mode=size "$@" "$work/$source" -o "$work/$object"
}
link() { # the shared library, object files
    library=$1
    shift
    (cd "$work" && gcc -shared -nostdlib -Wl,-s -Wl,-z,noseparate-code -Wl,-z,max-page-size=4096 "$@" -o "$library")
    cp "$work/$library" .
}
code() { # options for a cubin
    for arch in "$@"; do printf ' -gencode arch=compute_%s,code=sm_%s' "$arch" "$arch"; done
}

wide="$(code 75 80 90a 100f 120) -gencode arch=compute_120,code=compute_120"
compile one.o one.cu $wide
compile two.o two.cu $(code 75 80) -gencode arch=compute_120,code=compute_120
compile three.o three.cu $(code 75 80) -gencode arch=compute_120,code=compute_120
link parts.so one.o two.o three.o

compile ptx.o one.cu -gencode arch=compute_80,code=compute_80
link ptx.so ptx.o

both="$(code 80) -gencode arch=compute_90,code=compute_90"
compile half.o half.cu -rdc=true $both
compile uses.o uses.cu -rdc=true $both
nvcc -dlink -Xcompiler -fPIC --compress-mode=size $(code 80) "$work/half.o" "$work/uses.o" -o "$work/linked.o"
link linked_later.so half.o uses.o linked.o

compile optimized_later.o one.cu -rdc=true -gencode arch=compute_80,code=lto_80
objcopy --strip-all "$work/optimized_later.o" optimized_later.o

gcc -c -fPIC "$work/nothing.c" -o "$work/nothing.o"
link nothing.so nothing.o
rm -r "$work"
