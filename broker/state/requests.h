/* requests.h - the requests that are admitted and not yet answered, and the shadows of some that were audits
 *
 * Bounded by count (shadows apart) and by bytes of kept inputs; everything is allocated by requests_new. An
 * entry keeps its input (a reference to the received frame, not a copy) so that it can be sent again after
 * any worker's death. Ids are unique over the life of a broker and, because the serial starts at random, from
 * one start to the next in all likelihood: an id is serial * slots + slot below the broker's number
 * (request_broker), so finding an entry is one index and one comparison.
 *
 * A heap keeps them by wake_ns (what must be looked at next). Besides, an entry may be in one list: of those
 * that wait to be sent, or of those that a replica of stage 0 has in its queue. Pure: no clock, no socket.
 * One thread.
 */
#ifndef FREEZELINE_REQUESTS_H
#define FREEZELINE_REQUESTS_H

#include "responses.h"
#include "wire/frames.h"

struct request_entry {
    uint64_t id;
    uint64_t client_id; /* the client's own number, echoed */
    struct peer client;
    struct tensor input; /* what `payload` holds; data unused */
    zmq_msg_t payload;
    size_t bytes; /* counted against broker.max_memory_mb */
    uint32_t flags;
    uint32_t attempt;  /* 0 until first sent */
    uint32_t failures; /* attempts that count against broker.retries */
    uint64_t received_ns, deadline_ns;
    uint64_t time_ns;       /* from the client: how long it may take */
    uint64_t sent_ns;       /* of this attempt */
    uint64_t not_before_ns; /* waiting: back-off */
    uint64_t turn_ns;       /* waiting: those with an earlier one are sent first */
    uint32_t loss_allowed; /* its client allows less than others: a level of the caches; 1: no exit answers */
    uint64_t trace_high, trace_low, parent, span; /* as in struct request */
    uint64_t context, stream;                     /* likewise */
    uint64_t broker_ns;                           /* received .. first job sent; 0 until then */
    int n_route;
    uint8_t route[PIPELINE_MAX_STAGES];
    uint16_t used[PIPELINE_MAX_STAGES];  /* bit per replica: was on the route of some attempt */
    uint16_t avoid[PIPELINE_MAX_STAGES]; /* bit per replica: failed this request */
    bool keyed;                          /* its answer may be kept for others */
    struct response_key key;
    struct response_stamp stamp; /* when it came, or when its newest attempt was sent */
    struct response_key repeat;  /* the client's, under which it may come again; 0: none */
    uint64_t follows;  /* the request whose answer is its own too; it has no payload meanwhile; 0: none */
    int followers;     /* how many follow it */
    bool audit;        /* drawn as one, and not over */
    uint64_t ticket;   /* of an audit: its place (audit_line.h) */
    uint64_t original; /* of a shadow: the request that it repeats; 0: it is none */
    uint8_t away;  /* bit per place (relay.h): it is handed on to the pipeline there, and nobody gave up */
    int failed_at; /* 1 + the place of the last that failed it, or could not be asked */
    uint8_t asked; /* bit per place: was handed on to it, and its answer may still come */
    uint32_t handed_on; /* how often */

    /* the table's own */
    int list; /* REQUESTS_UNLISTED or which one */
    uint64_t wake_ns;
    int slot, heap, older, newer;
};

#define REQUESTS_UNLISTED  (-1)
#define REQUESTS_WAITING   0 /* to be sent */
#define REQUESTS_FOLLOWING 1 /* to be answered as another one is */
#define REQUESTS_SHADOWS   2 /* shadows, to be sent */
#define REQUESTS_RELAYED   3 /* handed on to another pipeline */
/* + replica: sent to that replica of stage 0, and still in its queue as far as known */
#define REQUESTS_FIRST 4
#define REQUESTS_LISTS (REQUESTS_FIRST + PIPELINE_MAX_REPLICAS)

struct requests;

/* `seed` is where the serial starts (any number); `broker` is in all ids. FL_NOMEM. */
int requests_new(struct requests **out, int broker, int max_requests, int max_shadows, size_t max_bytes,
                 uint64_t seed);
void requests_free(struct requests *t); /* closes the payloads of what is left */

int requests_count(const struct requests *t); /* admitted ones */
int requests_shadows(const struct requests *t);
/* At most half of the bytes are taken. */
bool requests_roomy(const struct requests *t);
size_t requests_bytes(const struct requests *t);

/* A new entry, zeroed but for its id, with `payload` moved in (left alone on failure) and wake_ns at the end
 * of time. FL_OVERLOADED: too many; FL_TOO_LARGE: too many bytes. */
int requests_add(struct requests *t, zmq_msg_t *payload, struct request_entry **out);
/* A new entry with the input of `of`, which has none from then on, in REQUESTS_SHADOWS. There must be less
 * than max_shadows. */
struct request_entry *requests_shadow(struct requests *t, struct request_entry *of);
/* Whether an id can be that of a request that was answered; pure arithmetic, as nothing is remembered of
 * those. HERE: not answered yet. FUTURE: this table will give it out. FOREIGN: another one's. */
enum requests_when { REQUESTS_PAST, REQUESTS_HERE, REQUESTS_FUTURE, REQUESTS_FOREIGN };
enum requests_when requests_when(struct requests *t, uint64_t id);
struct request_entry *requests_find(struct requests *t, uint64_t id); /* NULL: not here (any more) */
void requests_remove(struct requests *t, struct request_entry *e);
void requests_drop_payload(struct requests *t, struct request_entry *e);
/* From one entry to another that has none. */
void requests_move_payload(struct requests *t, struct request_entry *to, struct request_entry *from);

void requests_wake_at(struct requests *t, struct request_entry *e, uint64_t ns);
uint64_t requests_next_wake(const struct requests *t);                /* UINT64_MAX: nothing */
struct request_entry *requests_due(struct requests *t, uint64_t now); /* the earliest, when it is due */

/* Takes e out of its list, if it is in one; puts it at the end or the beginning of `list`, or in none. */
void requests_append(struct requests *t, struct request_entry *e, int list);
/* Into REQUESTS_WAITING, behind those whose turn comes no later. */
void requests_enqueue(struct requests *t, struct request_entry *e);
/* How many of those that wait would come behind one with this turn. */
int requests_behind(const struct requests *t, uint64_t turn_ns);
void requests_prepend(struct requests *t, struct request_entry *e, int list);
void requests_unlist(struct requests *t, struct request_entry *e);
/* Length, first and next of a list; NULL: no more. */
int requests_listed(const struct requests *t, int list);
struct request_entry *requests_first(struct requests *t, int list);
struct request_entry *requests_next(struct requests *t, const struct request_entry *e);

/* Entry in slot i (0 .. slots - 1) or NULL, to go through all. */
int requests_slots(const struct requests *t);
struct request_entry *requests_slot(struct requests *t, int i);

#endif
