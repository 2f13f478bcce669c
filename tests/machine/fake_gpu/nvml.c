/* A libnvidia-ml.so.1 that answers from environment variables.

   FAKE_NVML_DRIVER   535.54.03
   FAKE_NVML_CUDA     12020
   FAKE_NVML_INIT     status of nvmlInit_v2, e.g. 18
   FAKE_NVML_GPUS     NAME/MAJOR/MINOR/BYTES, separated by ";"; 0 bytes: "Not Supported";
                      a name of "lost": no handle, "GPU is lost"
   FAKE_NVML_DO       hang-load, hang-init, hang-ignoring-sigterm, crash, abort, print

   -DOLD builds one of the kind before driver 418: no version 2 calls, no compute capability.
   -DEMPTY builds one without a single function. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int does(const char *what) {
    const char *wanted = getenv("FAKE_NVML_DO");
    return wanted != NULL && strcmp(wanted, what) == 0;
}

static void hang(void) {
    for (;;) pause();
}

__attribute__((constructor)) static void loaded(void) {
    if (does("hang-load")) hang();
    if (does("print")) {
        printf("{\"opened\": true, \"driver\": \"1.2.3\"}\n\n");
        fflush(stdout);
        fprintf(stderr, "NVML says hello\n");
    }
}

#ifndef EMPTY

static int number(const char *name, int otherwise) {
    const char *text = getenv(name);
    return text != NULL ? atoi(text) : otherwise;
}

static int init(void) {
    if (does("crash")) raise(SIGSEGV);
    if (does("abort")) abort();
    if (does("hang-ignoring-sigterm")) signal(SIGTERM, SIG_IGN);
    if (does("hang-init") || does("hang-ignoring-sigterm")) hang();
    if (does("print")) printf("nvmlInit was called\n");
    return number("FAKE_NVML_INIT", 0);
}

static const char *gpu(unsigned index) {
    const char *text = getenv("FAKE_NVML_GPUS");
    while (text != NULL && *text && index-- > 0) {
        text = strchr(text, ';');
        if (text != NULL) text++;
    }
    return text != NULL && *text ? text : NULL;
}

static int parse(const char *text, char *name, int *major, int *minor, unsigned long long *bytes) {
    return sscanf(text, "%95[^/]/%d/%d/%llu", name, major, minor, bytes) == 4 ? 0 : 999;
}

static int count(unsigned *gpus) {
    for (*gpus = 0; gpu(*gpus) != NULL; ++*gpus) {
    }
    return 0;
}

static int handle(unsigned index, const char **device) {
    *device = gpu(index);
    if (*device == NULL) return 2;
    return strncmp(*device, "lost", 4) == 0 ? 15 : 0;
}

#ifdef OLD
int nvmlInit(void) { return init(); }
int nvmlDeviceGetCount(unsigned *gpus) { return count(gpus); }
int nvmlDeviceGetHandleByIndex(unsigned index, const char **device) { return handle(index, device); }
#else
int nvmlInit_v2(void) { return init(); }
int nvmlDeviceGetCount_v2(unsigned *gpus) { return count(gpus); }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, const char **device) {
    return handle(index, device);
}
int nvmlSystemGetCudaDriverVersion_v2(int *version) {
    *version = number("FAKE_NVML_CUDA", 12020);
    return *version > 0 ? 0 : 12;
}
int nvmlDeviceGetCudaComputeCapability(const char *device, int *major, int *minor) {
    char name[96];
    unsigned long long bytes;
    return parse(device, name, major, minor, &bytes);
}
#endif

int nvmlSystemGetDriverVersion(char *version, unsigned length) {
    const char *text = getenv("FAKE_NVML_DRIVER");
    snprintf(version, length, "%s", text != NULL ? text : "535.54.03");
    return 0;
}

int nvmlDeviceGetName(const char *device, char *name, unsigned length) {
    char text[96];
    int major, minor, status;
    unsigned long long bytes;
    status = parse(device, text, &major, &minor, &bytes);
    if (status == 0) snprintf(name, length, "%s", text);
    return status;
}

int nvmlDeviceGetMemoryInfo(const char *device, unsigned long long memory[3]) {
    char text[96];
    int major, minor, status = parse(device, text, &major, &minor, &memory[0]);
    memory[1] = memory[0];
    memory[2] = 0;
    return status != 0 ? status : memory[0] == 0 ? 3 : 0;
}

const char *nvmlErrorString(int status) {
    switch (status) {
    case 3: return "Not Supported";
    case 9: return "Driver Not Loaded";
    case 12: return "NVML Shared Library Not Found";
    case 15: return "GPU is lost";
    case 17: return "GPU access blocked by the operating system";
    case 18: return "Driver/library version mismatch";
    default: return "Unknown Error";
    }
}

#endif
