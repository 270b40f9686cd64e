#include "znode_state.h"

static const char *const names[] = {
	[ZNODE_ABSENT] = "absent",   [ZNODE_PULLING] = "pulling",
	[ZNODE_IMAGE] = "image",     [ZNODE_STARTING] = "starting",
	[ZNODE_RUNNING] = "running", [ZNODE_FROZEN] = "frozen",
	[ZNODE_ASLEEP] = "asleep",   [ZNODE_STOPPING] = "stopping",
	[ZNODE_FAILED] = "failed",
};

_Static_assert(sizeof(names) / sizeof(names[0]) == ZNODE_STATE_COUNT,
	       "a word for each state");

const char *znode_state_name(uint32_t state)
{
	return state < ZNODE_STATE_COUNT ? names[state] : "unknown";
}
