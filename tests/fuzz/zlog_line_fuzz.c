/* Any output of a program, in any pieces: whole lines without control bytes,
 * and no byte of a line lost. The first byte says how large the pieces are. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "zlog/line.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t line_check(struct span line)
{
	static char out[LINE_TEXT_SIZE];
	size_t size = line.size, n;
	enum log_level level = line_level(&line, LOG_LEVEL_INFO);

	n = line_format(out, UINT64_MAX / 2, level,
			"an-id-of-63-bytes-"
			"0123456789012345678901234567890123456789012345",
			line);
	if (n > sizeof(out) || n < 2 || out[n - 1] != '\n')
		abort();
	for (size_t i = 0; i < n - 1; i++) {
		if ((unsigned char)out[i] < ' ' && out[i] != '\t')
			abort();
	}
	return size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char room[LINE_MAX_SIZE];
	static struct line_part part = { .data = room };
	size_t step = size ? data[0] + 1u : 1, ends = 0, got = 0;
	struct span line;

	part.size = 0;
	for (size_t i = 0; i < size; i += step) {
		size_t n = size - i < step ? size - i : step;
		struct span piece = { (const char *)data + i, n };

		while (line_cut(&part, &piece, &line))
			got += line_check(line);
	}
	if (line_rest(&part, &line))
		got += line_check(line);
	for (size_t i = 0; i < size; i++)
		ends += data[i] == '\n';
	if (got + ends != size)
		abort();
	return 0;
}
