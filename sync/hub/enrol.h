/* How nodes come to this hub. */
#ifndef HUB_ENROL_H
#define HUB_ENROL_H

#include "node.h"

/* The node that a good certificate names. One that this hub issued but does not
 * know, since its store is older, is known again from here on. NULL: out of
 * memory. */
struct node *node_adopt(struct hub *hub, const struct tls_peer *peer);

#endif
