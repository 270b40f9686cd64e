/* Paths that foreign bytes name, and the few directories all programs know.
 *
 * Rule of use: whoever got a path from outside opens it with path_open_beneath
 * from a held directory descriptor, never by concatenation. */
#ifndef BASE_PATH_H
#define BASE_PATH_H

#include <dirent.h>
#include <stdint.h>
#include <sys/types.h>

/* Directory of sockets and volatile state: $ZOOID_RUN, else /run/zooid. */
const char *path_run(void);

/* Root of persistent data: $ZOOID_DATA, else /data. */
const char *path_data(void);

/* Where the ZOOID partition is mounted: $ZOOID_BOOT, else /zooid. */
const char *path_boot(void);

/* openat2(2) with RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS: neither "..", an
 * absolute path nor a symbolic link leads out of dir. Returns a descriptor
 * (CLOEXEC) or -errno; -EXDEV for an escape. */
int path_open_beneath(int dir, const char *path, int flags, mode_t mode);

/* openat2(2) with RESOLVE_IN_ROOT: dir is "/" for the whole resolution, as
 * inside a container. */
int path_open_in_root(int dir, const char *path, int flags, mode_t mode);

/* openat2(2) with RESOLVE_NO_SYMLINKS, from the root of this process: -ELOOP
 * where a symbolic link is on the way. */
int path_open_plain(const char *path, int flags);

/* mkdir -p beneath dir; existing directories are kept as they are. */
int path_mkdirs(int dir, const char *path, mode_t mode);

/* Opens directory `name` beneath dir ("." for dir itself) for readdir(3);
 * whoever closes it closes nothing else. NULL with errno set. */
DIR *path_list(int dir, const char *name);

/* Removes name beneath dir and all below it, never following links nor
 * crossing into another mount. 0 when it does not exist. */
int path_remove_tree(int dir, const char *name);

#endif
