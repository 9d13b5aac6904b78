/* oip_tensor.h - the protocol's element types, and inputs that become what the model takes
 *
 * Pure. All hosts are little-endian here, as the protocol's binary data are.
 */
#ifndef FREEZELINE_OIP_TENSOR_H
#define FREEZELINE_OIP_TENSOR_H

#include "base/error.h"
#include "wire/tensor.h"

/* "FP32" and so on. TENSOR_NONE: no such name; TENSOR_STRING for "BYTES". */
enum tensor_dtype oip_dtype(const char *name);
const char *oip_dtype_name(enum tensor_dtype dtype);

/* Makes `count` elements of one type those of another where no value changes by it. FL_DTYPE: not between
 * these types; FL_VALUE: an element would change. */
int oip_convert(enum tensor_dtype from_type, const void *from, enum tensor_dtype to_type, void *to,
                int64_t count, struct error *e);

#endif
