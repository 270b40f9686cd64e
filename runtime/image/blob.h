/* The blobs of the image store, and of OCI layouts that it takes images from:
 * files blobs/sha256/HEX beneath a layout's directory.
 *
 * Rule of use: nothing read from a blob is believed before its digest was
 * compared. `error` holds one line that names the blob after a failure. */
#ifndef IMAGE_BLOB_H
#define IMAGE_BLOB_H

#include <stdint.h>
#include <sys/types.h>

#include "oci/digest/digest.h"

enum { BLOB_ERROR_SIZE = 200, BLOB_PATH_SIZE = 96 };

struct blob {
	const struct digest *digest;
	uint64_t size;	   /* as its descriptor says, or BLOB_SIZE_ANY */
	uint64_t max_size; /* that is read in any case */
};

#define BLOB_SIZE_ANY UINT64_MAX

/* "blobs/sha256/HEX" */
void blob_path(const struct digest *digest, char path[BLOB_PATH_SIZE]);

/* Opens it for reading, a regular file of the right size. -ENOENT, -EBADMSG */
int blob_open(int layout, const struct blob *blob, char error[BLOB_ERROR_SIZE]);

/* Opens a blob that zpull is writing (zpull/layout.h): its beginning, or the
 * whole. -ENOENT: nothing of it is there yet. */
int blob_open_growing(int layout, const struct blob *blob,
		      char error[BLOB_ERROR_SIZE]);

/* Reads it whole into a new buffer (freed by the caller, NUL-terminated) and
 * verifies it. */
int blob_read(int layout, const struct blob *blob, char **data, size_t *size,
	      char error[BLOB_ERROR_SIZE]);

/* Writes verified bytes as a blob into a layout: on stable storage, and renamed
 * only then. */
int blob_write(int layout, const struct digest *digest, const char *data,
	       size_t size);

bool blob_exists(int layout, const struct digest *digest);
void blob_remove(int layout, const struct digest *digest);

/* Names and makes a new file or directory .tmp.N in dir, which nobody else
 * uses. Returns its descriptor or -errno. */
int temporary_file(int dir, char name[BLOB_PATH_SIZE]);
int temporary_directory(int dir, char name[BLOB_PATH_SIZE]);
/* Gives an entry of dir such a name, which nothing has. */
int temporary_rename(int dir, const char *from, char name[BLOB_PATH_SIZE]);
/* Whether name is one of those. */
bool temporary_is(const char *name);

#endif
