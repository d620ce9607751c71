/* The name of the level that a kernel module is compiled for; setup.py gives it. */
#ifndef POOLING_LEVEL
    #define POOLING_LEVEL "unknown"
#endif
