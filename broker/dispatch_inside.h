/* dispatch_inside.h - the insides of the brain, for the dispatch_*.c files and their tests alone
 *
 * The files stand here lowest first: each calls only those above it, but dispatch_answer.c, dispatch_choose.c
 * and dispatch_relay.c one another, and dispatch.c calls all of them.
 */
#ifndef FREEZELINE_DISPATCH_INSIDE_H
#define FREEZELINE_DISPATCH_INSIDE_H

#include "broker/choice/choice.h"
#include "broker/state/admission.h"
#include "broker/state/rates.h"
#include "broker/state/audit_line.h"
#include "dispatch.h"
#include "broker/state/registry.h"
#include "broker/state/relay.h"
#include "broker/state/requests.h"
#include "broker/state/responses.h"
#include "broker/state/settings.h"
#include "broker/state/succession.h"
#include "wire/span_log.h"

#define RETRY_TOKENS_MAX 64.0
#define DISPATCH_SPANS   65536 /* of traced requests, of all processes, until a client takes them */

struct counters {
    uint64_t admitted, answered, hits, failed, overloaded, expired, retried, duplicates;
    /* requests turned away, as in struct status_reply */
    uint64_t refused_full, refused_late, refused_rate, refused_draining, refused_unloaded, refused_absent,
        refused_wrong;
    uint64_t known;         /* of those answered: as an earlier request with the same input */
    uint64_t repeated;      /* requests that came again with their key */
    uint64_t cancelled;     /* of those failed: by their clients */
    uint64_t undeliverable; /* answers whose client was gone */
    /* audits: admitted, of these done; and those for which there was no place */
    uint64_t audits_drawn, audits_done, audits_refused;
    uint64_t feedback_taken, feedback_refused; /* true labels */
    uint64_t exit[PIPELINE_MAX_EXITS];
};

/* What a variant has answered, kept until it is known which answer is served. */
struct kept_answer {
    bool here, known;
    int32_t label, exit;
    float confidence;
    uint64_t epoch;
    struct tensor shape;
    zmq_msg_t scores;
};

/* A request's way through the variants. */
struct course {
    bool on;
    uint32_t flags; /* of its jobs, as its client wants them */
    uint32_t code;  /* of the last that failed */
    struct choice_course choice;
    uint64_t asked_ns[CHOICE_MAX];
    struct kept_answer kept[CHOICE_MAX];
};

struct dispatch {
    const struct pipeline *pipeline; /* borrowed */
    struct settings *settings;       /* borrowed, or `own` */
    struct settings own;
    struct dispatch_io io;
    struct hello self; /* what the broker says of itself */
    uint64_t started_ns;

    /* members */
    struct registry *registry;
    uint8_t told_identity[DIGEST_BYTES]; /* of the stages, to the cache services */
    bool was_ready;
    bool cancels; /* some member has collected cancellations */

    /* requests */
    struct requests *requests;
    struct responses *responses; /* NULL: broker.response_cache_mb is 0 */
    struct responses
        *repeats; /* by the keys of requests, should they come again; NULL: there is one broker */
    struct admission admission;
    struct counters counters;
    struct times times; /* of all answers: the request's own first, then the parts of each stage */
    struct span_log spans;
    int room;            /* how many may be sent and unanswered */
    uint64_t attempt_ns; /* an attempt without a result for this long is presumed lost */
    double retry_tokens; /* for retries of what timed out: a share of what is admitted, so that retries can't
                            feed an overload */
    unsigned turn;       /* breaks the router's ties */
    bool blocked;        /* a socket to stage 0 took no more */
    bool full;           /* requests wait for room */
    int most_audits;     /* in `line` */
    uint16_t shadowed;   /* bit per replica of stage 0: a shadow is under way there */
    uint64_t drain_until_ns; /* nothing is admitted before; 0 = not draining */

    struct relay_table relays; /* other pipelines that answer a part of the requests */
    struct choice
        *choice; /* among variants: this pipeline is 0, that in place i is i + 1; NULL: there are none */
    int n_variants;
    uint32_t wanted;       /* mask of those that should be in memory */
    const char *variant;   /* this one's name; NULL: there are no others */
    struct course *course; /* [slots of requests], where there are variants */
    bool ends;             /* what is left gets an error */

    /* true labels: so many may come, as of then */
    double feedback_room;
    uint64_t feedback_ns;

    /* large, and not cleared as a whole */
    struct succession succession; /* members that wait */
    struct rates rates;           /* of clients, by the numbers of their keys */
    struct audit_line line;       /* audits that were drawn and are not told of */
    struct message out;           /* scratch for what is being sent */
};

/* dispatch_tell.c: what members are told. All of these overwrite d->out. */

/* The broker's own hello; `serves`: not one that has to wait. */
void dispatch_welcome(struct dispatch *d, const struct peer *to, bool serves);
void dispatch_send_away(struct dispatch *d, const struct peer *to);
/* A worker that leaves may go once nothing is to pass through it. */
void dispatch_let_go(struct dispatch *d, const struct member *m);
/* The current attempt of e counts no more as outstanding with the workers on its route. */
void dispatch_release_route(struct dispatch *d, struct request_entry *e);
/* The cache service that a stage worker asks, by its own word. */
int dispatch_cache_of(const struct dispatch *d, const struct member *m);
/* Into a heartbeat to a stage worker: at which exits its cache service has caches for it. */
void dispatch_tell_exits(const struct dispatch *d, const struct member *m, struct heartbeat *out);
/* Cache services hear of which identity the stages are, when that has changed. */
void dispatch_tell_identity(struct dispatch *d);
/* Collects a cancellation for every worker of a stage behind `after_stage` that some attempt of e was routed
 * to. */
void dispatch_cancel(struct dispatch *d, const struct request_entry *e, int after_stage);
/* Asks the stages on e's way whether they were told that it is a hit, by cache service `cache` or (-1) by
 * any. */
void dispatch_ask(struct dispatch *d, const struct request_entry *e, int cache);
void dispatch_flush_cancels(struct dispatch *d);
/* Tells every cache service what a sampled or audited request turned out to be (label -1: nothing was
 * learned); of an audit that is over by this, when its turn comes (audit_line.h). `scores` are those of the
 * full answer, with their data; NULL: none. */
void dispatch_tell_outcome(struct dispatch *d, struct request_entry *e, int32_t label, int32_t hit_exit,
                           const struct tensor *scores);
/* It makes sense to hold requests for a stage without a ready worker: one is starting, was there shortly ago,
 * or this broker is so young that living ones have not found it yet. */
bool dispatch_may_recover(const struct dispatch *d, int stage, uint64_t now);
/* If e is an audit, it is given up. */
void dispatch_give_audit_up(struct dispatch *d, struct request_entry *e);

/* dispatch_times.c: an answer's durations; what traced requests met here, and what others say of them */

void dispatch_fill_times(const struct dispatch *d, const struct request_entry *e, const struct result *r,
                         uint64_t came_ns, uint64_t now, struct answer *a);
/* From the worker that answered to here, by the broker's clock; 0: not known. */
uint64_t dispatch_return_ns(const struct request_entry *e, const struct result *r, uint64_t came_ns);
/* The stage surely had the verdict of this hit while it still waited for it, so it has passed nothing on. */
bool dispatch_verdict_in_time(const struct dispatch *d, const struct result *r);
void dispatch_begin_times(struct dispatch *d);
/* Counts how long an answer took; and, of one of these stages, what it says of its time. */
void dispatch_count_total(struct dispatch *d, uint64_t ns);
void dispatch_count_times(struct dispatch *d, const struct answer *a);
void dispatch_note(struct dispatch *d, const struct request_entry *e, enum span_kind kind, uint64_t start_ns,
                   uint64_t end_ns);
void dispatch_keep_spans(struct dispatch *d, const struct spans *s);
void dispatch_hand_over_spans(struct dispatch *d, const struct peer *to);
void dispatch_tell_times(struct dispatch *d, const struct peer *to);

/* dispatch_known.c: requests whose answer is known, or being computed for another with the same input */

/* KNOWN: *out is its answer. UNDER_WAY: it is what *leader gets. NEW: it has to be computed. */
enum response_state dispatch_ask_known(struct dispatch *d, struct request_entry *e, struct response *out,
                                       struct request_entry **leader);
/* It waits to be sent; others may follow it. */
void dispatch_compute(struct dispatch *d, struct request_entry *e);
/* Its next attempt is sent: what serves now decides its answer. */
void dispatch_stamp(const struct dispatch *d, struct request_entry *e);
void dispatch_follow(struct dispatch *d, struct request_entry *e, struct request_entry *leader);
/* The oldest that follows it; the next one `after` such a one; NULL: none. */
struct request_entry *dispatch_follower(struct dispatch *d, const struct request_entry *leader,
                                        const struct request_entry *after);
/* A request that came before under the same key: answered as then, or its client is the one that waits now.
 */
bool dispatch_repeats(struct dispatch *d, const struct peer *from, const struct request *r);
/* e is admitted: it may come again. */
void dispatch_may_repeat(struct dispatch *d, struct request_entry *e, const struct request *r);
/* e was answered with this. */
void dispatch_keep_answer(struct dispatch *d, const struct request_entry *e, const struct response *a);
/* e ends without an answer: the oldest that followed it is computed instead, and the others follow that. */
void dispatch_succeed(struct dispatch *d, struct request_entry *e);

/* The course of e; NULL: it has none. */
struct course *dispatch_course(const struct dispatch *d, const struct request_entry *e);
/* Its answer is sent, or it needs none: the end of its entry. */
void dispatch_finish(struct dispatch *d, struct request_entry *e);

/* dispatch_audit.c: requests of which everything is seen, and their shadows */

/* Sets e's job flags, and whether it is an audit. */
void dispatch_draw(struct dispatch *d, struct request_entry *e, uint32_t asked);
/* e is admitted. */
void dispatch_audit_begins(struct dispatch *d, struct request_entry *e);
/* e was answered, and its outcome told: an audit that is not over by that, but for a hit, gets a shadow. */
void dispatch_audit_answered(struct dispatch *d, struct request_entry *e, uint64_t now);
/* Of a shadow that is sent now; while it waits it cannot be late. */
uint64_t dispatch_shadow_deadline(const struct dispatch *d, uint64_t now);
/* One that was sent comes to nothing: another attempt, as often as of a request (the failures that count). */
void dispatch_shadow_failed(struct dispatch *d, struct request_entry *e, bool counts);
/* The end of a shadow; label -1: it is lost. */
void dispatch_shadow_ended(struct dispatch *d, struct request_entry *e, int32_t label,
                           const struct tensor *scores);
/* Gives up all shadows that wait, for their bytes, and with them all audits that are not told of. False: none
 * waits. */
bool dispatch_shadows_give_way(struct dispatch *d);

/* dispatch_feedback.c: true labels, told after the fact, go to a cache service that learns */

/* A cache service of what the stages serve that keeps what its exits see; NULL: there is none. */
const struct member *dispatch_who_learns(const struct dispatch *d);

void dispatch_feedback(struct dispatch *d, const struct peer *from, const struct feedback *f, uint64_t now);

/* dispatch_doubt.c */

/* FL_PROTOCOL: a result that no honest worker gives for e (NULL: such a request is not here). Where it has
 * passed places that are in the pipeline file, its way is safe as an index. */
int dispatch_doubt(const struct dispatch *d, const struct request_entry *e, const struct result *r,
                   struct error *error);

/* FL_PROTOCOL: an answer of another pipeline that cannot stand for one of this. */
int dispatch_doubt_answer(const struct dispatch *d, const struct answer *a, struct error *error);

/* dispatch_answer.c: how an attempt ends: in an answer, in an error, or in another attempt */

void dispatch_send_answer(struct dispatch *d, const struct peer *to, zmq_msg_t *scores); /* sends d->out */
/* In d->out, with what is known of e. */
struct answer *dispatch_begin_answer(struct dispatch *d, const struct request_entry *e);
/* The one answer of e, and the end of it. `retry_ms`: 0 where load is not to blame. */
void dispatch_answer_error(struct dispatch *d, struct request_entry *e, uint32_t code, const char *text,
                           uint32_t retry_ms, uint64_t now);
/* The answer of an earlier request with the same input is the one answer of e too, and the end of it. */
void dispatch_answer_known(struct dispatch *d, struct request_entry *e, const struct response *known,
                           uint64_t now);
/* The answer of a request that was answered before, to who asks again. */
void dispatch_answer_again(struct dispatch *d, const struct peer *to, uint64_t client_id,
                           const struct response *known);
/* Requests that are in the way of the next one: those that follow others are not, nor are shadows and what
 * was handed on. */
int dispatch_ahead(const struct dispatch *d);
/* In how many ms a client may try again when load was the reason. */
uint32_t dispatch_retry_ms(const struct dispatch *d);
/* Its deadline has passed. */
void dispatch_expire(struct dispatch *d, struct request_entry *e, uint64_t now);
/* The current attempt of e has failed: another one, or an error when broker.retries have. */
void dispatch_retry(struct dispatch *d, struct request_entry *e, uint32_t reason, bool backoff, uint64_t now);
/* The current attempt of e has not failed, but goes another way. */
void dispatch_reroute(struct dispatch *d, struct request_entry *e, uint64_t now);
/* No result of the current attempt for attempt_ns: a message may be lost, or the pipeline is just slow. */
void dispatch_overdue(struct dispatch *d, struct request_entry *e, uint64_t now);
/* A heartbeat says what the worker has taken out of its queue. */
void dispatch_taken(struct dispatch *d, const struct member *m);

/* dispatch_choose.c: which variants are asked, and whose answer is served */

/* Looks which variants should be in memory. */
void dispatch_page(struct dispatch *d, uint64_t now);
/* Another variant than this pipeline takes requests. */
bool dispatch_variant_ready(const struct dispatch *d, uint64_t now);
/* Which ones are to be asked, as a mask whose bit 0 is this pipeline; 0: there is no choice. */
uint32_t dispatch_choose(struct dispatch *d, struct request_entry *e, bool room_here, uint64_t now);
/* e is admitted: asks those of the mask but this pipeline. e may have ended by that. */
void dispatch_ask_variants(struct dispatch *d, struct request_entry *e, uint32_t mask, uint64_t now);
/* This pipeline has a result for e. True: that is not the answer, or not yet. */
bool dispatch_weighs(struct dispatch *d, struct request_entry *e, const struct result *r, zmq_msg_t *scores,
                     float *confidence, uint64_t now);
/* This pipeline has failed e, or its time is over. True: another variant has answered, or is asked. */
bool dispatch_fails_over(struct dispatch *d, struct request_entry *e, uint32_t code, uint64_t now);
/* It is time to look at e: true where nothing more is to be done, as answers that are there are served, or it
 * is too early for anything else. */
bool dispatch_hurries(struct dispatch *d, struct request_entry *e, uint64_t now);
/* The variant in `place` has answered, and that may be passed on. */
void dispatch_variant_answered(struct dispatch *d, struct request_entry *e, int place,
                               const struct answer *its, zmq_msg_t *scores, uint64_t now);
/* It has failed e, with this error. */
void dispatch_variant_failed(struct dispatch *d, struct request_entry *e, int place, uint32_t code,
                             uint64_t now);
/* e is computed here: it is looked at in time to serve what others have answered. */
void dispatch_wake_to_hurry(struct dispatch *d, struct request_entry *e);
void dispatch_end_course(struct dispatch *d, struct request_entry *e);

/* dispatch_relay.c: requests are handed on to other pipelines, and come back */

/* Asks the pipeline in this place. False: it takes nothing now. */
bool dispatch_ask_place(struct dispatch *d, struct request_entry *e, int place, uint64_t now);
/* The answer of the pipeline in this place (-1: this one's own, that was kept) is the one answer of e. */
void dispatch_answer_of(struct dispatch *d, struct request_entry *e, int place, const struct answer *its,
                        zmq_msg_t *scores, uint64_t now);
/* e ends: those that it is with need not answer it. Overwrites d->out. */
void dispatch_call_off(struct dispatch *d, struct request_entry *e);
/* Whoever e is handed on to is late. */
void dispatch_relays_late(struct dispatch *d, struct request_entry *e, uint64_t now);

/* If e is one of those that are, and the other pipeline takes it. */
bool dispatch_hand_on(struct dispatch *d, struct request_entry *e, uint64_t now);
/* e is computed here; if it is one of those that are compared, the other pipeline is asked too. */
void dispatch_mirror(struct dispatch *d, const struct request_entry *e, uint64_t now);
void dispatch_set_relays(struct dispatch *d, const struct relays *r, uint64_t now);
/* Leases, and pairs that wait in vain. Returns when to look again. */
uint64_t dispatch_watch_relays(struct dispatch *d, uint64_t now);

/* dispatch_send.c: attempts go out to stage 0 */

int dispatch_under_way(const struct dispatch *d); /* how many are sent and unanswered */
void dispatch_update_room(struct dispatch *d);
/* Sends what waits, oldest first, until stage 0 or all of them take no more. Returns when to look again. */
uint64_t dispatch_send_waiting(struct dispatch *d, uint64_t now);
/* Sends shadows where nothing is in their way, one to each replica of stage 0. Call after the above; as that.
 */
uint64_t dispatch_send_shadows(struct dispatch *d, uint64_t now);

/* dispatch_admit.c: a request is admitted or refused at once */

void dispatch_request(struct dispatch *d, const struct peer *from, const struct request *r,
                      zmq_msg_t *payload, uint64_t now);

/* dispatch_members.c: members come and go */

/* Members that are silent for too long, or overdue and without a connection: every unanswered request that
 * was to pass through one goes another way. */
void dispatch_find_dead(struct dispatch *d, uint64_t now);
void dispatch_hello(struct dispatch *d, const struct peer *from, const struct hello *h, uint64_t now);
void dispatch_heartbeat(struct dispatch *d, const struct peer *from, const struct heartbeat *h, uint64_t now);

/* dispatch_succession.c: workers of another plan have waited; all move on together when it is time */

void dispatch_move_on(struct dispatch *d, uint64_t now);

#endif
