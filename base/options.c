/* SPDX-License-Identifier: MIT */
#include "base/options.h"

#include <vivero/error.h>
#include <vivero/send.h>

#include "base/check.h"

#include <stdbool.h>
#include <string.h>

VV_NO_TAIL_PADDING(struct vivero_send, tag);

static bool all_zero(const unsigned char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (bytes[i] != 0) {
            return false;
        }
    }
    return true;
}

int vv_options_copy(void *to, size_t to_size, const void *from)
{
    size_t from_size = to_size;

    VV_ASSERT(to_size >= sizeof(size_t));
    memset(to, 0, to_size);
    if (from != NULL) {
        memcpy(&from_size, from, sizeof(from_size));
        if (from_size < sizeof(from_size)) {
            return VIVERO_E_INVALID;
        }
        if (from_size > to_size &&
            !all_zero((const unsigned char *)from + to_size,
                      from_size - to_size)) {
            return VIVERO_E_INVALID;
        }
        memcpy(to, from, from_size < to_size ? from_size : to_size);
    }
    memcpy(to, &to_size, sizeof(to_size));
    return VIVERO_OK;
}

void vivero_send_init(struct vivero_send *send)
{
    memset(send, 0, sizeof(*send));
    send->size = sizeof(*send);
}
