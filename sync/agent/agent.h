/* zagent: the one connection of a node to its hub. What its parts share.
 *
 *	identity	who this node is, and /data/identity
 *	clock		what time it is, by the hub's signature
 *	link		the connection: dials, beats, comes back
 *	watch		the watch stream on it: documents, asks
 *	node		znode: hands documents over, tells what runs
 *	observe		tells the hub what runs
 *	logs		answers an ask for logs
 *	server		zagent.sock: status, tokens for zpull
 *
 * A hub that is away, wrong or mad costs a node nothing but news: nothing here
 * stops or changes a container, znode alone does, by documents whose signature
 * it checks itself. */
#ifndef AGENT_AGENT_H
#define AGENT_AGENT_H

#include "base/enrol_token.h"
#include "base/loop.h"

struct agent {
	struct loop loop;
	bool has_hub;	/* there is one to dial */
	bool has_token; /* node.json could be read and has it */
	struct enrol_token token;
	char name[64];	      /* that the node would like; "" */
	uint16_t heartbeat_s; /* of node.json; 0: by the path */
};

extern struct agent agent;

#endif
