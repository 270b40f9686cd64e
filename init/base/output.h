/* What a command prints. */
#ifndef BASE_OUTPUT_H
#define BASE_OUTPUT_H

/* At its end: gets it out. 0 or -errno; -EIO where some of it failed before and
 * nobody can tell any more of what. */
int output_flush(void);

#endif
