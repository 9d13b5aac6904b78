/* error.h - the one list of errors, the same in C, on the wire and in exit codes
 *
 * Functions that can fail return an `int`: FL_OK (0) or one of enum fl_code. Those that can say more also
 * take a `struct error *` (NULL is fine) and fill it on failure. Libraries return errors; they never log and
 * never exit.
 */
#ifndef FREEZELINE_ERROR_H
#define FREEZELINE_ERROR_H

/* X(enum suffix, wire name, sentence). The order is the wire's: add at the end, never reorder. */
#define FL_ERRORS(X)                                                                         \
    X(OK, "ok", "no error")                                                                  \
    X(NOMEM, "no-memory", "out of memory")                                                   \
    X(IO, "io", "reading or writing failed")                                                 \
    X(USAGE, "usage", "the command line is wrong")                                           \
    X(CONFIG, "config", "the pipeline file is wrong")                                        \
    X(MODEL, "model", "the model file is wrong")                                             \
    X(UNSUPPORTED, "unsupported", "the model needs something that this build does not have") \
    X(SHAPE, "shape", "a tensor has the wrong shape")                                        \
    X(DTYPE, "dtype", "a tensor has the wrong element type")                                 \
    X(VALUE, "value", "a value is out of range or not a number")                             \
    X(PROTOCOL, "protocol", "a message does not follow the protocol")                        \
    X(TOO_LARGE, "too-large", "a message or file is larger than the limit")                  \
    X(OVERLOADED, "overloaded", "too many requests are in flight")                           \
    X(DEADLINE, "deadline", "no answer before the deadline")                                 \
    X(UNAVAILABLE, "unavailable", "a process that is needed is not there")                   \
    X(CANCELLED, "cancelled", "the request was cancelled")                                   \
    X(STALE, "stale", "made by another model, epoch or version")                             \
    X(CORRUPT, "corrupt", "a checksum or structure does not match")                          \
    X(NOT_FOUND, "not-found", "no such file, layer, exit or process")                        \
    X(AGAIN, "again", "nothing there yet")                                                   \
    X(INTERNAL, "internal", "a bug in freezeline")                                           \
    X(DENIED, "denied", "the key does not allow it")

#define ERROR_TEXT_BYTES 512

enum fl_code {
#define X(name, wire, text) FL_##name,
    FL_ERRORS(X)
#undef X
        FL_CODES
};

/* What went wrong, in one line that says what to do. `code` is FL_OK while nothing did. */
struct error {
    enum fl_code code;
    char text[ERROR_TEXT_BYTES];
};

/* Fills *e (may be NULL) and returns `code`, so that a function can `return error_set(...)`. */
int error_set(struct error *e, enum fl_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "context: " before the text of *e (may be NULL); returns e's code, or `code` when e is NULL. */
int error_wrap(struct error *e, enum fl_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The wire name ("deadline") and the sentence of a code; a number that is no code gives "unknown". */
const char *error_name(int code);
const char *error_sentence(int code);

/* Process exit status: 0 for FL_OK, 2 for FL_USAGE and FL_CONFIG, 1 otherwise. */
int error_exit_status(int code);

#endif
