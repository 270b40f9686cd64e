/* Who has filled a volume, or the disk: nobody is told of that by the kernel
 * but the process that writes, so `zrun serve` is asked every 15 s while an
 * application runs. Said as the other limits are (limits.h), once until
 * there is room again. */
#ifndef NODE_STORAGE_H
#define NODE_STORAGE_H

/* At znode's start. */
void storage_begin(void);

#endif
