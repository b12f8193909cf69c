# Search finds what a plain search over memory.messages finds, in the same order: random queries of
# several classes, in many languages, whatever was done to the messages, with blocks, without, and with
# half of them.  The plain search is Perl's: it folds by Perl's own tables and looks at every message.
use strict;
use warnings;
use utf8;

use Encode qw(decode_utf8 encode_utf8);
use FindBin;
use lib "$FindBin::RealBin/../lib";
use JSON::PP;
use MemoryTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Unicode::Normalize qw(NFC NFD NFKD);

my $node = new_server('search');
$node->append_conf('postgresql.conf', <<'CONF');
autovacuum = off
memory_ext.compact_after = 0
memory_ext.seal_after = 0
memory_ext.compact_compression = 'zstd:3'
memory_ext.segment_messages = 8
CONF
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION memory_ext');

srand($ENV{SEED} // 17);

# ---- what is written ----

my @latin = qw(bread Brot naïve café élan Straße STRASSE größe señor São ångström coöperate fiancée
	résumé PostgreSQL vacuum index planner snake_case C++ x2 3.14 don't e-mail foo@bar.example Ljubljana
	čeština příliš žluťoučký kůň żółw łódź øre ﬁne ｆｕｌｌ a I to be of state-of-the-art 2026 10x);
my @greek = qw(ἀγάπη Ὀδυσσεύς λόγος ΛΌΓΟΣ καλημέρα);
my @cyrillic = qw(хлеб Ёжик йод привет МИР мира);
my @signs = ('面包', '你好世界', '焦虑', 'パン', 'ﾊﾟﾝ', 'ガラス', 'かがみ', '東京タワー', '한국어', '빵집', 'ขนมปัง', '🎉', '👍🏽');
my @indic = ('रोटी', 'क़लम', 'हिन्दी', 'தமிழ்', 'خبز', 'עברית');
my @between = (' ', ' ', ' ', ', ', '. ', "\n", ' — ', '', '; ', ' (', ') ');

sub pick { return $_[rand @_] }

sub word
{
	my $kind = rand;
	my $word = $kind < .5 ? pick(@latin) : $kind < .6 ? pick(@greek) : $kind < .7 ? pick(@cyrillic)
		: $kind < .9 ? pick(@signs) : pick(@indic);
	$word .= pick('a' .. 'z') x int(rand 4) if rand() < .2;
	$word = uc $word if rand() < .1;
	$word = NFD($word) if rand() < .1;
	return $word;
}

sub text
{
	return join '', map { word() . pick(@between) } 1 .. 1 + int(rand shift);
}

# ---- what is right ----

sub fold
{
	my ($text) = @_;
	$text =~ tr/łŁøØ/lloo/;
	for (1 .. 2)
	{
		$text = CORE::fc(NFKD($text));
		$text =~ s/[\x{300}-\x{36f}\x{5b0}-\x{5bd}\x{640}\x{64b}-\x{652}\x{200b}-\x{200f}\x{fe0f}\x{1f3fb}-\x{1f3ff}]//g;
	}
	return NFC($text);
}

my $sign = qr/[\p{Han}\p{Hiragana}\p{Katakana}ー\p{Hangul}\p{Thai}🎉👍]/;
my $letter = qr/(?!$sign)[\p{L}\p{M}\p{N}]/;

# The regular expression of a term that was typed; undef: there is no word in it.
sub term
{
	my ($typed, $inside, $whole) = @_;
	my @parts = fold($typed) =~ /((?:$letter)+|(?:$sign)+|(?:(?!$letter|$sign).)+)/gs;
	shift @parts while @parts && $parts[0] !~ /^(?:$letter|$sign)/;
	pop @parts while @parts && $parts[-1] !~ /^(?:$letter|$sign)/;
	return undef unless @parts;
	my $regex = join '', map { /^(?:$letter|$sign)/ ? quotemeta : qr/(?:(?!$letter|$sign).)+/s } @parts;
	$regex = "(?<!$letter)$regex" if !$inside && $parts[0] =~ /^$letter/;
	$regex .= "(?!$letter)" if $whole && $parts[-1] =~ /^$letter/;
	return qr/$regex/;
}

# A query: its text, and what it means: alternatives that are all wanted, and what must not be there.
sub query
{
	my ($class) = @_;
	my (@typed, @wanted, @unwanted);
	my $add = sub
	{
		my ($typed, $text, @how) = @_;
		my $term = term($text, @how);
		push @typed, $typed;
		push @wanted, [$term] if defined $term;
	};
	if ($class eq 'words' || $class eq 'mixed')
	{
		for (1 .. 1 + int rand 3)
		{
			my $word = $class eq 'words' ? pick(@latin, @greek, @cyrillic) : word();
			$word = substr $word, 0, 1 + int rand length $word if rand() < .3;
			next if $word =~ /^[-=*"]|OR/;
			$add->($word, $word);
		}
	}
	elsif ($class eq 'phrases')
	{
		my $phrase = join pick(@between), map { word() } 1 .. 2;
		$phrase =~ tr/"//d;
		$add->("\"$phrase\"", $phrase);
	}
	elsif ($class eq 'signs')
	{
		my $text = pick(@signs);
		my $at = int rand length $text;
		$text = substr $text, $at, 1 + int rand 3;
		$add->($text, $text);
	}
	elsif ($class eq 'operators')
	{
		my ($one, $two, $three) = map { pick(@latin, @signs) } 1 .. 3;
		$add->("=$one", $one, 0, 1) if rand() < .3;
		my $inside = substr $two, int rand length $two;
		$add->("*$inside", $inside, 1, 0) if rand() < .4 && $inside !~ /^[-=*"]/;
		if (rand() < .5 || !@wanted)
		{
			push @typed, "$one OR $three";
			push @wanted, [grep { defined } term($one), term($three)];
		}
		my $not = pick(@latin, @signs);
		push @typed, "-$not";
		push @unwanted, term($not);
	}
	elsif ($class eq 'absent')
	{
		my $word = join '', map { pick('q', 'x', 'z', '龘') } 1 .. 4;
		$add->($word, $word);
		$add->('bread', 'bread') if rand() < .5;
	}
	return @wanted ? { text => join(' ', @typed), wanted => \@wanted, unwanted => \@unwanted } : query($class);
}

sub matches
{
	my ($query, $folded) = @_;
	for my $alternatives (@{ $query->{wanted} })
	{
		return 0 unless grep { $folded =~ $_ } @$alternatives;
	}
	return !grep { $folded =~ $_ } @{ $query->{unwanted} };
}

# ---- comparing ----

my @classes = qw(words phrases signs mixed operators absent);
my $limit = 100;

sub messages_of
{
	my ($server, $database, $account) = @_;
	my $json = JSON::PP->new->utf8;
	my @messages = map { $json->decode($_) } split /\n/, $server->safe_psql($database, <<"SQL");
SELECT json_build_array(conversation_id, seq, to_char(created_at AT TIME ZONE 'UTC', 'YYYYMMDDHH24MISSUS'), content)
FROM memory.messages WHERE account_id = '$account'
SQL
	@messages = sort { $b->[2] cmp $a->[2] || $b->[0] cmp $a->[0] || $b->[1] <=> $a->[1] } @messages;
	$_->[3] = fold($_->[3]) for @messages;
	return \@messages;
}

sub expected
{
	my ($messages, $query) = @_;
	my @found;
	for my $message (@$messages)
	{
		push @found, "$message->[0]/$message->[1]" if matches($query, $message->[3]);
		last if @found == $limit;
	}
	return join ' ', @found;
}

sub answers
{
	my ($server, $database, $account, $queries, $setting) = @_;
	my $sql = "$setting;\n";
	for my $i (0 .. $#$queries)
	{
		my $text = encode_utf8($queries->[$i]{text});
		$text =~ s/'/''/g;
		$sql .= "SELECT $i, string_agg(conversation_id || '/' || seq, ' ' ORDER BY created_at DESC, conversation_id DESC, seq DESC)"
			. " FROM memory.search('$account', '$text', max_results => $limit, all_branches => true);\n";
	}
	return map { /^\d+\|(.*)$/ ? $1 : () } split /\n/, $server->safe_psql($database, $sql);
}

# Runs so many queries of each class, and compares.
sub compare
{
	my ($label, $count, %o) = @_;
	my ($server, $database, $account) = ($o{server} // $node, $o{database} // 'postgres', $o{account} // 'ann');
	my $messages = messages_of($server, $database, $account);
	for my $class (@classes)
	{
		my @queries = map { query($class) } 1 .. $count;
		my @answers = answers($server, $database, $account, \@queries, $o{setting} // 'SELECT');
		my $found = 0;
		my @wrong;
		for my $i (0 .. $#queries)
		{
			my $expected = expected($messages, $queries[$i]);
			$found++ if $expected ne '';
			push @wrong, $queries[$i]{text} . ": " . ($answers[$i] // 'nothing') . "\nexpected: $expected" if ($answers[$i] // '') ne $expected;
		}
		is(scalar @wrong, 0, "$label: $count queries of class $class, $found find something");
		diag(encode_utf8(join "\n", @wrong[0 .. ($#wrong > 2 ? 2 : $#wrong)])) if @wrong;
		ok($found > 0, "$label: $class: some find something") if $class ne 'absent';
	}
}

# Each of the three ways.
sub compare_all
{
	my ($label, $count, %o) = @_;
	my $database = $o{database} // 'postgres';
	compare("$label, with blocks", $count, %o);
	compare("$label, without", $count, %o, setting => 'SET memory_ext.search_blocks = off');
	$node->safe_psql($database, <<'SQL');
CREATE TABLE kept AS SELECT * FROM memory_store.search_blocks;
DELETE FROM memory_store.search_blocks WHERE block_no % 2 = 0;
SQL
	compare("$label, with half of them", $count, %o);
	$node->safe_psql($database, <<'SQL');
DELETE FROM memory_store.search_blocks;
INSERT INTO memory_store.search_blocks SELECT * FROM kept;
DROP TABLE kept;
SQL
}

# ---- what happens to the messages ----

sub quoted
{
	my $text = encode_utf8(shift);
	$text =~ s/'/''/g;
	return "'$text'";
}

sub id { return sprintf '%08x-0000-4000-8000-%012x', (shift() * 2654435761) % 2**32, 0 }

sub append_sql
{
	my ($account, $conversation, $words) = @_;
	my $at = sprintf "timestamptz '2026-01-01Z' + interval '%d s'", int rand 30_000_000;
	return 'SELECT memory.append(' . quoted($account) . ", '" . id($conversation) . "', 'user', " . quoted(text($words))
	  . ", created_at => $at);\n";
}

my $sql = '';
for my $account ('ann', 'bob')
{
	$sql .= append_sql($account, 1 + int rand 300, 12) for 1 .. ($account eq 'ann' ? 1500 : 100);
}
$sql .= append_sql('ann', 1, 3000);
$node->safe_psql('postgres', $sql);
is($node->safe_psql('postgres', 'SELECT count(*) FROM memory_store.search_blocks'), 0, 'appends build nothing');
compare('in tails', 100);

$node->safe_psql('postgres', 'CALL memory.maintain()');
cmp_ok($node->safe_psql('postgres', q(SELECT count(*) FROM memory_store.search_blocks
	WHERE account_id = 'ann')), '>', 1, 'maintain() builds blocks');
is($node->safe_psql('postgres', q(SELECT s.revision - a.revision
	FROM memory_store.search_accounts s JOIN memory_store.accounts a USING (account_id) WHERE account_id = 'ann')), 0,
		'the blocks go to the account\'s revision');
compare('after maintain()', 1000);
compare_all('after maintain()', 30);

$node->safe_psql('postgres', join '', map { append_sql('ann', 1 + int rand 330, 12) } 1 .. 200);
compare_all('after appends', 60);

my @some = split /\n/, $node->safe_psql('postgres', q(SELECT conversation_id || '/' || seq
	FROM memory.messages WHERE account_id = 'ann' ORDER BY md5(conversation_id::text || seq) LIMIT 120));
$sql = '';
for my $i (0 .. $#some)
{
	my ($id, $seq) = split m{/}, $some[$i];
	$sql .= $i % 3 == 0 ? "DELETE FROM memory.messages WHERE account_id = 'ann' AND conversation_id = '$id' AND seq = $seq;\n"
		: "UPDATE memory.messages SET content = " . quoted(text(10)) . " WHERE account_id = 'ann' AND conversation_id = '$id' AND seq = $seq;\n";
}
$sql .= "DELETE FROM memory.conversations WHERE account_id = 'ann' AND conversation_id IN (SELECT conversation_id
	FROM memory.conversations WHERE account_id = 'ann' ORDER BY md5(conversation_id::text) LIMIT 20);\n";
$node->safe_psql('postgres', $sql);
cmp_ok($node->safe_psql('postgres', 'SELECT sum(erased) FROM memory_store.search_blocks'), '>', 0,
	'entries of what was changed lose their filters');
compare_all('after edits and deletes', 60);

$node->safe_psql('postgres', q(SELECT memory.seal('ann')));
compare('after seal', 60);
$node->safe_psql('postgres', 'CALL memory.maintain()');
is($node->safe_psql('postgres', 'SELECT sum(erased) FROM memory_store.search_blocks'), 0, 'maintain() builds new filters');
is($node->safe_psql('postgres', q(SELECT s.blocks - count(*)
	FROM memory_store.search_accounts s JOIN memory_store.search_blocks USING (account_id)
	WHERE account_id = 'ann' GROUP BY s.blocks)), 0, 'maintain() counts the blocks');
compare_all('after compaction', 60);

# an old snapshot sees what it saw
my $old = $node->background_psql('postgres');
$old->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM memory.messages');
my $before = $old->query_safe(q(SELECT count(*) FROM memory.search('ann', 'bread', max_results => 1000, all_branches => true)));
$node->safe_psql('postgres', join('', map { append_sql('ann', 400 + $_, 30) } 1 .. 100) . 'CALL memory.maintain()');
is($old->query_safe(q(SELECT count(*) FROM memory.search('ann', 'bread', max_results => 1000, all_branches => true))),
	$before, 'an old snapshot finds what it found');
$old->quit;
compare('after more blocks', 60);

# a document that is imported, and documents of another database
my $document = decode_utf8(JSON::PP->new->utf8->encode({ messages => [map { { role => 'user', content => text(20) } } 1 .. 20] }));
is($node->safe_psql('postgres', 'SELECT state FROM memory.import_document(' . quoted('ann') . ', '
	  . quoted($document) . ')'), 'imported', 'a document is imported');
compare('after import', 60);
$node->safe_psql('postgres', 'CREATE DATABASE restored');
my $dump = $node->basedir . '/search.dump';
$node->command_ok(['pg_dump', '-f', $dump, $node->connstr('postgres')], 'dumped');
$node->command_ok(['psql', '-qX', '-v', 'ON_ERROR_STOP=1', '-f', $dump, $node->connstr('restored')], 'restored');
is($node->safe_psql('restored', 'SELECT count(*) FROM memory_store.search_blocks'), 0, 'blocks are not dumped');
compare('after restore', 60, database => 'restored');
$node->safe_psql('restored', 'CALL memory.maintain()');
compare('after restore and maintain()', 60, database => 'restored');

for my $table (qw(search_blocks search_accounts))
{
	$node->safe_psql('postgres', "TRUNCATE memory_store.$table");
	compare("after TRUNCATE $table", 30);
	$node->safe_psql('postgres', 'CALL memory.maintain()');
	compare("after TRUNCATE $table and maintain()", 30);
	is($node->safe_psql('postgres', q(SELECT s.revision - a.revision
		FROM memory_store.search_accounts s JOIN memory_store.accounts a USING (account_id) WHERE account_id = 'ann')), 0,
			'the blocks are built anew');
}

$node->safe_psql('postgres', q(SELECT memory.forget('ann')));
is($node->safe_psql('postgres', q(SELECT (SELECT count(*) FROM memory_store.search_blocks
	WHERE account_id = 'ann') + (SELECT count(*) FROM memory_store.search_accounts
	WHERE account_id = 'ann'))), 0, 'forget() leaves no block');
is($node->safe_psql('postgres', q(SELECT count(*) FROM memory.search('ann', 'bread'))), 0, 'nothing of a forgotten account is found');
compare('of another account', 60, account => 'bob');

done_testing();
