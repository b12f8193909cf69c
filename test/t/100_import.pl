# Documents through COPY: the same file twice changes nothing, a grown one adds only what is
# new, and memory does not depend on how much there is.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";
use MemoryTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# few shared buffers, so that they weigh little in what a backend uses
my $node = new_server('import');
$node->append_conf('postgresql.conf', "shared_buffers = 16MB\nwork_mem = 4MB\nmax_wal_size = 4GB\nmaintenance_work_mem = 32MB\n");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION memory_ext');
my $dir = PostgreSQL::Test::Utils::tempdir;
my $raw = q{with (format csv, quote e'\x01', delimiter e'\x02')};

sub import_file
{
	my ($file, %settings) = @_;
	my $set = join '', map { "SET memory_ext.import_$_ = '$settings{$_}';\n" } sort keys %settings;
	my ($status, $stdout, $stderr) = $node->psql('postgres', "$set\\copy memory.import_documents from '$file' $raw");

	return $status == 0 ? $stderr =~ s/ \(job \d+\)\s*\z//r =~ s/.*NOTICE:  //sr : $stderr;
}

# All tables but those of jobs.
sub digest
{
	return join "\n", grep { !/^memory_store\.job/ } split /\n/, digest_of($node);
}

sub message
{
	my ($role, $content, %more) = @_;
	return sprintf '{"role": "%s", "content": "%s"%s}', $role, $content, join '', map { ", \"$_\": $more{$_}" } sort keys %more;
}

sub document
{
	my ($id, @messages) = @_;
	return sprintf '{"conversation_id": "%s", "account_id": "x", "created_at": "2024-01-01T00:00:00Z", "messages": [%s]}',
	  $id, join ', ', @messages;
}

# --- the same file twice

my @documents = map {
	my $n = $_;
	document(conversation($n),
		map { message($_ % 2 ? 'user' : 'assistant', "$n message $_", created_at => '"2024-01-01T10:00:00Z"') } 1 .. 1 + $n % 90)
} 1 .. 2500;
my $messages = 0;
$messages += 1 + $_ % 90 for 1 .. 2500;
my $lines = write_file("$dir/lines.jsonl", map { "$_\n" } @documents);
my $array = write_file("$dir/array.json", "[\r\n", join(",\r\n", map { s/, /,\r\n\t/gr } @documents), "\r\n]\r\n");

is(import_file($lines, account => 'a'), "2500 documents: 2500 imported, 0 extended, 0 unchanged, 0 rejected; $messages messages stored",
	'a file of documents is imported');
is($node->safe_psql('postgres', "SELECT count(*), sum(message_count) FROM memory.conversations WHERE account_id = 'a'"), "2500|$messages",
	'all documents are there');
is(problems_of($node), '', 'the tables agree');
my $before = digest();
is(import_file($lines, account => 'a'), '2500 documents: 0 imported, 0 extended, 2500 unchanged, 0 rejected; 0 messages stored',
	'all documents of a file that comes again are unchanged');
is(digest(), $before, 'the same file twice changes nothing');
is(import_file($array, account => 'a'), '2500 documents: 0 imported, 0 extended, 2500 unchanged, 0 rejected; 0 messages stored',
	'the same documents as an array with CR LF change nothing');
is(digest(), $before, 'the digest is the same after the array');

# --- a grown export

my @grown = @documents;
for my $n (5, 1000, 2499)
{
	my $more = message('user', "$n more", parent_seq => 1) . ', ' . message('assistant', "$n and more");
	$grown[ $n - 1 ] =~ s/\]\}$/, $more]}/;
}
push @grown, document(conversation(3000), message('user', 'new'));
my $snapshot = "SELECT conversation_id, seq, parent_seq, role, content, created_at, tokens FROM memory.messages WHERE account_id = 'a'";
$node->safe_psql('postgres', "CREATE TABLE before_growth AS $snapshot");
is(import_file(write_file("$dir/grown.jsonl", map { "$_\n" } @grown), account => 'a'),
	'2501 documents: 1 imported, 3 extended, 2497 unchanged, 0 rejected; 7 messages stored', 'a grown export');
is($node->safe_psql('postgres', "SELECT count(*) FROM (TABLE before_growth EXCEPT $snapshot) t"), '0',
	'a grown export leaves what is there');
is($node->safe_psql('postgres', "SELECT content, parent_seq FROM ($snapshot EXCEPT TABLE before_growth) t ORDER BY conversation_id, seq"),
	join("\n", (map { ("$_ more|1", "$_ and more|" . (2 + $_ % 90)) } 5, 1000, 2499), 'new|0'), 'a grown export adds only what is new');
is(import_file($lines, account => 'a'), '2500 documents: 0 imported, 0 extended, 2500 unchanged, 0 rejected; 0 messages stored',
	'the older file is all there');
is(problems_of($node), '', 'the tables agree');

# --- nothing is lost of a file with rejects, wherever they are

my @bad = @documents[ 0 .. 1999 ];
my $rejected = 0;
for (my $n = 0; $n < 2000; $n += 7)
{
	$bad[$n] = ('{"messages":', document(conversation(9), message('', 'x')), '}', '[1]', $bad[$n] =~ s/message 1"/other"/r)[ $n % 5 ];
	$rejected++;
}
my $good = 2000 - $rejected;
$node->safe_psql('postgres',
	"DELETE FROM memory.conversations WHERE account_id = 'a'; UPDATE memory_store.conversations SET deleted_at = '2000-01-01'
		WHERE deleted_at IS NOT NULL; SELECT memory_store.purge()");
# what differs from nothing is not rejected
my $different = grep { $_ % 7 == 0 && $_ % 5 == 4 } 0 .. 1999;
my $result = import_file(write_file("$dir/bad.jsonl", map { "$_\n" } @bad), account => 'a', on_error => 'skip');
like($result, qr/^2000 documents: @{[ $good + $different ]} imported, 0 extended, 0 unchanged, @{[ $rejected - $different ]} rejected;/,
	'a file with bad documents is imported without them');
is($node->safe_psql('postgres', "SELECT count(*) FROM memory.conversations WHERE account_id = 'a'"), $good + $different,
	'the others are there');
is($node->safe_psql('postgres', 'SELECT count(*), bool_and(line % 7 = 1) FROM memory.job_errors'), ($rejected - $different) . '|t',
	'each is noted with its line');
$result = import_file($lines, account => 'a', on_error => 'skip');
like($result, qr/^2500 documents: (\d+) imported, 0 extended, $good unchanged, $different rejected;/,
	'documents that contradict what is stored are rejected');
is(problems_of($node), '', 'the tables agree');
like(import_file("$dir/bad.jsonl", account => 'b'), qr/ERROR:  document 1 is rejected: .*Reason bad_json, at \$, line 1, byte 12/s,
	'on_error = stop says where');
is($node->safe_psql('postgres', "SELECT count(*) FROM memory_store.accounts WHERE account_id = 'b'"), '0',
	'on_error = stop leaves nothing');

# --- a long conversation without times: each message once looked for one through all before it, which
# for so many took longer than a test waits

my $long = write_file("$dir/long.jsonl", '{"messages": [', join(', ', map { message($_ % 2 ? 'user' : 'assistant', $_) } 1 .. 300_000),
	"]}\n");
is(import_file($long, account => 'long'), '1 documents: 1 imported, 0 extended, 0 unchanged, 0 rejected; 300000 messages stored',
	'a long conversation without times is imported');
is($node->safe_psql('postgres', "SELECT memory.forget('long') IS NOT NULL"), 't', 'the long conversation is forgotten');

# --- an array of 1 GB in 200 MB

my $generate = write_file("$dir/generate.pl", <<'PERL');
my ($documents, $messages, $bytes) = @ARGV;
my $text = substr join(' ', map { "word$_" } 1 .. 20000), 0, $bytes;
print "[\n";
for my $d (1 .. $documents)
{
	print "  {\n    \"conversation_id\": \"", sprintf('ffffffff-0000-0000-0000-%012x', $d), "\",\n    \"messages\": [\n";
	print "      {\n        \"role\": \"user\",\n        \"content\": \"$d $_ $text\"\n      }",
		$_ < $messages ? ",\n" : "\n" for 1 .. $messages;
	print '    ]', "\n  }", $d < $documents ? ",\n" : "\n";
}
print "]\n";
PERL
SKIP:
{
	skip 'the memory of a backend is only known on Linux', 3 unless -r '/proc/self/status';

	my $peak = q{SELECT substring(pg_read_file('/proc/self/status') FROM 'VmHWM:\s*(\d+) kB')};
	my $started = time;
	my ($before_peak, $after_peak) = split /\n/, $node->safe_psql('postgres', <<"SQL");
SET client_min_messages = warning;
SET memory_ext.import_account = 'large';
$peak;
\\copy memory.import_documents from program 'perl $generate 1500 8 90000' $raw
$peak;
SQL
	note("$before_peak kB before, $after_peak kB after, ", time - $started, ' s');
	cmp_ok($after_peak, '<', 200 * 1024, 'an array of 1 GB is imported within 200 MB of memory');
	is($node->safe_psql('postgres',
		"SELECT bytes > 1024 * 1024 * 1024, documents, imported, messages FROM memory.jobs WHERE account_id = 'large'"),
		't|1500|1500|12000', 'the array\'s documents are all there, 1 GB of text');
	is($node->safe_psql('postgres',
		"SELECT sum(message_count), sum(content_bytes) > 1e9 FROM memory.conversations WHERE account_id = 'large'"), '12000|t',
		'all of the large account\'s text is there');
}

$node->stop;
done_testing();
