/*
 * Where gcc's static analyzer (make analyze) is wrong: between ANALYZER_OFF and ANALYZER_ON it does
 * not give the warning that is named, and a comment beside them says why it would be no true one.
 * gcc 12 to 14, that is: it loses what is reached through a pointer to a pointer, and an array that
 * was reallocated.
 */
#ifndef COMMON_ANALYZER_H
#define COMMON_ANALYZER_H

#if defined(__GNUC__) && !defined(__clang__)
#define ANALYZER_PRAGMA(text) _Pragma(#text)
#define ANALYZER_OFF(warning)                                                                      \
    ANALYZER_PRAGMA(GCC diagnostic push) ANALYZER_PRAGMA(GCC diagnostic ignored warning)
#define ANALYZER_ON ANALYZER_PRAGMA(GCC diagnostic pop)
#else
#define ANALYZER_OFF(warning)
#define ANALYZER_ON
#endif

#endif
