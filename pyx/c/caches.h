/* The size of the last-level cache that this processor reports: on x86 by cpuid, which each operating system passes on and
   which tells the part of it that the processor shares, where glibc's sysconf gives the sum over a whole package. */
#ifndef POOLING_CACHES_H
#define POOLING_CACHES_H

#include <stddef.h>
#include "cpu.h"

#if defined(__APPLE__)
    #include <sys/sysctl.h>
#elif defined(__linux__)
    #include <stdio.h>
#endif

#if defined(__x86_64__) && defined(__GNUC__)
    /* "Deterministic cache parameters": a leaf of Intel's, and the same one of AMD's. */
    static ptrdiff_t pooling_reported_by(unsigned int leaf) {
        unsigned int a, b, c, d, index;
        ptrdiff_t largest = 0, bytes;
        for (index = 0; index < 8; index++) {
            if (!__get_cpuid_count(leaf, index, &a, &b, &c, &d) || (a & 31) == 0) break;
            if ((a & 31) == 2) continue; /* of instructions */
            bytes = (ptrdiff_t)((b >> 22) + 1) * (((b >> 12) & 1023) + 1) * ((b & 4095) + 1) * ((ptrdiff_t)c + 1);
            if (bytes > largest) largest = bytes;
        }
        return largest;
    }
    static ptrdiff_t pooling_reported_cache(void) {
        const ptrdiff_t intel = pooling_reported_by(4), amd = pooling_reported_by(0x8000001D);
        return amd > intel ? amd : intel;
    }
#elif defined(__APPLE__)
    static ptrdiff_t pooling_reported_cache(void) {
        long long bytes = 0;
        size_t size = sizeof bytes;
        return sysctlbyname("hw.perflevel0.l2cachesize", &bytes, &size, NULL, 0) ? 0 : (ptrdiff_t)bytes;
    }
#elif defined(__linux__)
    static ptrdiff_t pooling_reported_cache(void) {
        ptrdiff_t largest = 0;
        int index;
        for (index = 0; index < 8; index++) {
            char path[64];
            long kibibytes;
            FILE* file;
            snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/size", index);
            file = fopen(path, "r");
            if (file == NULL) break;
            if (fscanf(file, "%ldK", &kibibytes) == 1 && kibibytes > largest >> 10) largest = (ptrdiff_t)kibibytes << 10;
            fclose(file);
        }
        return largest;
    }
#else
    #define pooling_reported_cache() 0
#endif

#endif
