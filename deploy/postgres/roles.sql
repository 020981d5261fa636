-- Run once by psql as a superuser on a new server. One role owns the saga tables and migrates
-- them, one works with the rows and cannot change a table; the order services have their own
-- database. Passwords come from files: psql reads them, no command line shows them.
\set ON_ERROR_STOP on
\getenv secrets SAGA_SECRETS_DIR
\if :{?secrets}
\else
\set secrets /run/secrets
\endif
\set owner_file :secrets '/saga_owner_password'
\set app_file :secrets '/saga_app_password'
\set services_file :secrets '/order_services_password'
\set owner_password `cat :'owner_file'`
\set app_password `cat :'app_file'`
\set services_password `cat :'services_file'`

CREATE ROLE saga_owner LOGIN PASSWORD :'owner_password';
CREATE ROLE saga_app LOGIN PASSWORD :'app_password' CONNECTION LIMIT 100;
CREATE ROLE order_services LOGIN PASSWORD :'services_password' CONNECTION LIMIT 80;
ALTER ROLE saga_app SET idle_in_transaction_session_timeout = '30s';
ALTER ROLE saga_app SET search_path = public;

CREATE DATABASE saga OWNER saga_owner;
CREATE DATABASE order_services OWNER order_services;
REVOKE ALL ON DATABASE saga, order_services FROM PUBLIC;
GRANT CONNECT ON DATABASE saga TO saga_app;

\connect saga
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT ALL ON SCHEMA public TO saga_owner;
GRANT USAGE ON SCHEMA public TO saga_app;
ALTER DEFAULT PRIVILEGES FOR ROLE saga_owner IN SCHEMA public
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO saga_app;
ALTER DEFAULT PRIVILEGES FOR ROLE saga_owner IN SCHEMA public
    GRANT USAGE, SELECT ON SEQUENCES TO saga_app;

\connect order_services
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT ALL ON SCHEMA public TO order_services;
