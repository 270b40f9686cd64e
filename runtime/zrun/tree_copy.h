/* Copies what one file system holds, with owners, modes, times, links and
 * devices. */
#ifndef ZRUN_TREE_COPY_H
#define ZRUN_TREE_COPY_H

/* Fills the directory `to`, which is empty, with what the directory `from`
 * holds, and gives it its owner, mode and times; a directory on which another
 * file system is mounted comes out empty. 0 or -errno, half done then. */
int tree_copy(int from, int to);

#endif
