-- The region's database and the runners' role; run once as an administrator: psql -f postgres.sql
-- The password comes from outside: \password groundstate
CREATE ROLE groundstate LOGIN;
CREATE DATABASE groundstate OWNER groundstate ENCODING 'UTF8' TEMPLATE template0;
-- A runner sets its own statement and idle limits per session. These hold for whoever uses the role besides.
ALTER ROLE groundstate SET idle_in_transaction_session_timeout = '10s';
ALTER ROLE groundstate SET lock_timeout = '10s';
