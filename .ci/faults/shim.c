/* What a crash of the machine and a clock that jumps would do, for one process: LD_PRELOAD=shim.so.
 *
 * FAULTS_UNDO=DIRECTORY  before bytes of a journal are changed, what was there is noted in DIRECTORY/INODE; fsync and
 *                        fdatasync forget it. Whoever plays the note backwards has the file as it was at the last sync.
 * FAULTS_CLOCK=FILE      eight bytes: by how many seconds CLOCK_REALTIME is off. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* Where the file of this descriptor is noted; nothing for files that are no journal. */
static int noted(int fd, char *path, size_t size, struct stat *found) {
    const char *directory = getenv("FAULTS_UNDO");
    char link[64], target[4096];
    if (!directory) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, target, sizeof target - 1);
    if (length < 0) return 0;
    target[length] = 0;
    if (!strstr(target, "/journal.db") || strstr(target, "-shm") || fstat(fd, found)) return 0;
    snprintf(path, size, "%s/%lu", directory, (unsigned long)found->st_ino);
    return 1;
}

static void put(int fd, const void *bytes, size_t length) {
    while (length > 0) {
        ssize_t done = syscall(SYS_write, fd, bytes, length);
        if (done < 0) abort();
        bytes = (const char *)bytes + done;
        length -= (size_t)done;
    }
}

/* Notes what stands at these bytes, and how long the file is. */
static void note(int fd, uint64_t offset, uint64_t length) {
    char path[4200];
    struct stat found;
    int saved = errno;
    if (!noted(fd, path, sizeof path, &found)) {
        errno = saved;
        return;
    }
    uint64_t size = (uint64_t)found.st_size;
    uint64_t there = offset >= size ? 0 : (size - offset < length ? size - offset : length);
    char *before = malloc(there + 1);
    char own[64];
    /* The descriptor may be for writing alone. */
    snprintf(own, sizeof own, "/proc/self/fd/%d", fd);
    int reader = (int)syscall(SYS_openat, AT_FDCWD, own, O_RDONLY | O_CLOEXEC);
    uint64_t read = 0;
    while (read < there) {
        ssize_t got = syscall(SYS_pread64, reader, before + read, there - read, offset + read);
        if (got <= 0) abort();
        read += (uint64_t)got;
    }
    if (reader >= 0) syscall(SYS_close, reader);
    pthread_mutex_lock(&lock);
    int out = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (out < 0) abort();
    uint64_t head[3] = {offset, there, size};
    put(out, head, sizeof head);
    put(out, before, there);
    syscall(SYS_close, out);
    pthread_mutex_unlock(&lock);
    free(before);
    errno = saved;
}

static void forget(int fd) {
    char path[4200];
    struct stat found;
    int saved = errno;
    if (noted(fd, path, sizeof path, &found)) {
        pthread_mutex_lock(&lock);
        unlink(path);
        pthread_mutex_unlock(&lock);
    }
    errno = saved;
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t offset) {
    note(fd, (uint64_t)offset, length);
    return syscall(SYS_pwrite64, fd, bytes, length, offset);
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset) { return pwrite64(fd, bytes, length, offset); }

ssize_t write(int fd, const void *bytes, size_t length) {
    off_t offset = getenv("FAULTS_UNDO") ? lseek(fd, 0, SEEK_CUR) : -1;
    if (offset >= 0) note(fd, (uint64_t)offset, length);
    return syscall(SYS_write, fd, bytes, length);
}

int ftruncate64(int fd, off64_t length) {
    struct stat found;
    if (!fstat(fd, &found) && found.st_size > length) note(fd, (uint64_t)length, (uint64_t)(found.st_size - length));
    return (int)syscall(SYS_ftruncate, fd, length);
}

int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

int fsync(int fd) {
    int result = (int)syscall(SYS_fsync, fd);
    if (!result) forget(fd);
    return result;
}

int fdatasync(int fd) {
    int result = (int)syscall(SYS_fdatasync, fd);
    if (!result) forget(fd);
    return result;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    static const volatile int64_t *off;
    static const volatile int64_t none;
    if (!off) {
        const char *path = getenv("FAULTS_CLOCK");
        int fd = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC) : -1;
        void *mapped = fd < 0 ? MAP_FAILED : mmap(NULL, 8, PROT_READ, MAP_SHARED, fd, 0);
        if (fd >= 0) syscall(SYS_close, fd);
        off = mapped == MAP_FAILED ? &none : mapped;
    }
    int result = (int)syscall(SYS_clock_gettime, clock, time);
    if (!result && clock == CLOCK_REALTIME) time->tv_sec += *off;
    return result;
}
