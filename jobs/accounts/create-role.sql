-- A login role for a person in PostgreSQL, with a comment that names the run which made it. One that is there stays as it is.
-- CREATE ROLE takes no parameters, and a password does not belong into the text of a statement: both come by settings that
-- last until the end of the transaction.
SELECT set_config('account.name', :name, true), set_config('account.password', :password, true), set_config('account.run', :run, true),
  set_config('account.group', :member_of, true);
DO $$
DECLARE
  account text := current_setting('account.name');
BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = account) THEN
    RAISE NOTICE 'role "%" is there already, and stays as it is', account;
    RETURN;
  END IF;
  EXECUTE format('CREATE ROLE %I LOGIN PASSWORD %L', account, current_setting('account.password'));
  EXECUTE format('COMMENT ON ROLE %I IS %L', account, 'drystone-' || current_setting('account.run'));
  IF current_setting('account.group') <> '' THEN
    EXECUTE format('GRANT %I TO %I', current_setting('account.group'), account);
  END IF;
END $$;
SELECT rolname AS role, COALESCE(shobj_description(oid, 'pg_authid') = 'drystone-' || :run, false) AS made
FROM pg_roles
WHERE rolname = :name;
