-- Undoes create-role.sql: drops the role if this run made it. One that owns something by now is not dropped, and says so.
SELECT set_config('account.name', :name, true), set_config('account.run', :run, true);
DO $$
DECLARE
  account text := current_setting('account.name');
BEGIN
  IF EXISTS (
    SELECT FROM pg_roles
    WHERE rolname = account AND shobj_description(oid, 'pg_authid') = 'drystone-' || current_setting('account.run')
  ) THEN
    EXECUTE format('DROP ROLE %I', account);
  END IF;
END $$;
