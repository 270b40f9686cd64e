/* What a hub sends to zagent: frames of a watch stream, asks, and the answers
 * to enrolment and time. */
#include <stdlib.h>

#include "agent/ask.h"
#include "agent/clock.h"
#include "agent/frame.h"
#include "agent/identity.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_frames(struct span bytes)
{
	struct frame_reader r = { .data = NULL };
	struct frame frame;
	struct ask ask;
	int n = 1;

	while (n == 1) {
		n = frame_read(&r, &bytes, &frame);
		if (n == 1 && ask_read(frame.bytes, &ask) == 0 &&
		    ask.lines > ASK_LINES_MAX)
			abort();
	}
	frame_reset(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span bytes = { (const char *)data, size };
	struct welcome w;
	struct ask ask;
	int64_t seconds;

	read_frames(bytes);
	ask_read(bytes, &ask);
	clock_payload(bytes, "n", &seconds);
	if (welcome_read(bytes, &w) == 0 &&
	    (!w.chain || !w.root || !w.n_hub || !w.node[0]))
		abort();
	welcome_free(&w);
	return 0;
}
