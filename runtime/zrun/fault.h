/* One line that says what failed and why. Whoever is nearest to the failure
 * writes it; the program's edge prints it or sends it to the asker. */
#ifndef ZRUN_FAULT_H
#define ZRUN_FAULT_H

struct fault {
	char text[400];
};

/* Keeps "MESSAGE: reason of error" (error: -errno, or 0 when the message says
 * it all) and returns error, or -EINVAL for 0. */
__attribute__((format(printf, 3, 4))) int fault_set(struct fault *fault,
						    int error, const char *fmt,
						    ...);

#endif
