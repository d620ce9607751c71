# Memory beyond the caches: fetched before it is needed, and written without being read first.

cdef extern from "c/stream.h":
    void prefetch "pooling_prefetch" (const void* at) nogil
    void prefetch_to_write "pooling_prefetch_to_write" (const void* at) nogil
    # Copy past the caches; other threads see it after `finish_streams`.
    void stream "pooling_stream" (void* dst, const void* src, ptrdiff_t nbytes) nogil
    void finish_streams "pooling_finish_streams" () nogil


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
