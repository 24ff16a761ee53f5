// A disk that is full from the n-th write on, for tests (LD_PRELOAD): every write, and every way to bring it to the disk, of
// files below one folder. full_disk_arm(folder, n) begins to count; full_disk_count() says how many there were.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static char folder[4096];
static atomic_long limit = -1, count = 0;

void full_disk_arm(const char* below, long n) {
    snprintf(folder, sizeof folder, "%s", below);
    count = 0;
    limit = n;
}

long full_disk_count(void) { return count; }

static int fails(int descriptor) {
    if (limit < 0) return 0;
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    const ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    if (strncmp(path, folder, strlen(folder)) != 0) return 0;
    if (count++ < limit) return 0;
    errno = ENOSPC;
    return 1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int descriptor, const void* data, size_t size) {
    return fails(descriptor) ? -1 : REAL(write)(descriptor, data, size);
}
ssize_t writev(int descriptor, const struct iovec* parts, int number) {
    return fails(descriptor) ? -1 : REAL(writev)(descriptor, parts, number);
}
ssize_t pwrite(int descriptor, const void* data, size_t size, off_t offset) {
    return fails(descriptor) ? -1 : REAL(pwrite)(descriptor, data, size, offset);
}
ssize_t pwrite64(int descriptor, const void* data, size_t size, off64_t offset) {
    return fails(descriptor) ? -1 : REAL(pwrite64)(descriptor, data, size, offset);
}
int fsync(int descriptor) { return fails(descriptor) ? -1 : REAL(fsync)(descriptor); }
int fdatasync(int descriptor) { return fails(descriptor) ? -1 : REAL(fdatasync)(descriptor); }
