int at_cuda(void);
int cudaMalloc(void);
int main(void) { return at_cuda() + cudaMalloc(); }
