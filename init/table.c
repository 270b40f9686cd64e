#include "table.h"

#include "base/service.h"
#include "config.h"
#include "console.h"
#include "data.h"
#include "keep.h"
#include "net.h"
#include "swap.h"

#define NEEDS(row) (1u << ROW_##row)

/* The outer time-outs of the jobs are above the sum of those of their steps:
 * they only matter when a job itself is stuck in the kernel. */
const struct svc_row table_rows[ROW_COUNT] = {
	[ROW_ZOOID] = {
		.name = "zooid",
		.argv = { "mount-zooid" },
		.run = zooid_main,
		.flags = SVC_ONCE | SVC_GIVE_UP | SVC_SILENT | SVC_KMSG,
		.start_ms = 60000,
	},
	[ROW_DATA] = {
		.name = "data",
		.argv = { "mount-data" },
		.run = data_main,
		.flags = SVC_ONCE | SVC_GIVE_UP | SVC_SILENT | SVC_KMSG,
		.start_ms = 660000,
		.gave_up = data_in_memory,
	},
	[ROW_ZLOG] = {
		.name = "zlog",
		.argv = { "/bin/zlog" },
		.needs = NEEDS(DATA),
		.flags = SVC_KMSG,
		.uid = UID_ZLOG,
		.socket_mode = 0666,
		.oom_score_adj = -700,
		.open_files = 4096,
		.memory_mb = 96,
	},
	[ROW_ZRUN] = {
		.name = "zrun",
		.argv = { "/bin/zrun", "serve" },
		.needs = NEEDS(DATA),
		.socket_mode = 0666,
		.oom_score_adj = -900,
		.open_files = 65536,
	},
	[ROW_ZNODE] = {
		.name = "znode",
		.argv = { "/bin/znode" },
		.needs = NEEDS(ZOOID) | NEEDS(DATA) | NEEDS(ZLOG) | NEEDS(ZRUN),
		.flags = SVC_FIRST_DOWN,
		.uid = UID_ZNODE,
		.socket_mode = 0666,
		.oom_score_adj = -800,
		.open_files = 4096,
		.memory_mb = 64,
	},
	[ROW_ZNET] = {
		.name = "znet",
		.argv = { "/bin/znet" },
		.uid = UID_ZNET,
		.socket_mode = 0666,
		.oom_score_adj = -800,
		.open_files = 262144,
	},
	[ROW_ZPULL] = {
		.name = "zpull",
		.argv = { "/bin/zpull" },
		/* node.json says how registries are reached; znode asks. */
		.needs = NEEDS(ZOOID) | NEEDS(DATA) | NEEDS(ZNODE),
		.flags = SVC_UNCOUNTED,
		.uid = UID_ZPULL,
		.socket_mode = 0666,
		.oom_score_adj = -600,
		.open_files = 1024,
		.memory_mb = 96,
	},
	/* After what it reports on; the node is whole without it. */
	[ROW_ZAGENT] = {
		.name = "zagent",
		.argv = { "/bin/zagent" },
		.needs = NEEDS(ZOOID) | NEEDS(DATA) | NEEDS(ZNODE),
		.flags = SVC_UNCOUNTED,
		.uid = UID_ZAGENT,
		.socket_mode = 0666,
		.oom_score_adj = -700,
		.memory_mb = 32,
	},
	[ROW_NET] = {
		.name = "net",
		.argv = { "net" },
		.run = net_main,
		.needs = NEEDS(ZOOID),
		/* Nobody waits for an address at boot. */
		.flags = SVC_KMSG | SVC_UNCOUNTED,
		.oom_score_adj = -700,
		.cpu_weight = 10,
	},
	[ROW_KEEP] = {
		.name = "keep",
		.argv = { "keep" },
		.run = keep_main,
		.needs = NEEDS(DATA) | NEEDS(ZNODE), /* after the rush */
		.flags = SVC_ONCE | SVC_GIVE_UP | SVC_SILENT | SVC_KMSG |
			 SVC_UNCOUNTED,
		.start_ms = 60000,
	},
	[ROW_SWAP] = {
		.name = "swap",
		.argv = { "swap" },
		.run = swap_main,
		.needs = NEEDS(ZNODE), /* after the rush */
		.flags = SVC_ONCE | SVC_GIVE_UP | SVC_SILENT | SVC_KMSG |
			 SVC_UNCOUNTED,
		.start_ms = 60000,
	},
#define CONSOLE(n)                                                             \
	.name = "console-" #n, .argv = { "console", #n }, .run = console_main, \
	.needs = NEEDS(ZOOID), .flags = SVC_ONCE | SVC_SILENT | SVC_UNCOUNTED, \
	.oom_score_adj = -500
	[ROW_CONSOLE_0] = { CONSOLE(0) },
	[ROW_CONSOLE_1] = { CONSOLE(1) },
	[ROW_CONSOLE_2] = { CONSOLE(2) },
};
