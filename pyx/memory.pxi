# Memory beyond the caches: fetched before it is needed, and written without being read first.

cdef extern from *:
    """
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
    """
    void prefetch "pooling_prefetch" (const void* at) nogil
    void prefetch_to_write "pooling_prefetch_to_write" (const void* at) nogil
    # Copy past the caches; other threads see it after `finish_streams`.
    void stream "pooling_stream" (void* dst, const void* src, ptrdiff_t nbytes) nogil
    void finish_streams "pooling_finish_streams" () nogil


cdef enum:
    # A call that moves more bytes than this finds no more than a share of its data in the last-level cache, which
    # others use as well. Measured where it has 32 MiB: a maximum of 2 x 2 with its indices over 6.4, 12.8 and 25.7 MB
    # took 0.39, 2.6 and 5.2 ms of one thread, and with streamed indices 0.42, 0.9 and 3.4.
    CACHED_BYTES = 16_000_000
    # Results of windows that slide row by row are streamed from here on: they are read again sooner than indices are.
    # 3 x 3 over 2 x 8.3 MB took 0.30 ms of two threads and streamed 0.55; over 2 x 25 MB 2.2 and 2.1, and of one thread
    # 4.7 and 3.9.
    CACHED_RESULT_BYTES = 32_000_000


cdef inline void fetch_ahead(const char* src, ptrdiff_t nbytes) noexcept nogil:
    """Have memory that will be read soon brought nearer; none of it need exist."""
    cdef ptrdiff_t at
    for at in range(0, nbytes, 64):
        prefetch(src + at)


cdef inline void fetch_to_write(const char* dst, ptrdiff_t nbytes) noexcept nogil:
    """Have memory that will be written soon brought nearer."""
    cdef ptrdiff_t at
    for at in range(0, nbytes + 63, 64):
        prefetch_to_write(dst + min(at, nbytes - 1))
