/* message_fields.h - the fields that both halves of the codec copy as they are
 *
 * X-macros, one list per struct of message.h. Fields that are checked while decoding, texts, digests, lists
 * and tensors are not in it: message_encode.c and message_decode.c name those themselves.
 */
#ifndef FREEZELINE_MESSAGE_FIELDS_H
#define FREEZELINE_MESSAGE_FIELDS_H

/* Copies the fields of a list from *from to *to, which are in scope. */
#define COPY_FIELDS(LIST) LIST(COPY_FIELD_)
#define COPY_FIELD_(name) to->name = from->name;

/* clang-format off */

#define STAGE_TIME_FIELDS(X) \
    X(stage) X(replica) X(batch) X(wire_ns) X(queue_ns) X(compute_ns) X(lookup_ns) X(serialise_ns) \
    X(hidden_ns)
#define REQUEST_FIELDS(X) X(id) X(deadline_ms) X(flags) X(sent_ns) X(clock) X(key_low) X(key_high) \
    X(priority) X(loss_allowed) X(trace_high) X(trace_low) X(parent) X(span) \
    X(context) X(stream)
#define ANSWER_FIELDS(X) \
    X(id) X(epoch) X(attempts) X(lookup_wire_ns) X(lookup_queue_ns) X(lookup_ns) X(return_ns) \
    X(broker_ns) X(total_ns) X(clock_error_ns) X(request) X(retry_after_ms) X(known) \
    X(loss_promised)
#define JOB_FIELDS(X) \
    X(request) X(attempt) X(flags) X(deadline_ns) X(sent_ns) X(plan) X(loss_allowed) X(stream)
#define LOOKUP_FIELDS(X) X(exit) X(sequence) X(sent_ns) X(dim) X(origin) X(told) X(answered) X(hits)
#define LOOKUP_ITEM_FIELDS(X) X(request) X(attempt) X(flags) X(deadline_ns) X(loss_allowed) X(stream)
#define VERDICT_FIELDS(X) X(exit) X(sequence) X(epoch) X(lookup_ns) X(absent)
#define VERDICT_ITEM_FIELDS(X) X(request) X(attempt) X(hit)
#define RESULT_FIELDS(X) \
    X(request) X(attempt) X(epoch) X(lookup_wire_ns) X(lookup_queue_ns) X(lookup_ns) X(sent_ns)
#define HELLO_FIELDS(X) X(stage) X(replica) X(incarnation) X(pid) X(ready) X(leaving) X(layers) X(asks)
#define TALLY_FIELDS(X) X(lookups) X(hits) X(audit_hits) X(audit_right)
#define LEARNING_FIELDS(X) X(state) X(accepted) X(rejected)
#define HEARTBEAT_FIELDS(X) \
    X(incarnation) X(worker_ns) X(broker_ns) X(jobs) X(lookups) X(hits) X(batches) X(dropped) \
    X(resident_bytes) X(epoch) X(queued) X(redis_up) X(cache_open) X(clock_error_ns) X(caches) X(exits) \
    X(exits_told) X(taken) X(batch) X(busy) X(waiting) X(idle) X(learns) X(audit_ppm) \
    X(others) X(brokers) X(ready) X(shared_bytes) X(cpu_ms)
#define EPOCH_FIELDS(X) \
    X(state) X(teaching) X(frozen) X(serial) X(age_ms) X(candidate) X(judged) X(needed) X(audits) X(differ) \
    X(lost) X(won) X(lower) X(upper) X(alarm) X(lag_ms) X(kept)
#define OUTCOME_FIELDS(X) X(request) X(audit) X(original)
#define DRAIN_FIELDS(X) X(lease_ms) X(undo)
#define RELAY_FIELDS(X) X(share_ppm) X(mirror_ppm)
#define RELAY_STATUS_FIELDS(X) \
    X(share_ppm) X(mirror_ppm) X(outstanding) X(sent) X(turned) X(failed) X(failed_both) X(answered) \
    X(early) X(answered_ns) X(pairs) X(failed_now) X(failed_next) X(both) X(agreed) X(timed) X(slower)
#define PROCESS_FIELDS(X) X(stage) X(replica) X(pid) X(incarnation) X(age_ns) X(outstanding) X(layers)
#define STATUS_FIELDS(X) \
    X(ready) X(draining) X(admitted) X(answered) X(hits) X(failed) X(overloaded) X(expired) X(retried) \
    X(duplicates) X(in_flight) X(waiting) X(room) X(gap_ns) X(started_ns) X(now_ns) X(pid) X(known) \
    X(response_bytes) X(audits_drawn) X(audits_done) X(audits_dropped) X(feedback_taken) \
    X(feedback_refused) X(broker) X(brokers) X(repeated) X(cancelled) X(refused_full) X(refused_late) \
    X(refused_rate) X(refused_draining) X(refused_absent) X(refused_wrong) X(unloaded) X(refused_unloaded)
#define FEEDBACK_FIELDS(X) X(sequence) X(taken) X(early) X(foreign) X(wrong) X(later) X(error)
#define SPAN_FIELDS(X) \
    X(request) X(attempt) X(kind) X(stage) X(replica) X(start_ns) X(end_ns) X(trace_high) X(trace_low) \
    X(parent) X(span)

/* clang-format on */

#endif
