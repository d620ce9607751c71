/* Memory beyond the caches: fetched before it is needed, and written without being read first. */
#ifndef POOLING_STREAM_H
#define POOLING_STREAM_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__GNUC__)
    #define pooling_prefetch(at) __builtin_prefetch(at, 0, 2)
    #define pooling_prefetch_to_write(at) __builtin_prefetch(at, 1)
#else
    #define pooling_prefetch(at) ((void) (at))
    #define pooling_prefetch_to_write(at) ((void) (at))
#endif

#if defined(__SSE2__)
    #include <emmintrin.h>

    static void pooling_stream(void* to, const void* from, ptrdiff_t n) {
        char* dst = (char*) to;
        const char* src = (const char*) from;
        ptrdiff_t head = (16 - (ptrdiff_t) ((size_t) dst & 15)) & 15;
        if (n < 64) {
            memcpy(dst, src, (size_t) n);
            return;
        }
        memcpy(dst, src, (size_t) head);
        dst += head;
        src += head;
        for (n -= head; n >= 16; n -= 16, dst += 16, src += 16)
            _mm_stream_si128((__m128i*) dst, _mm_loadu_si128((const __m128i*) src));
        memcpy(dst, src, (size_t) n);
    }
    #define pooling_finish_streams() _mm_sfence()
#else
    #define pooling_stream(dst, src, n) memcpy(dst, src, (size_t) (n))
    #define pooling_finish_streams() ((void) 0)
#endif

#endif
