/* oip_numbers.c - digits to numbers
 *
 * A decimal that is short enough is an integer of 64 bits times or by a power of ten. Up to 10^27 both are
 * exact as long doubles, and one multiplication or division and one rounding give the float. What is left,
 * and float64, goes to strtod. Every loop ends at the array's last `]`.
 */
#include "oip_numbers.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define MOST_DEPTH    16
#define MOST_DIGITS   19
#define TOKEN_BYTES   128 /* the longest number */
#define EXACT_TENS    27
#define MOST_EXPONENT 9999

struct number {
    bool negative, whole; /* whole: no fraction, no exponent */
    uint64_t digits;      /* the number is digits * 10^tens, .. */
    int tens;
    bool cut; /* .. unless it has more digits than that */
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static const char *skip_space(const char *at)
{
    while (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t')
        at++;
    return at;
}

/* Appends digits; those for which there is no room are left out. Counts into *n, without leading zeroes. */
static const char *read_digits(const char *at, struct number *to, int *n, bool fraction)
{
    for (; is_digit(*at); at++) {
        uint64_t digit = (uint64_t)(*at - '0');
        if (*n >= MOST_DIGITS && (to->cut || to->digits > (UINT64_MAX - digit) / 10)) {
            to->cut = true;
            continue;
        }
        to->digits = to->digits * 10 + digit;
        *n += to->digits != 0;
        to->tens -= fraction;
    }
    return at;
}

static const char *read_exponent(const char *at, struct number *to)
{
    bool down = *at == '-';
    int n = 0;
    at += *at == '-' || *at == '+';
    if (!is_digit(*at))
        return NULL;
    for (; is_digit(*at); at++)
        n = n < MOST_EXPONENT ? n * 10 + (*at - '0') : n;
    to->tens += down ? -n : n;
    return at;
}

/* What follows the number; NULL: it is none. */
static const char *read_number(const char *at, struct number *to)
{
    int n = 0;
    *to = (struct number){.negative = *at == '-', .whole = true};
    at += to->negative;
    if (!is_digit(*at) || (*at == '0' && is_digit(at[1])))
        return NULL;
    at = read_digits(at, to, &n, false);
    if (*at == '.') {
        to->whole = false;
        if (!is_digit(*++at))
            return NULL;
        at = read_digits(at, to, &n, true);
    }
    if (*at == 'e' || *at == 'E') {
        to->whole = false;
        at = read_exponent(at + 1, to);
    }
    return at;
}

/* The float nearest to it, where the number is a whole one of 64 bits times or by a power of ten that long
 * doubles hold. NAN: it is another. */
static float short_value(const struct number *x)
{
    static const long double ten[EXACT_TENS + 1] = {
        1e0L,  1e1L,  1e2L,  1e3L,  1e4L,  1e5L,  1e6L,  1e7L,  1e8L,  1e9L,  1e10L, 1e11L, 1e12L, 1e13L,
        1e14L, 1e15L, 1e16L, 1e17L, 1e18L, 1e19L, 1e20L, 1e21L, 1e22L, 1e23L, 1e24L, 1e25L, 1e26L, 1e27L};
    long double value = (long double)x->digits;
    if (x->cut || x->tens < -EXACT_TENS || x->tens > EXACT_TENS)
        return NAN;
    value = x->tens < 0 ? value / ten[-x->tens] : value * ten[x->tens];
    return (float)(x->negative ? -value : value);
}

/* NAN: too long to look at. */
static double any_value(const char *token, size_t size)
{
    char copy[TOKEN_BYTES];
    if (size >= sizeof copy)
        return NAN;
    memcpy(copy, token, size);
    copy[size] = '\0';
    return strtod(copy, NULL);
}

/* Element i of `to` becomes the token, which is a number. False: `dtype` can't hold it. */
static bool store_real(enum tensor_dtype dtype, const struct number *x, const char *token, size_t size,
                       void *to, int64_t i)
{
    float *f = (float *)to + i;
    if (dtype == TENSOR_F64) {
        ((double *)to)[i] = any_value(token, size);
        return isfinite(((double *)to)[i]);
    }
    *f = short_value(x);
    if (isnan(*f))
        *f = (float)any_value(token, size);
    return isfinite(*f);
}

static bool store_whole(enum tensor_dtype dtype, const struct number *x, void *to, int64_t i)
{
    uint64_t n = x->digits;
    int64_t value = x->negative ? (int64_t)(0 - n) : (int64_t)n;
    if (!x->whole || x->cut)
        return false;
    if (dtype == TENSOR_U64) {
        ((uint64_t *)to)[i] = n;
        return !x->negative || !n;
    }
    if (x->negative ? n > (uint64_t)INT64_MAX + 1 : n > INT64_MAX)
        return false;
#define STORE(DTYPE, type, low, high)                 \
    case DTYPE:                                       \
        if (value < (low) || value > (int64_t)(high)) \
            return false;                             \
        ((type *)to)[i] = (type)value;                \
        return true;
    switch (dtype) {
        STORE(TENSOR_U8, uint8_t, 0, UINT8_MAX)
        STORE(TENSOR_I8, int8_t, INT8_MIN, INT8_MAX)
        STORE(TENSOR_U16, uint16_t, 0, UINT16_MAX)
        STORE(TENSOR_I16, int16_t, INT16_MIN, INT16_MAX)
        STORE(TENSOR_I32, int32_t, INT32_MIN, INT32_MAX)
        STORE(TENSOR_U32, uint32_t, 0, UINT32_MAX)
        STORE(TENSOR_I64, int64_t, INT64_MIN, INT64_MAX)
        STORE(TENSOR_BOOL, uint8_t, 0, 1)
    default:
        return false;
    }
#undef STORE
}

/* Reads one element at `at`; what follows it, or NULL. */
static const char *read_element(const char *at, enum tensor_dtype dtype, void *to, int64_t i)
{
    const char *after;
    struct number x;
    bool ok;
    if (dtype == TENSOR_BOOL && (*at == 't' || *at == 'f')) {
        ((uint8_t *)to)[i] = *at == 't';
        return !strncmp(at, "true", 4) ? at + 4 : !strncmp(at, "false", 5) ? at + 5 : NULL;
    }
    if (!(after = read_number(at, &x)))
        return NULL;
    ok = dtype == TENSOR_F32 || dtype == TENSOR_F64 ? store_real(dtype, &x, at, (size_t)(after - at), to, i)
                                                    : store_whole(dtype, &x, to, i);
    return ok ? after : NULL;
}

static int wrong(const char *at, const char *end, enum tensor_dtype dtype, int64_t i, struct error *e)
{
    int n = 0;
    while (n < 24 && at + n < end && at[n] > ' ' && at[n] < 0x7f && at[n] != ',' && at[n] != ']')
        n++;
    return error_set(e, FL_VALUE, "element %lld of `data`, `%.*s`, is no %s number in JSON", (long long)i, n,
                     at, tensor_dtype_name(dtype));
}

int oip_numbers_read(const char *text, size_t size, enum tensor_dtype dtype, int64_t count, void *to,
                     struct error *e)
{
    const char *at = text, *end = text + size, *after;
    bool value_next = true, may_close = false; /* may_close: `[` came just before */
    int depth = 0;
    int64_t n = 0;

    if (!tensor_dtype_travels(dtype) || dtype == TENSOR_F16)
        return error_set(e, FL_DTYPE, "%s has no form in JSON: send it as binary data",
                         tensor_dtype_name(dtype));
    while ((at = skip_space(at)) < end) {
        if (*at == '[' && value_next && depth < MOST_DEPTH) {
            depth++;
            may_close = true;
            at++;
        } else if (*at == ']' && (!value_next || may_close)) {
            if (!--depth)
                break;
            value_next = may_close = false;
            at++;
        } else if (*at == ',' && !value_next) {
            value_next = true;
            at++;
        } else if (value_next && n < count) {
            if (!(after = read_element(at, dtype, to, n)))
                return wrong(at, end, dtype, n, e);
            at = after;
            n++;
            value_next = may_close = false;
        } else if (value_next && n == count) {
            return error_set(e, FL_VALUE, "`data` has more than the %lld elements of `shape`",
                             (long long)count);
        } else {
            return wrong(at, end, dtype, n, e);
        }
    }
    if (depth || at + 1 != end)
        return error_set(e, FL_VALUE, "`data` is no array of numbers");
    if (n != count)
        return error_set(e, FL_VALUE, "`data` has %lld elements, `shape` %lld", (long long)n,
                         (long long)count);
    return FL_OK;
}
