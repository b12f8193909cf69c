# The binary form of memory.transcript, through COPY BINARY: round trips, and
# bytes that are not a transcript.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('transcript');
$node->init(extra => [ '--encoding=UTF8', '--no-locale' ]);
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION memory_ext');

my $dir = PostgreSQL::Test::Utils::tempdir;

# One row, one column, in COPY's binary format.
sub write_binary
{
	my ($file, $value) = @_;
	open(my $fh, '>:raw', $file) or die "$file: $!";
	print $fh "PGCOPY\n\xff\r\n\0", pack('NN', 0, 0), pack('n', 1), pack('N', length $value), $value,
	  pack('n', 0xffff);
	close $fh;
	return;
}

# Reads a value; gives its text form, or SQLSTATE and message.
sub receive
{
	my ($value, $encoding) = @_;
	my $file = "$dir/value.bin";
	$encoding //= 'UTF8';
	write_binary($file, $value);
	my ($status, $out, $err) = $node->psql('postgres', <<"SQL");
\\set VERBOSITY verbose
SET client_encoding = '$encoding';
CREATE TEMP TABLE received (t memory.transcript);
\\copy received FROM '$file' (FORMAT binary)
SET client_encoding = 'UTF8';
SELECT t FROM received;
SQL
	return $err =~ /ERROR:\s+(\w{5}): (.*)/ ? "$1 $2" : $out;
}

# The ten columns of a message; undef is NULL.
sub message
{
	return join '', map { defined $_ ? pack('N', length $_) . $_ : pack('N', 0xffffffff) } @_;
}

sub transcript
{
	return pack('NN', 1, scalar @_) . join('', @_);
}

# --- round trips
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE a (n int, t memory.transcript);
INSERT INTO a VALUES (1, '[]'), (2, '[{"role":"user","content":"hi"}]'),
	(3, '[{"seq":3,"parent_seq":1,"role":"user","content":"\u00e9","model":"m","tokens":1,"created_at":"-infinity",
	"message_id":"","metadata":{"a":"\u00fc"},"revision":7},{"role":"u","content":""}]');
INSERT INTO a SELECT 4, memory.transcript_agg('user', repeat('x', i)) FROM generate_series(0, 1000) i;
SQL
for my $encoding ('UTF8', 'LATIN1')
{
	for my $compression ('zstd:3', 'lz4', 'none')
	{
		my $same = $node->safe_psql('postgres', <<"SQL");
SET client_encoding = '$encoding';
SET memory_ext.compression = '$compression';
CREATE TEMP TABLE b (n int, t memory.transcript);
\\copy a TO '$dir/copy.bin' (FORMAT binary)
\\copy b FROM '$dir/copy.bin' (FORMAT binary)
SELECT count(*) FROM a JOIN b USING (n) WHERE a.t::text = b.t::text AND memory.verify(b.t);
SQL
		is($same, '4', "COPY BINARY gives back what it took: $encoding, $compression");
	}
}

# --- what the form is
my @plain = (pack('q>', 1), pack('q>', 0), 'user', 'hi', undef, undef, undef, undef, undef, undef);
is(receive(transcript(message(@plain))), '[{"role":"user","content":"hi"}]', 'a message written by hand is received');
is(receive(transcript(message(undef, undef, @plain[ 2 .. 9 ]), message(undef, undef, @plain[ 2 .. 9 ]))),
	'[{"role":"user","content":"hi"},{"role":"user","content":"hi"}]', 'NULL numbers take their defaults');
is(receive(transcript(message(@plain[ 0 .. 7 ], '{ "b" : 1 }', undef))),
	'[{"role":"user","content":"hi","metadata":{"b": 1}}]', 'metadata is normalized');
is(receive(transcript(message(@plain[ 0 .. 2 ], "\xe9", @plain[ 4 .. 9 ])), 'LATIN1'),
	"[{\"role\":\"user\",\"content\":\"\x{c3}\x{a9}\"}]", 'texts are in the client\'s encoding');

# --- what it is not
sub with
{
	my ($column, $value) = @_;
	my @columns = @plain;
	$columns[$column] = $value;
	return transcript(message(@columns));
}
like(receive(''), qr/^22P03 /, 'nothing');
like(receive(pack('N', 1)), qr/^22P03 /, 'half a header');
like(receive(pack('NN', 2, 0)), qr/^0A000 .*version 2/, 'bytes of another version are refused');
like(receive(pack('NN', 1, 1)), qr/^22P03 /, 'fewer messages than counted');
like(receive(pack('NN', 1, 0xffffffff)), qr/^22P03 /, 'a count that cannot be');
like(receive(transcript(message(@plain)) . 'x'), qr/^22P03 /, 'more bytes than messages');
like(receive(with(0, 'abcd')), qr/^22P03 /, 'seq of four bytes');
like(receive(with(0, pack('q>', 0))), qr/^22023 .*seq/, 'seq 0');
like(receive(with(1, pack('q>', 1))), qr/^22023 .*parent_seq/, 'its own parent');
like(receive(with(1, pack('q>', -1))), qr/^22023 .*parent_seq/, 'a parent below 0');
like(receive(with(2, undef)), qr/^22023 .*role/, 'no role');
like(receive(with(2, '')), qr/^22023 .*role/, 'an empty role');
like(receive(with(3, undef)), qr/^22023 .*content/, 'no content');
like(receive(with(3, "\xff")), qr/^22021 /, 'content that is not UTF-8');
like(receive(with(3, "a\0b")), qr/^22021 /, 'content with a zero byte');
like(receive(with(4, 'm' x 256)), qr/^54000 .*model/, 'model too long');
like(receive(with(5, pack('q>', 1))), qr/^22P03 /, 'tokens of eight bytes');
like(receive(with(5, pack('l>', -1))), qr/^22023 .*tokens/, 'negative tokens');
like(receive(with(6, pack('q>', -9223372036854775807))), qr/^22008 /, 'a time that is none');
like(receive(with(7, 'm' x 256)), qr/^54000 .*message_id/, 'message_id too long');
like(receive(with(8, '{')), qr/^22P02 /, 'metadata that is not JSON');
like(receive(with(8, '[]')), qr/^22023 .*metadata/, 'metadata that is no object');
like(receive(with(9, pack('q>', -1))), qr/^22023 .*revision/, 'a negative revision');

# --- cut anywhere, it is refused
my $whole = transcript(message(@plain),
	message(pack('q>', 2), pack('q>', 0), 'u', 'x' x 5, 'm', pack('l>', 3), pack('q>', 4), 'id', '{}', pack('q>', 5)));
is(receive($whole),
	'[{"role":"user","content":"hi"},{"parent_seq":0,"role":"u","content":"xxxxx","model":"m","tokens":3,'
	  . '"created_at":"2000-01-01T00:00:00.000004+00:00","message_id":"id","metadata":{},"revision":5}]',
	'two messages written by hand are received');
my @accepted = grep { receive(substr($whole, 0, $_)) !~ /^22P03 / } map { 7 * $_ } 0 .. int((length($whole) - 1) / 7);
is("@accepted", '', 'truncated values are refused');

$node->stop;
done_testing();
