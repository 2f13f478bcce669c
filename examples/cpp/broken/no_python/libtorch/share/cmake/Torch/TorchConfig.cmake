# A stand-in for a CUDA libtorch 1.8: of its CMake files only what speaks of libnvrtc.
set(CUDA_NVRTC_LIB ${CMAKE_BINARY_DIR}/libnvrtc.so)
file(WRITE ${CUDA_NVRTC_LIB} "a stub")

execute_process(
  COMMAND "${PYTHON_EXECUTABLE}" -c
  "import hashlib; print(hashlib.sha256(open('${CUDA_NVRTC_LIB}', 'rb').read()).hexdigest()[:8])"
  RESULT_VARIABLE failed
  OUTPUT_VARIABLE CUDA_NVRTC_SHORTHASH
  OUTPUT_STRIP_TRAILING_WHITESPACE)
if(NOT failed EQUAL 0)
  message(WARNING "Failed to compute shorthash for libnvrtc.so")
else()
  message(STATUS "${CUDA_NVRTC_LIB} shorthash is ${CUDA_NVRTC_SHORTHASH}")
endif()
set(Torch_FOUND TRUE)
