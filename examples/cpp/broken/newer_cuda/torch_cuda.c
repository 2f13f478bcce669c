/* libtorch_cuda.so: it calls what is new. */
int cudaGetDriverEntryPointByVersion(void);
int at_cuda(void) { return cudaGetDriverEntryPointByVersion(); }
