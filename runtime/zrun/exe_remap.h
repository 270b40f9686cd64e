/* Running on from another mount of one's own file. */
#ifndef ZRUN_EXE_REMAP_H
#define ZRUN_EXE_REMAP_H

/* tree: the mount (open_tree(2)); argv as main() got it. /proc/self/exe leads
 * through the mount from here on. 0 or -errno, and it leads where it did; who
 * may not (prctl(2), PR_SET_MM_MAP) executes the file anew instead. */
int exe_remap(int tree, char **argv);

#endif
