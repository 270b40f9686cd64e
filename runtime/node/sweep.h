/* Giving back the space of images that no application names any more. */
#ifndef NODE_SWEEP_H
#define NODE_SWEEP_H

/* To be called after each step of an application. Once the images of all are
 * known, zrun is asked to forget every other one. */
void sweep_consider(void);
/* What is wanted changed, or an instance went: there may be more to forget. */
void sweep_due(void);

#endif
