-- Every question that the store asks, by name. The same text serves SQLite and PostgreSQL: `:name` is a parameter of that name,
-- and {locked} holds the rows until the end of the transaction where writers are not one at a time by nature.

-- name: version
-- Of the schema; the table is not there before the first migration.
SELECT version_num FROM drystone_version;

-- name: insert_run
-- Adds no row when another run has the token.
INSERT INTO runs (id, plan, plan_file, root, bundle, environment, created_at, created_by, token, inputs, source, parent, concurrency,
  manner, number)
VALUES (:id, :plan, :plan_file, :root, :bundle, :environment, :created_at, :created_by, :token, :inputs, :source, :parent, :concurrency,
  :manner, (SELECT COALESCE(MAX(number), 0) + 1 FROM runs))
ON CONFLICT (token) DO NOTHING;

-- name: insert_state
INSERT INTO run_states (run, status, started_at, finished_at, tasks_done, tasks_total, error, attention, epoch)
VALUES (:run, :status, :started_at, :finished_at, :tasks_done, :tasks_total, :error, :attention, 0);

-- name: epoch
-- The fence: a writer whose epoch is older than this has lost its run.
SELECT epoch, owner FROM run_states WHERE run = :run {locked};

-- name: insert_event
INSERT INTO events (run, seq, body) VALUES (:run, :seq, :body);

-- name: update_state
UPDATE run_states
SET status = :status, started_at = :started_at, finished_at = :finished_at,
    tasks_done = :tasks_done, tasks_total = :tasks_total, error = :error, attention = :attention
WHERE run = :run;

-- name: put_task
INSERT INTO tasks (run, id, task, kind, status, attempts, started_at, finished_at, failure_class)
VALUES (:run, :id, :task, :kind, :status, :attempts, :started_at, :finished_at, :failure_class)
ON CONFLICT (run, id) DO UPDATE
SET status = excluded.status, attempts = excluded.attempts, started_at = excluded.started_at,
    finished_at = excluded.finished_at, failure_class = excluded.failure_class;

-- name: record
SELECT id, plan, plan_file, root, bundle, environment, created_at, created_by, token, inputs, source, parent, concurrency, manner FROM runs
WHERE id = :run;

-- name: record_by_token
SELECT id, plan, plan_file, root, bundle, environment, created_at, created_by, token, inputs, source, parent, concurrency, manner FROM runs
WHERE token = :token;

-- name: events
-- In pieces, so that nobody who stops reading half-way keeps the database from tidying up.
SELECT body FROM events WHERE run = :run AND seq > :after ORDER BY seq LIMIT :count;

-- name: tasks
SELECT run, id, task, kind, status, attempts, started_at, finished_at, failure_class FROM tasks WHERE run = :run ORDER BY id;

-- name: newest
-- Who runs a plan and then says "last" does not mean a sub-plan of it.
SELECT id FROM runs WHERE parent IS NULL ORDER BY number DESC, id DESC LIMIT 1;

-- name: find
-- Three are enough to say that several fit, and which.
SELECT id FROM runs WHERE substr(id, 1, :length) IN (:prefix, :upper) ORDER BY number DESC, id DESC LIMIT 3;

-- name: summary
SELECT runs.id, runs.plan, runs.environment, runs.created_at, status, started_at, finished_at, tasks_done, tasks_total, error, owner,
  attention, runs.parent
FROM runs JOIN run_states ON run_states.run = runs.id
WHERE runs.id = :run;

-- name: summaries
SELECT runs.id, runs.plan, runs.environment, runs.created_at, status, started_at, finished_at, tasks_done, tasks_total, error, owner,
  attention, runs.parent
FROM runs JOIN run_states ON run_states.run = runs.id
WHERE (CAST(:plan AS TEXT) IS NULL OR runs.plan = :plan)
  AND (CAST(:environment AS TEXT) IS NULL OR runs.environment = :environment)
  AND attention >= :attention
ORDER BY runs.number DESC, runs.id DESC LIMIT :count;

-- name: lease
SELECT epoch, owner, lease_until, status FROM run_states WHERE run = :run {locked};

-- name: claim
UPDATE run_states SET epoch = :epoch, owner = :owner, lease_until = :until WHERE run = :run;

-- name: renew
UPDATE run_states SET lease_until = :until WHERE run = :run AND epoch = :epoch AND owner = :owner;

-- name: release
UPDATE run_states SET owner = NULL, lease_until = NULL WHERE run = :run AND epoch = :epoch;

-- name: lock
-- Changes no row when another run has the environment. Who had it first keeps the moment.
INSERT INTO locks (environment, run, owner, reason, since) VALUES (:environment, :run, :owner, :reason, :since)
ON CONFLICT (environment) DO UPDATE SET owner = excluded.owner, reason = excluded.reason
WHERE locks.run = excluded.run;

-- name: unlock
DELETE FROM locks WHERE environment = :environment AND run = :run;

-- name: locks
SELECT environment, run, owner, reason, since FROM locks ORDER BY environment;

-- name: line
SELECT line.run, status, since, owner, lease_until FROM line JOIN run_states ON run_states.run = line.run WHERE key = :key;

-- name: line_of
SELECT key FROM line WHERE run = :run;

-- name: last_in_line
SELECT max(since) FROM line WHERE key = :key;

-- name: join
INSERT INTO line (key, run, since) VALUES (:key, :run, :since) ON CONFLICT (run) DO NOTHING;

-- name: move
UPDATE line SET since = :since WHERE run = :run;

-- name: leave
DELETE FROM line WHERE run = :run;

-- name: seats
SELECT slots.run, held, wanted, since, owner, lease_until FROM slots JOIN run_states ON run_states.run = slots.run WHERE pool = :pool;

-- name: sit
INSERT INTO slots (pool, run, held, wanted, since) VALUES (:pool, :run, :held, :wanted, :since)
ON CONFLICT (pool, run) DO UPDATE SET held = excluded.held, wanted = excluded.wanted, since = excluded.since;

-- name: stand_up
DELETE FROM slots WHERE pool = :pool AND run = :run;

-- name: drop_slots
DELETE FROM slots WHERE run = :run;

-- name: is_run
SELECT 1 FROM runs WHERE id = :run;

-- name: ask
INSERT INTO requests (id, run, type, asked_by, at, data) VALUES (:id, :run, :type, :asked_by, :at, :data) ON CONFLICT (id) DO NOTHING;

-- name: requests
-- Of all runs: they are few, and soon answered.
SELECT id, run, type, asked_by, at, data FROM requests ORDER BY at, id;

-- name: answer
DELETE FROM requests WHERE id = :id AND run = :run;

-- name: withdraw
DELETE FROM requests WHERE run = :run;

-- name: durations
SELECT tasks.task, tasks.started_at, tasks.finished_at
FROM (
  SELECT runs.id, runs.number FROM runs JOIN run_states ON run_states.run = runs.id
  WHERE runs.plan = :plan AND run_states.status = 'succeeded'
  ORDER BY runs.number DESC, runs.id DESC LIMIT :count
) AS newest JOIN tasks ON tasks.run = newest.id
WHERE tasks.status = 'succeeded' AND tasks.started_at IS NOT NULL AND tasks.finished_at IS NOT NULL
ORDER BY newest.number DESC, newest.id DESC, tasks.id;

-- name: open
-- Runs that have not ended, oldest first. The list of states is that of the index.
SELECT runs.id, owner, lease_until, epoch, runs.created_at FROM run_states JOIN runs ON runs.id = run_states.run
WHERE status IN ('queued', 'running', 'waiting', 'compensating') AND runs.parent IS NULL
ORDER BY runs.number, runs.id;

-- name: serve
INSERT INTO servers (owner, address, since, lease_until) VALUES (:owner, :address, :since, :until)
ON CONFLICT (owner) DO UPDATE SET address = excluded.address, lease_until = excluded.lease_until;

-- name: stop_serving
DELETE FROM servers WHERE owner = :owner;

-- name: servers
SELECT owner, address, since, lease_until FROM servers ORDER BY since, owner;

-- name: schedules
SELECT id, plan, since, considered, paused_by, paused_at FROM schedules ORDER BY id;

-- name: schedule
SELECT id, plan, since, considered, paused_by, paused_at FROM schedules WHERE id = :id;

-- name: begin_schedule
INSERT INTO schedules (id, plan, since, considered) VALUES (:id, :plan, :now, :now) ON CONFLICT (id) DO NOTHING;

-- name: considered
-- Never backwards: another process may have gone further.
UPDATE schedules SET considered = :considered WHERE id = :id AND considered < :considered;

-- name: pause_schedule
UPDATE schedules SET paused_by = COALESCE(paused_by, :paused_by), paused_at = COALESCE(paused_at, :now) WHERE id = :id;

-- name: proceed_schedule
UPDATE schedules SET considered = CASE WHEN paused_by IS NULL OR considered > :now THEN considered ELSE :now END,
  paused_by = NULL, paused_at = NULL
WHERE id = :id;

-- name: record_tick
INSERT INTO ticks (schedule, at, due, status, reason, run, asked_by, owner)
VALUES (:schedule, :at, :due, :status, :reason, NULL, :asked_by, NULL)
ON CONFLICT (schedule, at) DO NOTHING;

-- name: record_tick_again
INSERT INTO ticks (schedule, at, due, status, reason, run, asked_by, owner)
VALUES (:schedule, :at, :due, :status, :reason, NULL, :asked_by, NULL)
ON CONFLICT (schedule, at) DO UPDATE
SET due = excluded.due, status = excluded.status, reason = excluded.reason, asked_by = excluded.asked_by
WHERE ticks.status IN ('skipped', 'missed', 'failed');

-- name: open_ticks
-- The list of states is that of the index.
SELECT schedule, at, due, status, reason, run, asked_by, owner FROM ticks
WHERE schedule = :schedule AND status IN ('recorded', 'queued', 'claimed', 'fired') ORDER BY at;

-- name: tick_claim
SELECT status, owner, lease_until FROM ticks WHERE schedule = :schedule AND at = :at {locked};

-- name: claim_tick
UPDATE ticks SET status = 'claimed', owner = :owner, lease_until = :until WHERE schedule = :schedule AND at = :at;

-- name: settle_tick
-- Changes no row when the tick has got another fate since it was read.
UPDATE ticks SET status = :status, reason = :reason, run = :run, owner = NULL, lease_until = NULL
WHERE schedule = :schedule AND at = :at AND status = :was AND COALESCE(owner, '') = :owner;

-- name: ticks
SELECT schedule, at, due, status, reason, run, asked_by, owner FROM ticks
WHERE (CAST(:schedule AS TEXT) IS NULL OR schedule = :schedule)
ORDER BY at DESC, schedule LIMIT :count;
