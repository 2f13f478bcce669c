/* libcudart.so.12: what is in every 12.x, and one function that came with 12.5. */
int cudaMalloc(void) { return 0; }
#ifdef CUDA_12_6
int cudaGetDriverEntryPointByVersion(void) { return 0; }
#endif
