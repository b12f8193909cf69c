# A backend that may not have more memory: what zstd allocates by itself fails as 53200, as
# PostgreSQL's own memory does, and the session goes on.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";
use MemoryTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'prlimit and /proc are needed' if system('prlimit --version > /dev/null 2>&1') != 0 || !-r '/proc/self/status';

my $node = new_server('memory_limit');
$node->start;
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION memory_ext;
CREATE TABLE t AS
	SELECT memory.recompress(format('[{"role": "user", "content": "%s"}]', text)::memory.transcript, 'zstd:1') AS body
	FROM (SELECT string_agg(md5(i::text), '') AS text FROM generate_series(1, 100000) i) g;
ALTER TABLE t ALTER body SET STORAGE EXTERNAL;
SQL

# The limit leaves room for the value, but not for the tables of the highest level.
my ($out, $err) = ('', '');
$node->psql('postgres', <<'SQL', stdout => \$out, stderr => \$err, on_error_stop => 0);
SELECT memory.message_count(memory.recompress(body, 'zstd:1')) FROM t;
SELECT pg_backend_pid() AS pid \gset
\setenv BACKEND :pid
\! prlimit --pid $BACKEND --as=$((($(sed -n 's/VmSize:[^0-9]*\([0-9]*\).*/\1/p' /proc/$BACKEND/status) + 24000) * 1024)):
\set VERBOSITY verbose
SELECT memory.message_count(memory.recompress(body, 'zstd:22')) FROM t;
\echo :LAST_ERROR_SQLSTATE
\! prlimit --pid $BACKEND --as=unlimited:
SELECT memory.message_count(memory.recompress(body, 'zstd:3')) FROM t;
SQL
is($out, "1\n53200\n1", 'out of memory is 53200; the session goes on') or diag($err);
unlike($err, qr/XX000/, 'running out of memory is no internal error');
$node->stop;
done_testing();
