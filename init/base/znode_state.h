/* The states of an application (DESIGN §6) and their words, which znode(8)
 * prints, a node reports (sync(5)) and the hub counts. */
#ifndef BASE_ZNODE_STATE_H
#define BASE_ZNODE_STATE_H

#include <stdint.h>

enum znode_state {
	ZNODE_ABSENT,  /* its image is not here */
	ZNODE_PULLING, /* being copied and unpacked */
	ZNODE_IMAGE,   /* image only */
	ZNODE_STARTING,
	ZNODE_RUNNING,
	ZNODE_FROZEN,
	ZNODE_ASLEEP,
	ZNODE_STOPPING,
	ZNODE_FAILED,
	ZNODE_STATE_COUNT,
};

/* "unknown" for a number that is none of them. */
const char *znode_state_name(uint32_t state);

#endif
