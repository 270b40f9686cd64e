/* Giving back the space of images that no application names any more. */
#ifndef NODE_SWEEP_H
#define NODE_SWEEP_H

/* To be called after each step of an application. Once the images of all are
 * known, zrun is asked to forget every other one; once in znode's life, for
 * node.json is read once. */
void sweep_consider(void);

#endif
