/* Stands between a process and the files below CRASH_DIR, for tests. Loaded with LD_PRELOAD.
 *
 * Every system call that changes files is trapped (seccomp), whoever makes it: the C library, or code that
 * calls the kernel itself. Calls on files below CRASH_DIR are counted from 1 and written to CRASH_TRACE; the
 * one with the number CRASH_AT is treated as CRASH_MODE says:
 *
 *   count        nothing; CRASH_AT is ignored
 *   eio          fails once with EIO
 *   eio-on       it and all after it fail with EIO
 *   enospc       fails once with ENOSPC
 *   short        writes half of it and says so
 *   torn         writes half of it, then the process is killed
 *   kill-before  the process is killed instead
 *   kill-after   the process is killed when it is done
 *   quota        CRASH_AT is not a number of a call: files below CRASH_DIR may grow by so many bytes
 *
 * The trace has a line per call, "NUMBER NAME PATH", and "fault NUMBER NAME PATH" where something was done.
 * With CRASH_UNDO, what each write replaced is kept in that file until a sync makes it durable: see undo.rs.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <ucontext.h>
#include <unistd.h>

/* The sixth argument of calls that are ours; none of the trapped calls has a sixth. */
#define OURS 0x6372617368207368UL

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#define REG(context, n) ((context)->uc_mcontext.gregs[n])
static const int ARGS[] = {REG_RDI, REG_RSI, REG_RDX, REG_R10, REG_R8};
#define RESULT REG_RAX
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#define REG(context, n) ((context)->uc_mcontext.regs[n])
static const int ARGS[] = {0, 1, 2, 3, 4};
#define RESULT 0
#else
#error "say here where this machine keeps the arguments of a system call"
#endif

struct call {
  int number;
  const char *name;
  /* Which argument is the file descriptor or, if negative, -1 - the path. */
  int file;
};
static const struct call CALLS[] = {
    {SYS_write, "write", 0},         {SYS_pwrite64, "pwrite", 0},     {SYS_writev, "writev", 0},
    {SYS_pwritev, "pwritev", 0},     {SYS_fsync, "fsync", 0},         {SYS_fdatasync, "fdatasync", 0},
    {SYS_ftruncate, "ftruncate", 0}, {SYS_fallocate, "fallocate", 0}, {SYS_renameat, "rename", -2},
    {SYS_renameat2, "rename", -2},   {SYS_unlinkat, "unlink", -2},    {SYS_mkdirat, "mkdir", -2},
#ifdef SYS_rename
    {SYS_rename, "rename", -1},      {SYS_unlink, "unlink", -1},      {SYS_mkdir, "mkdir", -1},
#endif
    {SYS_statfs, "statfs", -1},      {SYS_fstatfs, "statfs", 0},
};
#define CALLS_LEN (sizeof(CALLS) / sizeof(CALLS[0]))

static char directory[PATH_MAX];
static size_t directory_len;
static char mode[16];
static long at;
static long count;
static long used; /* bytes by which files have grown, for a quota */
static int trace_fd = -1, undo_fd = -1;
static int lock;

static long pass(long number, const long *args) {
  long result = syscall(number, args[0], args[1], args[2], args[3], args[4], OURS);
  return result < 0 ? -errno : result;
}

static void append(int fd, const void *bytes, size_t len) {
  while (len > 0) {
    long args[5] = {fd, (long)bytes, (long)len};
    long done = pass(SYS_write, args);
    if (done <= 0) abort();
    bytes = (const char *)bytes + done;
    len -= (size_t)done;
  }
}

static void note(const char *word, long number, const char *name, const char *path) {
  char line[PATH_MAX + 64];
  int len = snprintf(line, sizeof line, "%s%ld %s %s\n", word, number, name, path + directory_len);
  append(trace_fd, line, (size_t)len < sizeof line ? (size_t)len : sizeof line - 1);
}

static int is(const char *name) { return strcmp(mode, name) == 0; }

static int below(const char *path) {
  return strncmp(path, directory, directory_len) == 0 && (path[directory_len] == '/' || path[directory_len] == 0);
}

/* Where a write begins and how long it is. */
static void extent(int number, const long *args, long *from, long *len) {
  *len = args[2];
  if (number == SYS_writev || number == SYS_pwritev) {
    const struct iovec *parts = (const struct iovec *)args[1];
    *len = 0;
    for (long i = 0; i < args[2]; i++) *len += (long)parts[i].iov_len;
  }
  if (number == SYS_pwrite64 || number == SYS_pwritev) {
    *from = args[3];
  } else {
    struct stat file;
    int appends = fcntl((int)args[0], F_GETFL) & O_APPEND;
    *from = appends && fstat((int)args[0], &file) == 0 ? file.st_size : lseek((int)args[0], 0, SEEK_CUR);
  }
}

static int is_write(int number) {
  return number == SYS_write || number == SYS_pwrite64 || number == SYS_writev || number == SYS_pwritev;
}

/* Writes the first half, as far as there is a half. */
static long half(int number, const long *args) {
  long from, len;
  extent(number, args, &from, &len);
  if (len < 2) return pass(number, args);
  long cut[5] = {args[0], args[1], len / 2, args[3], args[4]};
  if (number == SYS_writev || number == SYS_pwritev) {
    const struct iovec *parts = (const struct iovec *)args[1];
    cut[1] = (long)parts[0].iov_base;
    cut[2] = (long)(parts[0].iov_len < 2 ? parts[0].iov_len : parts[0].iov_len / 2);
    number = number == SYS_writev ? SYS_write : SYS_pwrite64;
  }
  return pass(number, cut);
}

static void die(void) {
  syscall(SYS_kill, getpid(), SIGKILL);
  for (;;) pause();
}

static long quota(int number, const long *args, const char *path, const char *name, long counted) {
  struct stat file = {0};
  if (number == SYS_statfs || number == SYS_fstatfs) {
    long result = pass(number, args);
    struct statfs *disk = (struct statfs *)args[1];
    if (result == 0) disk->f_bavail = disk->f_bfree = (unsigned long)(at - used) / (unsigned long)disk->f_bsize;
    return result;
  }
  long grows = 0;
  if (strcmp(name, "unlink") == 0) {
    if (stat(path, &file) == 0 && S_ISREG(file.st_mode) && file.st_nlink == 1) used -= file.st_size;
    if (used < 0) used = 0;
    return pass(number, args);
  }
  if (args[0] >= 0 && (is_write(number) || number == SYS_fallocate)) {
    long from = args[2], len = args[3];
    if (is_write(number)) extent(number, args, &from, &len);
    if (fstat((int)args[0], &file) == 0 && file.st_size < from + len) grows = from + len - file.st_size;
  }
  if (grows > 0 && used + grows > at) {
    note("fault ", counted, name, path);
    return -ENOSPC;
  }
  used += grows;
  return pass(number, args);
}

/* What a write, or a change of the length, is about to replace; and what became durable. */
struct undo {
  unsigned long kind; /* 0 bytes replaced, 1 synced, 2 the file is gone */
  unsigned long inode;
  long size, from, len;
};

static void undo(int number, const long *args, const char *path, const char *name) {
  struct stat file;
  struct undo record = {0};
  if (strcmp(name, "unlink") == 0 || strcmp(name, "rename") == 0) {
    const char *gone = strcmp(name, "unlink") == 0 ? path : (const char *)args[number == SYS_renameat || number == SYS_renameat2 ? 3 : 1];
    if (stat(gone, &file) != 0) return;
    record = (struct undo){.kind = 2, .inode = file.st_ino};
    append(undo_fd, &record, sizeof record);
    return;
  }
  if (fstat((int)args[0], &file) != 0 || !S_ISREG(file.st_mode)) return;
  record.inode = file.st_ino;
  record.size = file.st_size;
  if (number == SYS_ftruncate) {
    record.from = args[1];
    record.len = file.st_size - args[1];
  } else if (number == SYS_fallocate) {
    record.from = file.st_size;
  } else {
    extent(number, args, &record.from, &record.len);
  }
  if (record.from + record.len > record.size) record.len = record.size - record.from;
  if (record.len < 0) record.len = 0;
  append(undo_fd, &record, sizeof record);
  for (long done = 0; done < record.len;) {
    char bytes[65536];
    long want = record.len - done < (long)sizeof bytes ? record.len - done : (long)sizeof bytes;
    char self[64];
    snprintf(self, sizeof self, "/proc/self/fd/%d", (int)args[0]);
    int again = open(self, O_RDONLY | O_CLOEXEC); /* it may be open for writing only */
    long got = pread(again, bytes, (size_t)want, record.from + done);
    close(again);
    if (got <= 0) abort();
    append(undo_fd, bytes, (size_t)got);
    done += got;
  }
}

static void synced(const long *args) {
  struct stat file;
  if (fstat((int)args[0], &file) != 0) return;
  struct undo record = {.kind = 1, .inode = file.st_ino};
  append(undo_fd, &record, sizeof record);
}

static long perform(int number, const long *args, const char *path, const char *name) {
  if (undo_fd < 0 || strcmp(name, "mkdir") == 0) return pass(number, args);
  while (__atomic_exchange_n(&lock, 1, __ATOMIC_ACQUIRE)) syscall(SYS_sched_yield);
  int sync = number == SYS_fsync || number == SYS_fdatasync;
  if (!sync) undo(number, args, path, name);
  long result = pass(number, args);
  if (sync && result == 0) synced(args);
  __atomic_store_n(&lock, 0, __ATOMIC_RELEASE);
  return result;
}

static long handle(const struct call *call, const long *args) {
  char path[PATH_MAX];
  int number = call->number;
  if (call->file >= 0) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", (int)args[call->file]);
    ssize_t len = readlink(link, path, sizeof path - 1);
    path[len < 0 ? 0 : len] = 0;
  } else {
    snprintf(path, sizeof path, "%s", (const char *)args[-1 - call->file]);
  }
  if (!below(path)) return pass(number, args);
  if (number == SYS_statfs || number == SYS_fstatfs) {
    return is("quota") ? quota(number, args, path, call->name, 0) : pass(number, args);
  }
  long counted = __atomic_add_fetch(&count, 1, __ATOMIC_SEQ_CST);
  note("", counted, call->name, path);
  if (is("quota")) return quota(number, args, path, call->name, counted);
  int on = is("eio-on") && at <= counted;
  if ((counted != at && !on) || is("count")) return perform(number, args, path, call->name);
  note("fault ", counted, call->name, path);
  if (is("eio") || on) return -EIO;
  if (is("enospc")) return -ENOSPC;
  if (is("kill-before")) die();
  long result = (is("short") || is("torn")) && is_write(number) ? half(number, args)
                                                                : perform(number, args, path, call->name);
  if (is("kill-after") || is("torn")) die();
  return result;
}

static void trapped(int signal, siginfo_t *info, void *pointer) {
  (void)signal;
  int before = errno;
  ucontext_t *context = pointer;
  long args[5];
  for (int i = 0; i < 5; i++) args[i] = (long)REG(context, ARGS[i]);
  long result = -ENOSYS;
  for (size_t i = 0; i < CALLS_LEN; i++) {
    if (CALLS[i].number == info->si_syscall) result = handle(&CALLS[i], args);
  }
  REG(context, RESULT) = result;
  errno = before;
}

static const char *setting(const char *name) {
  const char *value = getenv(name);
  if (value == NULL) {
    fprintf(stderr, "shim: %s is not set\n", name);
    exit(99);
  }
  return value;
}

static void must(int done, const char *what) {
  if (done >= 0) return;
  perror(what);
  exit(99);
}

__attribute__((constructor)) static void start(void) {
  snprintf(directory, sizeof directory, "%s", setting("CRASH_DIR"));
  directory_len = strlen(directory);
  snprintf(mode, sizeof mode, "%s", setting("CRASH_MODE"));
  at = atol(setting("CRASH_AT"));
  must(trace_fd = open(setting("CRASH_TRACE"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600), "shim: trace");
  if (getenv("CRASH_UNDO") != NULL) {
    must(undo_fd = open(getenv("CRASH_UNDO"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600), "shim: undo");
  }

  struct sigaction action = {.sa_sigaction = trapped, .sa_flags = SA_SIGINFO | SA_NODEFER};
  must(sigaction(SIGSYS, &action, NULL), "shim: sigaction");
  enum { FIXED = 9 };
  struct sock_filter filter[FIXED + CALLS_LEN];
  size_t n = 0;
  filter[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
  filter[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 0, CALLS_LEN + 1);
  filter[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
  for (size_t i = 0; i < CALLS_LEN; i++) {
    unsigned char found = (unsigned char)(CALLS_LEN - i);
    filter[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)CALLS[i].number, found, 0);
  }
  filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  filter[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[5]));
  filter[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)OURS, 0, 2);
  filter[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[5]) + 4);
  filter[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)(OURS >> 32), 1, 0);
  filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP);
  struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  struct sock_filter all[FIXED + CALLS_LEN + 1];
  memcpy(all, filter, n * sizeof allow);
  all[n++] = allow;
  struct sock_fprog program = {.len = (unsigned short)n, .filter = all};
  must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "shim: no new privileges");
  must(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), "shim: seccomp");
}
