-- Every question that the store asks, by name. The same text serves SQLite and PostgreSQL: `:name` is a parameter of that name,
-- and {locked} holds the rows until the end of the transaction where writers are not one at a time by nature.

-- name: version
-- Of the schema; the table is not there before the first migration.
SELECT version_num FROM drystone_version;

-- name: insert_run
-- Adds no row when another run has the token.
INSERT INTO runs (id, plan, plan_file, root, bundle, environment, created_at, created_by, token, inputs, source)
VALUES (:id, :plan, :plan_file, :root, :bundle, :environment, :created_at, :created_by, :token, :inputs, :source)
ON CONFLICT (token) DO NOTHING;

-- name: insert_state
INSERT INTO run_states (run, status, started_at, finished_at, tasks_done, tasks_total, error, epoch)
VALUES (:run, :status, :started_at, :finished_at, :tasks_done, :tasks_total, :error, 0);

-- name: epoch
-- The fence: a writer whose epoch is older than this has lost its run.
SELECT epoch, owner FROM run_states WHERE run = :run {locked};

-- name: insert_event
INSERT INTO events (run, seq, body) VALUES (:run, :seq, :body);

-- name: update_state
UPDATE run_states
SET status = :status, started_at = :started_at, finished_at = :finished_at,
    tasks_done = :tasks_done, tasks_total = :tasks_total, error = :error
WHERE run = :run;

-- name: put_task
INSERT INTO tasks (run, id, task, kind, status, attempts, started_at, finished_at, failure_class)
VALUES (:run, :id, :task, :kind, :status, :attempts, :started_at, :finished_at, :failure_class)
ON CONFLICT (run, id) DO UPDATE
SET status = excluded.status, attempts = excluded.attempts, started_at = excluded.started_at,
    finished_at = excluded.finished_at, failure_class = excluded.failure_class;

-- name: record
SELECT id, plan, plan_file, root, bundle, environment, created_at, created_by, token, inputs, source FROM runs WHERE id = :run;

-- name: record_by_token
SELECT id, plan, plan_file, root, bundle, environment, created_at, created_by, token, inputs, source FROM runs
WHERE token = :token;

-- name: events
-- In pieces, so that nobody who stops reading half-way keeps the database from tidying up.
SELECT body FROM events WHERE run = :run AND seq > :after ORDER BY seq LIMIT :count;

-- name: tasks
SELECT run, id, task, kind, status, attempts, started_at, finished_at, failure_class FROM tasks WHERE run = :run ORDER BY id;

-- name: newest
SELECT id FROM runs ORDER BY created_at DESC, id DESC LIMIT 1;

-- name: find
-- Three are enough to say that several fit, and which.
SELECT id FROM runs WHERE substr(id, 1, :length) IN (:prefix, :upper) ORDER BY created_at DESC, id DESC LIMIT 3;

-- name: summary
SELECT runs.id, runs.plan, runs.environment, runs.created_at, status, started_at, finished_at, tasks_done, tasks_total, error, owner
FROM runs JOIN run_states ON run_states.run = runs.id
WHERE runs.id = :run;

-- name: summaries
SELECT runs.id, runs.plan, runs.environment, runs.created_at, status, started_at, finished_at, tasks_done, tasks_total, error, owner
FROM runs JOIN run_states ON run_states.run = runs.id
WHERE (CAST(:plan AS TEXT) IS NULL OR runs.plan = :plan)
  AND (CAST(:environment AS TEXT) IS NULL OR runs.environment = :environment)
ORDER BY runs.created_at DESC, runs.id DESC LIMIT :count;

-- name: lease
SELECT epoch, owner, lease_until FROM run_states WHERE run = :run {locked};

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
