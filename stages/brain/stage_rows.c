/* stage_rows.c - a stack of free rows, rings of waiting ones, and the batch */
#include "stage_rows.h"

#include <stdlib.h>

static int rows_of(int max_batch)
{
    return 3 * max_batch + STAGE_MAX_SHADOWS;
}

int stage_rows_new(struct stage_rows *r, int max_batch)
{
    *r = (struct stage_rows){.max_batch = max_batch, .n_free = rows_of(max_batch)};
    if (!(r->row = malloc((size_t)r->n_free * sizeof *r->row)))
        return FL_NOMEM;
    for (int i = 0; i < r->n_free; i++) {
        r->free[i] = i;
        zmq_msg_init(&r->row[i].payload);
    }
    return FL_OK;
}

void stage_rows_free(struct stage_rows *r)
{
    for (int i = 0; r->row && i < rows_of(r->max_batch); i++)
        zmq_msg_close(&r->row[i].payload);
    free(r->row);
    r->row = NULL;
}

int stage_rows_room(const struct stage_rows *r)
{
    int room = 2 * r->max_batch - r->waiting.n;
    return room < r->n_free ? room : r->n_free;
}

int stage_rows_take(struct stage_rows *r)
{
    return r->free[--r->n_free];
}

bool stage_row_is_shadow(const struct stage_row *r)
{
    return r->job.flags & JOB_SHADOW;
}

void stage_rows_enqueue(struct stage_rows *r, int row)
{
    struct row_queue *q = stage_row_is_shadow(&r->row[row]) ? &r->shadows : &r->waiting;
    q->row[(q->first + q->n++) % STAGE_MAX_ROWS] = row;
}

int stage_rows_dequeue(struct row_queue *q)
{
    int row = q->row[q->first];
    q->first = (q->first + 1) % STAGE_MAX_ROWS;
    q->n--;
    return row;
}

const struct stage_row *stage_rows_waiting(const struct stage_rows *r, int i)
{
    return &r->row[r->waiting.row[(r->waiting.first + i) % STAGE_MAX_ROWS]];
}

struct stage_row *stage_rows_shadow(struct stage_rows *r)
{
    return r->shadows.n ? &r->row[r->shadows.row[r->shadows.first]] : NULL;
}

struct stage_row *stage_rows_shadow_in_hand(struct stage_rows *r)
{
    return r->n_batch == 1 && stage_row_is_shadow(stage_rows_at(r, 0)) ? stage_rows_at(r, 0) : NULL;
}

void stage_rows_put_back(struct stage_rows *r)
{
    r->row[r->batch[0]].put_back++;
    stage_rows_enqueue(r, r->batch[0]);
    r->n_batch = 0;
}

void stage_rows_release(struct stage_rows *r, int row)
{
    zmq_msg_close(&r->row[row].payload);
    zmq_msg_init(&r->row[row].payload);
    r->free[r->n_free++] = row;
}

bool stage_row_asks(const struct stage_row *r)
{
    return r->state == ROW_RUNS && !(r->job.flags & JOB_NO_CACHE);
}

bool stage_row_can_hit(const struct stage_row *r)
{
    return stage_row_asks(r) && !(r->job.flags & JOB_AUDIT);
}

struct stage_row *stage_rows_at(struct stage_rows *r, int place)
{
    return &r->row[r->batch[place]];
}

int stage_rows_running(const struct stage_rows *r)
{
    int n = 0;
    for (int i = 0; i < r->n_batch; i++)
        n += r->row[r->batch[i]].state == ROW_RUNS;
    return n;
}

void stage_rows_keep(struct stage_rows *r, const int *keep, int n)
{
    for (int i = 0, k = 0; i < r->n_batch; i++) {
        if (k < n && keep[k] == i)
            r->batch[k++] = r->batch[i];
        else
            stage_rows_release(r, r->batch[i]);
    }
    r->n_batch = n;
}
