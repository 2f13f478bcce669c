/* A libcuda.so.1 that answers from environment variables.

   FAKE_CUDA_VERSION  12040
   FAKE_CUDA_INIT     status of cuInit, e.g. 803
   FAKE_CUDA_STATUS   status of cuDriverGetVersion, e.g. 34
   FAKE_CUDA_GPUS     NAME/MAJOR/MINOR/BYTES, separated by ";"
   FAKE_CUDA_DO       hang-load, hang-version, hang-init, crash-version, crash-init, print

   As the real one, it hides GPUs when CUDA_VISIBLE_DEVICES is empty or -1. */
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int does(const char *what) {
    const char *wanted = getenv("FAKE_CUDA_DO");
    return wanted != NULL && strcmp(wanted, what) == 0;
}

static int number(const char *name, int otherwise) {
    const char *text = getenv(name);
    return text != NULL ? atoi(text) : otherwise;
}

static void hang(void) {
    for (;;) pause();
}

__attribute__((constructor)) static void loaded(void) {
    if (does("hang-load")) hang();
    if (does("print")) {
        printf("{\"opened\": true, \"cuda\": 1}\nlibcuda says hello\n");
        fflush(stdout);
    }
}

static const char *gpu(int index) {
    const char *text = getenv("FAKE_CUDA_GPUS");
    while (text != NULL && *text && index-- > 0) {
        text = strchr(text, ';');
        if (text != NULL) text++;
    }
    return text != NULL && *text ? text : NULL;
}

static int parse(int device, char *name, int *major, int *minor, unsigned long long *bytes) {
    const char *text = gpu(device);
    if (text == NULL) return 101;
    return sscanf(text, "%255[^/]/%d/%d/%llu", name, major, minor, bytes) == 4 ? 0 : 1;
}

int cuDriverGetVersion(int *version) {
    if (does("hang-version")) hang();
    if (does("crash-version")) raise(SIGSEGV);
    if (does("print")) printf("cuDriverGetVersion was called\n");
    *version = number("FAKE_CUDA_VERSION", 12040);
    return number("FAKE_CUDA_STATUS", 0);
}

int cuInit(unsigned flags) {
    const char *visible = getenv("CUDA_VISIBLE_DEVICES");
    (void)flags;
    if (does("hang-init")) hang();
    if (does("crash-init")) raise(SIGSEGV);
    if (visible != NULL && (*visible == '\0' || *visible == '-')) return 100;
    return number("FAKE_CUDA_INIT", 0);
}

int cuDeviceGetCount(int *count) {
    for (*count = 0; gpu(*count) != NULL; ++*count) {
    }
    return 0;
}

int cuDeviceGet(int *device, int index) {
    *device = index;
    return gpu(index) != NULL ? 0 : 101;
}

int cuDeviceGetName(char *name, int length, int device) {
    char text[256];
    int major, minor, status;
    unsigned long long bytes;
    status = parse(device, text, &major, &minor, &bytes);
    if (status == 0) snprintf(name, (size_t)length, "%s", text);
    return status;
}

int cuDeviceGetAttribute(int *value, int attribute, int device) {
    char text[256];
    int major, minor, status;
    unsigned long long bytes;
    status = parse(device, text, &major, &minor, &bytes);
    if (status == 0) *value = attribute == 75 ? major : attribute == 76 ? minor : -1;
    return status;
}

int cuDeviceTotalMem_v2(size_t *size, int device) {
    char text[256];
    int major, minor, status;
    unsigned long long bytes;
    status = parse(device, text, &major, &minor, &bytes);
    if (status == 0) *size = (size_t)bytes;
    return status;
}

/* Names and texts as the real library gives them. */
static const struct {
    int status;
    const char *name, *text;
} errors[] = {
    {34, "CUDA_ERROR_STUB_LIBRARY", "CUDA driver is a stub library"},
    {100, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {802, "CUDA_ERROR_SYSTEM_NOT_READY", "system not yet initialized"},
    {803, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH",
     "system has unsupported display driver / cuda driver combination"},
    {804, "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE",
     "forward compatibility was attempted on non supported HW"},
    {999, "CUDA_ERROR_UNKNOWN", "unknown error"},
};

static int look_up(int status, const char **text, int is_name) {
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        if (errors[i].status == status) {
            *text = is_name ? errors[i].name : errors[i].text;
            return 0;
        }
    }
    return 1;
}

int cuGetErrorName(int status, const char **text) { return look_up(status, text, 1); }
int cuGetErrorString(int status, const char **text) { return look_up(status, text, 0); }
