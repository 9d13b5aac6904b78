/* store_scripts.h - what runs inside Redis; included by store.c and store_updates.c */
#ifndef FREEZELINE_STORE_SCRIPTS_H
#define FREEZELINE_STORE_SCRIPTS_H

/* KEYS stream, producer; ARGV first sequence, max entries, max bytes, seconds to remember, channel, records..
 * -> how many are in */
__attribute__((unused)) static const char script_append[] =
    "local last = tonumber(redis.call('GET', KEYS[2]) or '0')\n"
    "local first, held = tonumber(ARGV[1]), redis.call('XLEN', KEYS[1])\n"
    "local room, before = tonumber(ARGV[2]) - held, last\n"
    "local most, done = tonumber(ARGV[3]), 0\n"
    "if held > 0 then most = most - (redis.call('MEMORY', 'USAGE', KEYS[1]) or 0) end\n"
    "for i = 6, #ARGV do\n"
    "  local seq = first + i - 6\n"
    "  if seq > last then\n"
    "    if room <= 0 or most <= 0 then break end\n"
    "    redis.call('XADD', KEYS[1], '*', 'u', ARGV[i])\n"
    "    room, most = room - 1, most - #ARGV[i]\n"
    "    last = seq\n"
    "  end\n"
    "  done = done + 1\n"
    "end\n"
    "redis.call('SET', KEYS[2], string.format('%.0f', last), 'EX', ARGV[4])\n"
    "if held == 0 and last > before then redis.call('PUBLISH', ARGV[5], 'updates') end\n"
    "return done\n";

/* KEYS lease, fence; ARGV id, milliseconds -> fence or 0 */
__attribute__((unused)) static const char script_acquire[] =
    "if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end\n"
    "local fence = redis.call('INCR', KEYS[2])\n"
    "redis.call('SET', KEYS[1], string.format('%.0f:', fence) .. ARGV[1], 'PX', ARGV[2])\n"
    "return fence\n";

/* KEYS lease; ARGV token, milliseconds (0 = release) -> 1 or 0 */
__attribute__((unused)) static const char script_renew[] =
    "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end\n"
    "if tonumber(ARGV[2]) == 0 then redis.call('DEL', KEYS[1]) else "
    "redis.call('PEXPIRE', KEYS[1], ARGV[2]) end\n"
    "return 1\n";

/* KEYS lease, stream; ARGV token, count -> entries, or 0 when fenced off. What a learner is done with is
 * trimmed, so all that is there is to be done, whoever read it before. */
__attribute__((unused)) static const char script_read[] =
    "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end\n"
    "return redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', ARGV[2])\n";

/* KEYS lease, stream; ARGV token, trim id -> 1 done, 0 fenced off */
__attribute__((unused)) static const char script_ack[] =
    "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end\n"
    "redis.call('XTRIM', KEYS[2], 'MINID', ARGV[2])\n"
    "return 1\n";

/* KEYS lease, epoch, stream, manifest, frozen, exits..; ARGV token, known head, new head, channel, trim id,
 * manifest ('' = as it is), blobs..
 * -> 1 done, 0 fenced off or head moved, 2 frozen */
__attribute__((unused)) static const char script_commit[] =
    "if redis.call('GET', KEYS[1]) ~= ARGV[1] or redis.call('GET', KEYS[2]) ~= ARGV[2] then return 0 end\n"
    "if ARGV[6] ~= '' and redis.call('EXISTS', KEYS[5]) == 1 then return 2 end\n"
    "for i = 6, #KEYS do redis.call('SET', KEYS[i], ARGV[6 + i - 5]) end\n"
    "if ARGV[6] ~= '' then redis.call('SET', KEYS[4], ARGV[6]) end\n"
    "redis.call('SET', KEYS[2], ARGV[3])\n"
    "redis.call('XTRIM', KEYS[3], 'MINID', ARGV[5])\n"
    "redis.call('PUBLISH', ARGV[4], ARGV[3])\n"
    "return 1\n";

/* KEYS epoch, manifest, stream, exits..; ARGV known head ('' = none; of a longer text its begin), new head,
 * channel, manifest, applied, blobs..
 * -> 1 done, 0 head moved. Ids below `applied` must never be given out again: they would be taken for
 * applied. */
__attribute__((unused)) static const char script_publish[] =
    "if redis.call('GETRANGE', KEYS[1], 0, 190):match('^[^%z]*') ~= ARGV[1] then return 0 end\n"
    "for i = 4, #KEYS do redis.call('SET', KEYS[i], ARGV[5 + i - 3]) end\n"
    "redis.call('SET', KEYS[2], ARGV[4])\n"
    "redis.call('SET', KEYS[1], ARGV[2])\n"
    "redis.pcall('XGROUP', 'CREATE', KEYS[3], 'learners', ARGV[5], 'MKSTREAM')\n" /* an empty stream */
    "local info, last = redis.call('XINFO', 'STREAM', KEYS[3]), '0-0'\n"
    "for i = 1, #info, 2 do if info[i] == 'last-generated-id' then last = info[i + 1] end end\n"
    "local function below(a, b)\n"
    "  local am, as = a:match('(%d+)-(%d+)')\n"
    "  local bm, bs = b:match('(%d+)-(%d+)')\n"
    "  if #am ~= #bm then return #am < #bm end\n"
    "  if am ~= bm then return am < bm end\n"
    "  if #as ~= #bs then return #as < #bs end\n"
    "  return as < bs\n"
    "end\n"
    "if below(last, ARGV[5]) then redis.call('XSETID', KEYS[3], ARGV[5]) end\n"
    "redis.call('PUBLISH', ARGV[3], ARGV[2])\n"
    "return 1\n";

#endif
