/* Where lwIP takes its small blocks from (segments, headers, connections): one
 * static arena in four sizes. Blocks are never split or joined, so taking and
 * giving one are a few instructions, and pages never needed are never touched.
 *
 * The prototypes are in lwipopts.h, for lwIP itself. NULL when the arena is
 * used up or the block would be larger than the largest size; lwIP tries again
 * later. */
#ifndef NET_HEAP_H
#define NET_HEAP_H

#include "lwipopts.h"

#endif
