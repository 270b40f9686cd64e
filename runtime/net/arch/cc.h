/* What lwIP wants to know of the compiler and the platform. */
#ifndef NET_ARCH_CC_H
#define NET_ARCH_CC_H

#include <stdlib.h>

#define LWIP_NO_UNISTD_H      1
#define LWIP_TIMEVAL_PRIVATE  0
#define LWIP_ERRNO_STDINCLUDE 1

/* An assertion that fails means that the state is not what it should be, and
 * a container chose the bytes that led there: end here and now; init starts
 * another znet. */
#define LWIP_PLATFORM_DIAG(x)	   ((void)0)
#define LWIP_PLATFORM_ASSERT(text) abort()

#endif
