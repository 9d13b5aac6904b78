/* key_rotation.h - new keys for all roles, or all of one host, while requests are answered
 *
 * A process has one key at a time, and whoever connects must know beforehand by which key the other end
 * proves itself. So a rotation takes three steps, and what step is due follows from the files:
 *
 *   1  ROLE.next.key is made for each role, and `allowed` names both. A rolling restart: now all try both
 * keys. 2  ROLE.key becomes ROLE.old.key, ROLE.next.key becomes ROLE.key. A rolling restart: now all have the
 * new ones. 3  the old ones leave `allowed` and the disk. No restart.
 *
 * Keys that were given away name the broker's key: they need a second `broker:` line before step 2.
 */
#ifndef FREEZELINE_KEY_ROTATION_H
#define FREEZELINE_KEY_ROTATION_H

#include "keys/allow_list.h"

enum rotation_step { ROTATION_NONE, ROTATION_MADE, ROTATION_CHANGED };

/* Which step was the last. */
enum rotation_step key_rotation_step(const char *directory);
const char *key_rotation_word(enum rotation_step s);

/* Takes the next step, of the keys of `host` alone unless that is NULL; `text` becomes a sentence that says
 * what is due then. A step that was cut short is taken again from its beginning. */
int key_rotation_turn(const char *directory, const char *host, struct allow_list *list, char *text,
                      size_t size, struct error *e);

#endif
