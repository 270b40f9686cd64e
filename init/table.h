/* The services of a node, in the order in which they are shown. */
#ifndef INIT_TABLE_H
#define INIT_TABLE_H

#include "svc.h"

enum table_row {
	ROW_ZOOID,
	ROW_DATA,
	ROW_ZLOG,
	ROW_ZRUN,
	ROW_ZNODE,
	ROW_ZNET,
	ROW_ZPULL,
	ROW_ZAGENT,
	ROW_NET,
	ROW_KEEP,
	ROW_SWAP,
	ROW_CONSOLE_0,
	ROW_CONSOLE_1,
	ROW_CONSOLE_2,
	ROW_COUNT,
};

extern const struct svc_row table_rows[ROW_COUNT];

#endif
