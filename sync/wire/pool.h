/* Memory of the TLS library's small numbers.
 *
 * Each step of its arithmetic takes and gives back dozens of blocks of a few
 * words. The C library of our programs gives pages back to the kernel as soon
 * as they are empty, so a handshake would map and unmap forty times: a quarter
 * of its CPU. A few free blocks of each small size are kept instead. */
#ifndef WIRE_POOL_H
#define WIRE_POOL_H

/* From now on the library allocates through the pool. What it took before may
 * be freed after. */
void pool_start(void);

#endif
