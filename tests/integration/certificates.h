/* certificates.h - X.509 certificates for tests of TLS, good for an hour at 127.0.0.1 */
#ifndef FREEZELINE_TEST_CERTIFICATES_H
#define FREEZELINE_TEST_CERTIFICATES_H

#include "harness.h"

#include <fcntl.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static inline void write_file(const char *folder, const char *name, const char *ending,
                              const gnutls_datum_t *text)
{
    char path[HARNESS_PATH];
    int fd;
    snprintf(path, sizeof path, "%.400s/%s.%s", folder, name, ending);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text->data, text->size), text->size);
    close(fd);
}

/* FOLDER/NAME.crt and NAME.key; vouched for by `signer`, or by itself (NULL). The two are the caller's then.
 */
static inline void make_certificate(const char *folder, const char *name, const char *role,
                                    gnutls_x509_crt_t signer, gnutls_x509_privkey_t signing,
                                    gnutls_x509_crt_t *crt, gnutls_x509_privkey_t *key)
{
    static const unsigned char loopback[4] = {127, 0, 0, 1};
    static unsigned char serial;
    gnutls_datum_t text;
    serial++;
    assert_int_equal(gnutls_x509_privkey_init(key), 0);
    assert_int_equal(
        gnutls_x509_privkey_generate(*key, GNUTLS_PK_EC, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0),
        0);
    assert_int_equal(gnutls_x509_crt_init(crt), 0);
    gnutls_x509_crt_set_version(*crt, 3);
    gnutls_x509_crt_set_serial(*crt, &serial, 1);
    gnutls_x509_crt_set_activation_time(*crt, time(NULL) - 3600);
    gnutls_x509_crt_set_expiration_time(*crt, time(NULL) + 3600);
    gnutls_x509_crt_set_dn_by_oid(*crt, GNUTLS_OID_X520_COMMON_NAME, 0, name, (unsigned)strlen(name));
    gnutls_x509_crt_set_dn_by_oid(*crt, GNUTLS_OID_X520_ORGANIZATIONAL_UNIT_NAME, 0, role,
                                  (unsigned)strlen(role));
    gnutls_x509_crt_set_subject_alt_name(*crt, GNUTLS_SAN_IPADDRESS, loopback, sizeof loopback,
                                         GNUTLS_FSAN_SET);
    gnutls_x509_crt_set_basic_constraints(*crt, !signer, -1);
    gnutls_x509_crt_set_key(*crt, *key);
    assert_int_equal(
        gnutls_x509_crt_sign2(*crt, signer ? signer : *crt, signing ? signing : *key, GNUTLS_DIG_SHA256, 0),
        0);
    assert_int_equal(gnutls_x509_crt_export2(*crt, GNUTLS_X509_FMT_PEM, &text), 0);
    write_file(folder, name, "crt", &text);
    gnutls_free(text.data);
    assert_int_equal(gnutls_x509_privkey_export2(*key, GNUTLS_X509_FMT_PEM, &text), 0);
    write_file(folder, name, "key", &text);
    gnutls_free(text.data);
}

#endif
