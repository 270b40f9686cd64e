#include "tar.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/span.h"

/* Offsets in a header. */
enum {
	NAME = 0,
	SIZE = 124,
	CHECKSUM = 148,
	TYPE = 156,
	MAGIC = 257,
	PREFIX = 345,
	NAME_BYTES = 100,
	SIZE_BYTES = 12,
	CHECKSUM_BYTES = 8,
	PREFIX_BYTES = 155,
};

static int read_at(const struct tar *tar, uint64_t at, void *buf, size_t size)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n = pread(tar->fd, (char *)buf + done, size - done,
				  (off_t)(at + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EINVAL;
		done += (size_t)n;
	}
	return 0;
}

static int octal_read(const uint8_t *field, size_t size, uint64_t *value)
{
	size_t i = 0;
	uint64_t n = 0;

	while (i < size && field[i] == ' ')
		i++;
	for (; i < size && field[i] >= '0' && field[i] <= '7'; i++) {
		if (n >> 60)
			return -EINVAL;
		n = n << 3 | (field[i] - '0');
	}
	if (i < size && field[i] != ' ' && field[i] != '\0')
		return -EINVAL;
	*value = n;
	return 0;
}

static int size_read(const uint8_t *header, uint64_t *size)
{
	const uint8_t *field = header + SIZE;

	if (field[0] != 0x80)
		return octal_read(field, SIZE_BYTES, size);
	*size = 0;
	for (size_t i = 1; i < SIZE_BYTES; i++) {
		if (*size >> 55)
			return -EINVAL;
		*size = *size << 8 | field[i];
	}
	return 0;
}

static bool checksum_fits(const uint8_t *header)
{
	uint64_t said, sum = 0;

	for (size_t i = 0; i < TAR_BLOCK; i++)
		sum += i >= CHECKSUM && i < CHECKSUM + CHECKSUM_BYTES
			       ? ' '
			       : header[i];
	return octal_read(header + CHECKSUM, CHECKSUM_BYTES, &said) == 0 &&
	       said == sum;
}

static bool is_zero(const uint8_t *header)
{
	return !header[0] && !memcmp(header, header + 1, TAR_BLOCK - 1);
}

/* prefix/name, of a plain file. */
static void name_read(const uint8_t *header, char name[TAR_NAME_SIZE + 1])
{
	const char *prefix = (const char *)header + PREFIX;
	size_t n = 0, size;

	if (!memcmp(header + MAGIC, "ustar", 6) && prefix[0]) {
		n = strnlen(prefix, PREFIX_BYTES);
		memcpy(name, prefix, n);
		name[n++] = '/';
	}
	/* At most 155 + 1 + 100 bytes. */
	size = strnlen((const char *)header + NAME, NAME_BYTES);
	memcpy(name + n, header + NAME, size);
	name[n + size] = '\0';
}

/* What an extended header says of the next entry. */
struct extension {
	bool has_size, has_name;
	uint64_t size;
	char name[TAR_NAME_SIZE];
};

/* "LENGTH KEY=VALUE\n", one after the other. */
static int pax_read(struct span rest, struct extension *x)
{
	while (rest.size) {
		struct span record, length, key, value = rest;
		uint64_t n;

		if (!span_cut(&value, ' ', &length) ||
		    span_u64(length, rest.size, &n) < 0 ||
		    n < length.size + 2 || rest.data[n - 1] != '\n')
			return -EINVAL;
		record = (struct span){ value.data, n - length.size - 2 };
		rest.data += n;
		rest.size -= n;
		if (!span_cut(&record, '=', &key) || !record.data)
			return -EINVAL;
		if (span_is(key, "size")) {
			x->has_size = true;
			if (span_u64(record, INT64_MAX, &x->size) < 0)
				return -EINVAL;
		} else if (span_is(key, "path")) {
			x->has_name = true;
			span_copy(x->name, sizeof(x->name), record);
		}
	}
	return 0;
}

static int extension_read(const struct tar *tar, char type, uint64_t at,
			  uint64_t size, struct extension *x)
{
	autofree char *text = NULL;
	int err;

	if (size > TAR_PAX_MAX)
		return -EINVAL;
	/* GNU's long name is none that we look for. */
	if (type == 'L') {
		x->has_name = true;
		x->name[0] = '\0';
	}
	if (type != 'x')
		return 0;
	text = malloc(size + 1);
	err = text ? read_at(tar, at, text, size) : -ENOMEM;
	return err ? err : pax_read((struct span){ text, size }, x);
}

int tar_open(struct tar *tar, int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	*tar = (struct tar){ .fd = fd, .size = (uint64_t)st.st_size };
	return tar->size < TAR_BLOCK ? -EINVAL : 0;
}

/* One header: 1: an entry, 2: an extension of the next, 0: the end. */
static int header_next(struct tar *tar, struct extension *x,
		       struct tar_entry *e)
{
	uint8_t header[TAR_BLOCK];
	char name[TAR_NAME_SIZE + 1];
	bool is_extension;
	char type;
	int err;

	if (tar->size - tar->at < TAR_BLOCK)
		return 0;
	err = read_at(tar, tar->at, header, TAR_BLOCK);
	if (err)
		return err;
	if (is_zero(header))
		return 0;
	if (!checksum_fits(header) || size_read(header, &e->size) < 0)
		return -EINVAL;
	type = (char)header[TYPE];
	is_extension = strchr("xgLK", type) && type;
	if (x->has_size && !is_extension)
		e->size = x->size;
	e->offset = tar->at + TAR_BLOCK;
	if (e->size > tar->size - e->offset)
		return -EINVAL;
	tar->at = e->offset + (e->size + TAR_BLOCK - 1) / TAR_BLOCK * TAR_BLOCK;
	if (tar->at > tar->size)
		tar->at = tar->size;
	if (is_extension) {
		err = extension_read(tar, type, e->offset, e->size, x);
		return err ? err : 2;
	}
	name_read(header, name);
	e->name[0] = '\0';
	if (type == '0' || type == '\0')
		span_copy(e->name, sizeof(e->name),
			  span_of(x->has_name ? x->name : name));
	return 1;
}

int tar_next(struct tar *tar, struct tar_entry *entry)
{
	struct extension x = { 0 };
	int n;

	do
		n = header_next(tar, &x, entry);
	while (n == 2);
	return n;
}
