/*
 * For false warnings of gcc's static analyzer (make analyze): between ANALYZER_OFF and ANALYZER_ON
 * it does not give the named one, and a comment beside them says why that would be false. (gcc 12
 * to 14 lose track of memory that is reached through a pointer to a pointer, and of reallocated
 * arrays.)
 */
#pragma once

#if defined(__GNUC__) && !defined(__clang__)
#define ANALYZER_PRAGMA(text) _Pragma(#text)
#define ANALYZER_OFF(warning)                                                                      \
    ANALYZER_PRAGMA(GCC diagnostic push) ANALYZER_PRAGMA(GCC diagnostic ignored warning)
#define ANALYZER_ON ANALYZER_PRAGMA(GCC diagnostic pop)
#else
#define ANALYZER_OFF(warning)
#define ANALYZER_ON
#endif
