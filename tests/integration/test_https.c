/* test_https.c - HTTPS: the protocol's suite through TLS with a token, who may ask what, and the rate of each
 * client */
#include "certificates.h"
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PYTHON "/usr/bin/python3"

static void make_certificates(const char *keys)
{
    gnutls_x509_crt_t own, other;
    gnutls_x509_privkey_t key, other_key;
    gnutls_datum_t text;
    make_certificate(keys, "http", "server", NULL, NULL, &own, &key);
    assert_int_equal(gnutls_x509_crt_export2(own, GNUTLS_X509_FMT_PEM, &text), 0);
    write_file(keys, "http-clients", "crt", &text);
    gnutls_free(text.data);
    make_certificate(keys, "carol", "client", own, key, &other, &other_key);
    gnutls_x509_crt_deinit(other);
    gnutls_x509_privkey_deinit(other_key);
    make_certificate(keys, "strange", "operator", NULL, NULL, &other, &other_key);
    gnutls_x509_crt_deinit(other);
    gnutls_x509_privkey_deinit(other_key);
    gnutls_x509_crt_deinit(own);
    gnutls_x509_privkey_deinit(key);
}

static const char *build(void)
{
    return getenv("FREEZELINE_BUILD") ? getenv("FREEZELINE_BUILD") : "build/release";
}

/* What a command says, without the end of its line; it has to succeed. */
static void say(char *out, size_t size, const char *command)
{
    FILE *f = popen(command, "r");
    assert_non_null(f);
    out[fread(out, 1, size - 1, f)] = '\0';
    if (pclose(f))
        fail_msg("%s: %s", command, out);
    out[strcspn(out, "\n")] = '\0';
}

static void make_token(const struct harness *h, char token[64], const char *who)
{
    char line[3 * HARNESS_PATH];
    snprintf(line, sizeof line, "%.400s/freezeline keys token %s --days 2 -c %.400s 2>/dev/null", build(),
             who, harness_config(h));
    say(token, 64, line);
    assert_int_equal(strncmp(token, "fz_", 3), 0);
}

static struct harness *world(const char *yaml, char keys[HARNESS_PATH], char client[64], char operator[64])
{
    struct harness *h = harness_new(NULL, yaml);
    make_token(h, client, "alice");
    make_token(h, operator, "opa --role operator");
    snprintf(keys, HARNESS_PATH, "%s", harness_pipeline(h)->keys);
    make_certificates(keys);
    return h;
}

static void find_url(struct harness *h, int broker, char url[64])
{
    char line[1024];
    FILE *f = fopen(harness_log(h, broker), "re");
    harness_expect(h, broker, "HTTP (Open", 1);
    assert_non_null(f);
    *url = '\0';
    while (!*url && fgets(line, sizeof line, f))
        if (strstr(line, "https://127.0.0.1:"))
            snprintf(url, 64, "%.*s", (int)strcspn(strstr(line, "https://") + 8, "/") + 8,
                     strstr(line, "https://"));
    fclose(f);
    assert_int_not_equal(*url, '\0');
}

static void the_suite_passes_and_others_are_refused(void **state)
{
    struct harness *h;
    char keys[HARNESS_PATH], client[64], operator[64], url[64], line[8 * HARNESS_PATH], output[16384];
    (void)state;
    if (access(PYTHON, X_OK))
        skip();
    h = world("stages: 1\nexits: none\nbroker: {http: '127.0.0.1:0', http_tls: true}\nlabels: [a, b, c, d, "
              "e, f, g, h, i, j]\n",
              keys, client, operator);
    find_url(h, harness_pipeline_up(h), url);
    snprintf(
        line, sizeof line,
        PYTHON
        " tests/conformance/oip/suite.py %s tiny --freezeline --control --ca %s/http.crt --token %s 2>&1 | "
        "tail -n 20; true",
        url, keys, operator);
    say(output, sizeof output, line);
    assert_non_null(strstr(output, " 0 failed"));
    snprintf(line, sizeof line,
             PYTHON
             " tests/integration/https.py %s %s %s %s '%.400s/freezeline keys revoke alice -c %.400s' 2>&1",
             url, keys, client, operator, build(), harness_config(h));
    say(output, sizeof output, line);
    harness_free(h);
}

/* Without its files, the broker says what is due. */
static void nothing_starts_without_a_certificate(void **state)
{
    struct harness *h =
        harness_new(NULL, "stages: 1\nexits: none\nbroker: {http: '127.0.0.1:0', http_tls: true}\n");
    char token[64], path[HARNESS_PATH];
    int broker;
    (void)state;
    make_token(h, token, "alice");
    broker = harness_spawn(h, "freezeline-broker", NULL);
    assert_int_not_equal(harness_wait(h, broker), 0);
    assert_int_equal(harness_count(h, broker, "http.crt: No such file"), 1);
    make_certificates(harness_pipeline(h)->keys);
    snprintf(path, sizeof path, "%.400s/http.key", harness_pipeline(h)->keys);
    assert_int_equal(chmod(path, 0644), 0);
    broker = harness_spawn(h, "freezeline-broker", NULL);
    assert_int_not_equal(harness_wait(h, broker), 0);
    assert_int_equal(harness_count(h, broker, "chmod 600"), 1);
    harness_free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_suite_passes_and_others_are_refused),
        cmocka_unit_test(nothing_starts_without_a_certificate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
