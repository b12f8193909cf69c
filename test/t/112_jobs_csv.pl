# Rows of messages as CSV, by background workers: what COPY would read is what is stored, in the
# order of the file, once, whatever ends in the middle.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";
use IPC::Run;
use MemoryTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir;
my $node = new_server('csv');
$node->append_conf('postgresql.conf', "restart_after_crash = on\nmax_worker_processes = 6\n");
$node->start;
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION memory_ext;
CREATE ROLE loader LOGIN;
SELECT memory.grant_access('loader', 'writer');
GRANT pg_read_server_files TO loader;
CREATE TABLE plain (LIKE memory.messages);
SQL
my $columns = 'conversation_id, account_id, seq, parent_seq, role, content, model, tokens, created_at, message_id, metadata';

sub problems
{
	return problems_of($node) . $node->safe_psql('postgres',
		'SELECT v::text FROM memory.verify() v UNION ALL SELECT u::text FROM memory.usage_drift u');
}

sub clear
{
	$node->safe_psql('postgres', 'SELECT memory.forget(account_id) FROM memory_store.accounts; TRUNCATE plain');
	is($node->safe_psql('postgres', 'SELECT count(*) FROM memory.messages') . $node->safe_psql('postgres',
		'SELECT count(*) FROM memory_store.job_places'), '00', 'nothing is left of the test before');
	return;
}

# Runs a job that must succeed; what memory.jobs says of it.
sub import_csv
{
	my ($file, %arguments) = @_;
	my $call = join '', map { ", $_ => $arguments{$_}" } sort keys %arguments;
	my ($status, $out, $err) = $node->psql('postgres', "CALL memory.import_file('$file', 'csv'$call)");

	is($status, 0, "import $file$call") or diag($err);
	return $status == 0 ? counts($out) : $err;
}

sub counts
{
	return $node->safe_psql('postgres',
		"SELECT state, documents, imported, extended, unchanged, rejected, messages FROM memory.jobs WHERE job_id = $_[0]");
}

sub refused
{
	my ($file, $pattern, $what, %arguments) = @_;
	my $call = join '', map { ", $_ => $arguments{$_}" } sort keys %arguments;

	like(($node->psql('postgres', "CALL memory.import_file('$file', 'csv'$call)"))[2], $pattern, $what);
	return;
}

sub errors
{
	my $which = $_[0] // 'true';
	return $node->safe_psql('postgres',
		"SELECT document, line, reason, path FROM memory.job_errors WHERE job_id = (SELECT max(job_id) FROM memory.jobs) AND $which
			ORDER BY document");
}

sub contents
{
	return $node->safe_psql('postgres',
		"SELECT string_agg(seq || '<' || parent_seq || ' ' || content, ', ' ORDER BY seq) FROM memory.messages WHERE conversation_id = '$_[0]'");
}

sub quoted
{
	my ($text) = @_;
	return defined $text ? '"' . $text =~ s/"/""/gr . '"' : '';
}

# --- what COPY reads into a table, in all shapes of lines

my @texts = ('plain', 'with "quotes" and, commas', "two\nlines", "\r\nand CR LF", '', '\\.', "tab\t \\N \\",
	"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", ' spaces ', "\n");
my @rows;
foreach my $n (1 .. 200)
{
	foreach my $seq (1 .. $n % 70 + 1)
	{
		push @rows,
		  [
			conversation($n), 'account ' . $n % 7, $seq, $seq - 1, $seq % 2 ? 'user' : 'assistant', $texts[ ($n + $seq) % @texts ],
			$seq % 2 ? undef : 'm-1', $seq % 5, sprintf('2024-01-%02d 10:00:00+00',
				$n % 28 + 1), $seq % 3 ? "id $seq" : undef, $seq % 4 ? undef : '{"n": "a, \\"b\\""}'
		  ];
	}
}
my $header = join ',', split /, /, $columns;
my $body = join '', map { join(',', map { quoted($_) } @$_) . "\n" } @rows;
my %shapes = (
	'lines' => "$header\n$body",
	'a byte order mark' => "\xef\xbb\xbf$header\n$body",
	'a byte order mark and empty lines' => "\xef\xbb\xbf\r\n\n$header\n$body",
	'a header in quotes' => join(', ', map { qq("$_") } split /,/, uc $header) . "\n$body",
	'no end' => "$header\n$body" =~ s/\n\z//r,
	# inside of quotes nothing changes
	'CR LF' => "$header\r\n" . join('', map { join(',', map { quoted($_) } @$_) . "\r\n" } @rows),
	'empty lines' => "\n\n$header\n\n$body\n\n");
foreach my $shape (sort keys %shapes)
{
	my $file = write_file("$dir/shape", $shapes{$shape});
	foreach my $workers (1, 3)
	{
		is(import_csv($file, workers => $workers, batch_size => 97),
			"finished|" . @rows . ($workers == 1 ? '|200|' . (@rows - 200) . '|0|0|' . @rows : '|0|0|' . @rows . '|0|0'),
			"all rows are imported: $shape, $workers workers");
	}
	$node->safe_psql('postgres', "\\copy plain ($columns) from '" . write_file("$dir/plain", "$header\n$body") . "' csv header");
	is($node->safe_psql('postgres',
		"SELECT count(*) FROM (TABLE plain EXCEPT SELECT * FROM memory.messages UNION ALL (SELECT *
			FROM memory.messages EXCEPT TABLE plain)) d"), '0', 'the rows are those that COPY reads');
	is(problems(), '', 'no check finds a problem after the imports');
	clear();
}

# --- some columns, in another order; rows of conversations that are interleaved, without numbers or ids

my @mixed = map {
	my $round = $_;
	map { [ "user", "$round of $_", conversation($_) ] } grep { $_ % 9 >= $round % 9 } 1 .. 60
} 1 .. 40;
my $mixed = write_file("$dir/mixed", "role,content,conversation_id\n", map { join(',', @$_) . "\n" } @mixed);
my $in_order = "SELECT count(*) FROM (SELECT content, lag(split_part(content, ' ', 1)::int) OVER (PARTITION BY conversation_id
	ORDER BY seq) AS before, conversation_id FROM memory.messages) m
	WHERE before >= split_part(content, ' ', 1)::int OR conversation_id::text <> lpad(to_hex(split_part(content, ' ', 3)::int), 8,
		'0') || '-0000-0000-0000-' || lpad(to_hex(split_part(content, ' ', 3)::int), 12, '0')";
like(import_csv($mixed, account_id => q('m'), workers => 3, batch_size => 31),
	qr/^finished\|@{[ scalar @mixed ]}\|\d+\|\d+\|0\|0\|@{[ scalar @mixed ]}$/, 'rows without numbers are imported');
is($node->safe_psql('postgres', $in_order), '0', 'have the order of the file');
is(import_csv($mixed, account_id => q('m'), workers => 2, batch_size => 100), 'finished|' . @mixed . '|0|0|' . @mixed . '|0|0',
	'twice, in other batches, nothing changes');
my $grown = write_file("$dir/grown", slurp_file($mixed), map { "user,41 of $_,@{[ conversation($_) ]}\n" } 1 .. 70);
is(import_csv($grown, account_id => q('m'), batch_size => 50), 'finished|' . (@mixed + 70) . '|10|60|' . @mixed . '|0|70',
	'what has grown is added');
is($node->safe_psql('postgres', $in_order), '0', 'the rows that were added are behind the others');
(my $other = slurp_file($mixed)) =~ s/20 of 8,/20 or 8,/;
is(import_csv(write_file("$dir/other", $other), account_id => q('m'), on_error => q('skip')),
	'finished|' . @mixed . '|0|0|' . (@mixed - 1) . '|1|0', 'what differs is rejected');
like(errors(), qr/^\d+\|\d+\|conflict\|\$$/, 'a row that differs is noted as a conflict');
is(problems(), '', 'all is well');
clear();

# --- other delimiters and encodings, which are settings of the session

{
	my $file = write_file("$dir/latin", "conversation_id;role;content\n7;Human;caf\xe9; \n7;AI;\"a;b\"\n" =~ s/; \n/\n/r);
	my ($status, $out, $err) = $node->psql('postgres',
		"SET memory_ext.import_csv_delimiter = ';'; SET memory_ext.import_csv_encoding = 'LATIN1';
			CALL memory.import_file('$file', 'csv', account_id => 'latin')");
	is($status, 0, 'a semicolon and LATIN1') or diag($err);
	is($node->safe_psql('postgres', "SELECT role, content FROM memory.messages WHERE account_id = 'latin' ORDER BY seq"),
		"user|caf\xc3\xa9\nassistant|a;b", 'are read, and roles are words');
	like(($node->psql('postgres', "CALL memory.import_file('$file', 'csv', account_id => 'latin')"))[2],
		qr/is not a column of memory.messages|does not name column/, 'a file in another encoding is refused without the setting');
	like(($node->psql('postgres', "LOAD 'memory_ext'; SET memory_ext.import_csv_delimiter = 'ab'"))[2], qr/one ASCII character/,
		'a delimiter is one character');
	like(($node->psql('postgres', "LOAD 'memory_ext'; SET memory_ext.import_csv_encoding = 'nothing'"))[2], qr/no such encoding/,
		'an encoding must exist');
	clear();
}

# --- numbers and ids

{
	my $c = conversation(1);
	my $file = write_file("$dir/numbers", "conversation_id,seq,parent_seq,message_id,role,content\n", map { "$c,$_\n" } '3,1,,user,three',
		'1,,,user,one', '2,,,user,two', '2,,,user,two', '2,,,user,another two', '6,5,,user,six', '7,3,,user,seven', ',,a,user,by id',
		',,a,user,by id', ',,,user,nothing', '9,9,,user,itself');
	is(import_csv($file, account_id => q('n'), on_error => q('skip')), 'finished|11|1|5|2|3|6',
		'rows with numbers in any order are imported');
	is(errors('rejected'), "5|6|conflict|\$\n10|11|bad_value|seq\n11|12|bad_parent|parent_seq", 'what cannot be is rejected');
	is(errors('NOT rejected'), '6|7|bad_parent|$', 'what lacks its parent is a root, and noted');
	is(contents($c), '1<0 one, 2<1 two, 3<1 three, 6<0 six, 7<3 seven, 8<7 by id', 'the others are there');
	# later numbers that were passed over, in a batch of their own
	is(import_csv(write_file("$dir/late", "conversation_id,seq,role,content\n$c,5,user,five\n$c,12,user,twelve\n$c,3,user,three\n"),
		account_id => q('n'), batch_size => 1), 'finished|3|0|2|1|0|2', 'a number that was passed over comes later');
	is(contents($c), '1<0 one, 2<1 two, 3<1 three, 5<3 five, 6<0 six, 7<3 seven, 8<7 by id, 12<8 twelve',
		'a message with a number that was passed over goes where it belongs');
	$node->safe_psql('postgres', "SELECT memory.delete_message('n', '$c', 2), memory.delete_message('n', '$c', 8)");
	is(import_csv($file, account_id => q('n'), on_error => q('skip')), 'finished|11|0|0|9|2|0', 'what was deleted does not come back');
	is(contents($c), '1<0 one, 3<1 three, 5<3 five, 6<0 six, 7<3 seven, 12<7 twelve', 'what answered it answers its parent');
	$node->safe_psql('postgres', "SELECT memory.delete_conversation('n', '$c')");
	is(import_csv($file, account_id => q('n'), on_error => q('skip')) =~ s/^finished\|11\|0\|0\|0\|11\|0$/all/r, 'all',
		'a conversation that was deleted does not come back');
	is(problems(), '', 'all is well');
	clear();
	# an id is that of one message, whatever number a row gives it
	$file = write_file("$dir/ids", "conversation_id,seq,message_id,role,content\n", map { "$c,$_\n" } '1,m,user,one', '2,m,user,two',
		'1,m,user,one', ',m,user,one', '3,n,user,three');
	is(import_csv($file, account_id => q('n'), on_error => q('skip')), 'finished|5|1|1|2|1|2', 'rows with numbers and ids are imported');
	is(errors(), "2|3|conflict|\$", 'an id that another message has is rejected');
	is(import_csv($file, account_id => q('n'), on_error => q('skip'), batch_size => 1), 'finished|5|0|0|4|1|0',
		'an id that another message has is rejected in a later batch, too');
	is(contents($c), '1<0 one, 3<1 three', 'each message is there once');
	is(problems(), '', 'all is well');
	clear();
}

# --- conversations with other names; whose they are

{
	my $file = write_file("$dir/names",
		"conversation_id,account_id,role,content\n17,a,user,x\n17,b,user,y\n17,a,user,z\n18,,user,nobody's\n");
	is(import_csv($file, on_error => q('skip')), 'finished|4|2|1|0|1|3', 'any name of a conversation');
	is($node->safe_psql('postgres', "SELECT account_id, metadata, message_count FROM memory.conversations ORDER BY 1"),
		qq(a|{"import": {"format": "csv", "source_id": "17"}}|2\nb|{"import": {"format": "csv", "source_id": "17"}}|1),
		'is kept, and is its account\'s');
	is(errors(), '4|5|bad_value|account_id', 'an account is needed');
	is($node->safe_psql('postgres', "SELECT count(*) FROM (SELECT FROM memory.messages WHERE account_id = 'a' AND content IN ('x', 'z')) m"),
		'2', 'rows that name no account are left out, the others are found');
	is(import_csv($file, account_id => q('c')), 'finished|4|2|2|0|0|4', 'the one that is named wins');
	refused(write_file("$dir/nobody", "conversation_id,role,content\n1,user,x\n"), qr/names no account/, 'no account at all');
	$node->safe_psql('postgres', "ALTER ROLE loader SET memory_ext.account = 'a'");
	my ($status, $out, $err) = $node->psql('postgres', "CALL memory.import_file('$file', 'csv', on_error => 'skip')",
		extra_params => [ '-U', 'loader' ]);
	is($status, 0, 'a session of one account') or diag($err);
	is(counts($out), 'finished|4|1|1|1|1|2', 'imports all for itself');
	$node->safe_psql('postgres', 'ALTER ROLE loader RESET memory_ext.account');
	clear();
}

# --- what is no row

{
	my $c = conversation(1);
	my $bad = join '', "conversation_id,account_id,role,content,created_at,tokens,metadata\n",    # 1
	  "$c,a,user,first,,,\n",                                                                      # 1: line 2
	  "$c,a,user,\"two\nlines\",never,,\n",                                                        # 2: 3
	  "\\.\n",                                                                                     # 3: 5
	  "$c,a,user\n",                                                                               # 4: 6
	  "$c,a,user,x,,,,\n",                                                                         # 5: 7
	  "$c,a,user,\xff,,,\n",                                                                       # 6: 8
	  "$c,a,user,a\0b,,,\n",                                                                       # 7: 9
	  "$c,a,,x,,,\n",                                                                              # 8: 10
	  "$c,a,user,,,,\n",                                                                           # 9: 11
	  ",a,user,x,,,\n",                                                                            # 10: 12
	  "$c,a,user,x,,-1,\n",                                                                        # 11: 13
	  "$c,a,user,x,,many,\n",                                                                      # 12: 14
	  "$c,a,user,x,,,[]\n",                                                                        # 13: 15
	  "$c,a,user,x,,,{\n",                                                                         # 14: 16
	  "$c,a,user,x,,,\"{\"\"a\"\": \"\"\\u0000\"\"}\"\n",                                          # 15: 17
	  "$c,a,user,x\rx,,,\n",                                                                       # 16: 18
	  "$c,a,user,x,infinity,,\n",                                                                  # 17: 19
	  "$c,a," . 'r' x 65 . ",x,,,\n",                                                              # 18: 20
	  "$c,a,user,second,,,\n",                                                                     # 19: 21
	  "$c,a,user,\"no end,,,\n\n";                                                                 # 20: 22
	my $file = write_file("$dir/bad", $bad);
	is(import_csv($file, on_error => q('skip')), 'finished|20|1|1|0|18|2', 'rows that are none');
	is(errors(),
		join("\n", '2|3|bad_time|created_at', '3|5|bad_value|$', '4|6|bad_value|$', '5|7|bad_value|$', '6|8|bad_value|$', '7|9|nul|$',
		'8|10|bad_role|$', '9|11|bad_value|content',
			'10|12|bad_value|conversation_id', '11|13|bad_value|tokens',
			'12|14|bad_value|tokens', '13|15|bad_value|metadata', '14|16|bad_value|metadata',
			'15|17|nul|metadata', '16|18|bad_value|$', '17|19|bad_time|$', '18|20|bad_role|$', '20|22|bad_value|$'),
		'are noted with their lines');
	is($node->safe_psql('postgres', 'SELECT excerpt FROM memory.job_errors WHERE document = 2'), "$c,a,user,\"two lines\",never,,",
		'a rejected row is noted as it was');
	is(contents($c), '1<0 first, 2<1 second', 'the others are there');
	is(import_csv($file, on_error => q('skip'), batch_size => 1, workers => 2), 'finished|20|0|0|2|18|0',
		'importing row by row gives the same');
	refused($file, qr/document 2 is rejected: invalid input syntax for type timestamp.*Reason bad_time, at created_at, line 3, byte 120/s,
		'on_error stop says where');
	is(problems(), '', 'all is well');
	refused(write_file("$dir/h", $_->[0]), $_->[1], "header: $_->[2]") for
	  [ '', qr/the input has no header line/, 'none' ],
	  [ "\n\n", qr/the input has no header line/, 'empty lines' ],
	  [ "conversation_id,role\n", qr/the header line does not name column "content"/, 'one that is needed is missing' ],
	  [ "conversation_id,role,content,seq,role\n", qr/the header line names column "role" twice/, 'one twice' ],
	  [ "1,user,x\n", qr/"1" in the header line is not a column of memory.messages.*The first line names the columns/s, 'a row' ],
	  [ "\xff\n", qr/invalid byte sequence/, 'no text' ];
	is(import_csv(write_file("$dir/h", "conversation_id,role,content\n")), 'finished|0|0|0|0|0|0', 'a header alone imports nothing');
	is($node->safe_psql('postgres', "SET memory_ext.import_max_document = '1kB'; CALL memory.import_file('"
			. write_file("$dir/h",
				"conversation_id,account_id,role,content\n1,a,user," . 'x' x 2000 . "\n2,a,user,x\n") . "', 'csv', on_error => 'skip')") ne '', 1,
				'a limit');
	is(errors(), '1|2|too_large|$', 'a row that is too large');
	clear();
}

# --- times are those of the session

{
	my $file = write_file("$dir/times", "conversation_id,account_id,role,content,created_at\n1,a,user,x,02/01/2024 10:00\n");
	$node->safe_psql('postgres', "SET TimeZone = 'America/New_York'; SET DateStyle = 'ISO, DMY'; CALL memory.import_file('$file', 'csv')");
	is($node->safe_psql('postgres', 'SELECT created_at FROM memory.messages'), '2024-01-02 15:00:00+00', 'time zone and order of dates');
	clear();
}

# --- a worker and the server are killed in the middle

sub row
{
	my ($n, $with_seq) = @_;
	my $c = int(($n - 1) / 7) + 1;
	my $seq = ($n - 1) % 7 + 1;
	my $account = $c == 100 ? 'a held' : 'account ' . $c % 5;
	return join(',', conversation($c), $account, $with_seq ? $seq : (), 'user', qq("row $n, of\n$c")) . "\n";
}
foreach my $with_seq (1, 0)
{
	my $count = 1400;
	my $file = write_file("$dir/kill", join(',', 'conversation_id', 'account_id', $with_seq ? 'seq' : (), 'role', 'content') . "\n",
		map { row($_, $with_seq) } 1 .. $count);
	foreach my $case ([ 'file', 'worker', 2 ], [ 'file', 'server', 1 ], [ 'staged', 'server', 2 ])
	{
		my ($source, $victim, $workers) = @$case;
		my ($in, $out, $err) = ("BEGIN; SELECT memory.append('a held', '" . conversation(999_999) . "', 'user', 'x');\n\\echo ready\n", '', '');
		my $holder = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres') ], '<', \$in, '>', \$out, '2>', \$err);
		$holder->pump until $out =~ /ready/;
		my $job;
		if ($source eq 'file')
		{
			$job = $node->safe_psql('postgres', "CALL memory.import_file('$file', 'csv', workers => $workers, batch_size => 50, wait => false)");
		}
		else
		{
			$node->safe_psql('postgres', "\\copy memory.import_stage (line) FROM '$file' (FORMAT csv, DELIMITER E'\\x01', QUOTE E'\\x02')");
			$job = $node->safe_psql('postgres', "CALL memory.import_staged('csv', workers => $workers, batch_size => 50, wait => false)");
		}
		# all batches before that of account 'a held', and none behind it
		ok($node->poll_query_until('postgres',
			"SELECT documents = 650 AND EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'memory_ext job $job'
				AND wait_event_type = 'Lock')
			FROM memory.jobs WHERE job_id = $job"), "$source, seq $with_seq, the $victim is killed: batches are stored in order");
		if ($victim eq 'worker')
		{
			my ($pid) = split /\n/, $node->safe_psql('postgres',
				"SELECT pid FROM pg_stat_activity WHERE backend_type = 'memory_ext job' AND wait_event_type = 'Lock'");
			my $log = -s $node->logfile;
			kill KILL => $pid;
			$node->wait_for_log(qr/all server processes terminated; reinitializing/, $log);
			$node->wait_for_log(qr/database system is ready to accept connections/, $log);
		}
		else
		{
			$node->stop('immediate');
			$node->start;
		}
		$in = "ROLLBACK;\n\\q\n";
		eval { $holder->finish };
		my ($status, $stdout, $stderr) = $node->psql('postgres', "CALL memory.resume_job($job)");
		is($status, 0, 'it is resumed') or diag($stderr);
		is(counts($job), "finished|$count|200|" . ($count - 200) . "|0|0|$count", 'each row was imported once');
		is($node->safe_psql('postgres',
			"SELECT count(*) FROM memory.messages
				WHERE content <> format(E'row %s, of\\n%s', (('x' || left(conversation_id::text, 8))::bit(32)::int - 1) * 7 + seq,
				('x' || left(conversation_id::text, 8))::bit(32)::int)"), '0', 'each row is in its place');
		is($node->safe_psql('postgres', 'SELECT (SELECT count(*) FROM memory.import_stage) + (SELECT count(*) FROM memory_store.job_places)'),
			'0', 'nothing is left of the job');
		is(import_csv($file), "finished|$count|0|0|$count|0|0", 'another import changes nothing');
		is(problems(), '', 'no check finds a problem after another import');
		clear();
	}
}

# --- staged lines of other shapes

{
	my $file = write_file("$dir/staged", $shapes{'lines'} =~ s/\r//gr);
	foreach my $workers (1, 3)
	{
		$node->safe_psql('postgres',
			"SET ROLE loader; \\copy memory.import_stage (line) FROM '$file' (FORMAT csv, DELIMITER E'\\x01', QUOTE E'\\x02')");
		my ($status, $out, $err) = $node->psql('postgres',
			"SET ROLE loader; CALL memory.import_staged('csv', workers => $workers, batch_size => 97)");
		is($status, 0, "staged, $workers workers") or diag($err);
		is(counts($out) =~ s/\|.*?\|.*//r, 'finished', 'the job of staged lines is finished');
		is($node->safe_psql('postgres', 'SELECT count(*), count(DISTINCT conversation_id) FROM memory.messages'), @rows . '|200',
			'all rows are there');
		is($node->safe_psql('postgres', 'SELECT count(*) FROM memory.import_stage'), '0', 'the staged lines are gone after the import');
	}
	is(problems(), '', 'all is well');
	like(($node->psql('postgres', "CALL memory.import_staged('csv')"))[2], qr/the input has no header line/,
		'an import of no staged lines is refused, since it has no header');
}

$node->stop;
done_testing();
