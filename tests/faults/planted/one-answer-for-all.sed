# Two inputs with the same shape count as the same.
# file: broker/state/responses.c
s/h = XXH3_128bits_withSecret(bytes, size, /h = XXH3_128bits_withSecret(bytes, 0 * size, /
