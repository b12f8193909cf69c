# memory.messages and memory.conversations against a model: plain tables with the
# same columns and rules (test/lib/relation_model.sql).  Random statements
# (test/lib/ModelStatements.pm) are run against both; each must say the same (its
# tag, its rows, its SQLSTATE) and leave the same.
#
# A run of the suite is the same each time: the seed is MODEL_SEED, by default 1.  Whoever looks
# for faults says MODEL_SEED=random; the seed is printed, and repeats the run.  MODEL_STATEMENTS
# makes it longer or shorter.
use strict;
use warnings;

use FindBin;
use IPC::Open2;
use lib "$FindBin::RealBin/../lib";
use MemoryTest;
use ModelStatements qw(state_key functions_sql prepared_sql next_step);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $wanted = $ENV{MODEL_STATEMENTS} // 20000;
my $seed = $ENV{MODEL_SEED} // 1;
$seed = int(rand(1_000_000_000)) if $seed eq 'random';
my $shown = 15;    # of the statements before a difference
my $every = 200;    # so many statements, and everything is compared
srand $seed;
note("MODEL_SEED=$seed MODEL_STATEMENTS=$wanted");

my $node = new_server('relation_model');
$node->append_conf('postgresql.conf', <<'CONF');
fsync = off
jit = off
log_min_error_statement = panic
memory_ext.segment_messages = 4
CONF
$node->start;
my $dir = PostgreSQL::Test::Utils::tempdir;

sub for_side
{
	my ($sql, $side) = @_;
	$sql =~ s/REL\b/$side/g;
	return $sql;
}

# --- one psql for all, which reads each step from a file
$node->safe_psql('postgres', 'CREATE EXTENSION memory_ext');
$node->safe_psql('postgres', PostgreSQL::Test::Utils::slurp_file("$FindBin::RealBin/../lib/relation_model.sql"));
$node->safe_psql('postgres', for_side(functions_sql(), $_)) for qw(memory model);

my ($from_psql, $to_psql);
my $psql = open2($from_psql, $to_psql,
	'psql -X -A -t -d ' . "'" . $node->connstr('postgres') . "'" . " -v VERBOSITY=sqlstate -P null='~' 2>&1");
my $rounds = 0;

# Runs a script; the output's lines, by what the last "\echo @@ NAME" before them said.
sub run_script
{
	my ($script) = @_;
	my ($name, %said) = ('');
	$rounds++;
	write_file("$dir/step.sql", $script);
	print $to_psql "\\i $dir/step.sql\n\\echo @\@end $rounds\n";
	$to_psql->flush;
	while (defined(my $line = <$from_psql>))
	{
		chomp $line;
		return \%said if $line eq "@\@end $rounds";
		if ($line =~ /^@@ (.*)/)
		{
			$name = $1;
			next;
		}
		$line =~ s/^psql:\S+: (?=ERROR|FATAL|WARNING)//;
		push @{ $said{$name} }, $line;
	}
	die "psql ended: " . join("\n", map { @$_ } values %said);
}

my $state_sql = <<'SQL';
\echo @@ state
SELECT n.conversation_id, n.account_id, n.next_seq, n.deleted::int, (c.conversation_id IS NOT NULL)::int, COALESCE(c.message_count, 0),
	(SELECT string_agg(seq::text, ',') FROM (SELECT seq FROM model.messages m
		WHERE m.conversation_id = n.conversation_id AND m.account_id = n.account_id ORDER BY seq DESC LIMIT 30) s)
FROM model.numbers n LEFT JOIN model.conversations c USING (conversation_id, account_id);
SQL

sub read_state
{
	my %state;
	for my $line (@_)
	{
		my ($id, $account, $next, $deleted, $exists, $count, $seqs) = split /\|/, $line;
		$state{ state_key($id, $account) } = { id => $id, account => $account, next => $next, deleted => $deleted, exists => $exists,
			count => $count, seqs => [ grep { $_ ne '~' } split /,/, $seqs ] };
	}
	return \%state;
}

# --- steps as scripts
my (@log, %kinds, %states, $difference);
my $statements = 0;

sub check_sql
{
	my ($name, @items) = @_;
	my %ids = map { $_ => 1 } map { @{ $_->{ids} // [] } } @items;
	return '' if !%ids;
	return "\\echo @@ $name check\nSELECT model.difference('{" . join(',', sort keys %ids) . "}');\n";
}

sub both_sql
{
	my ($name, $side, $item) = @_;
	my $end = $item->{sql} =~ /\\\.\n\z/ ? '' : ";\n";
	return "\\echo @@ $name $side\n" . for_side($item->{sql}, $side) . $end;
}

sub script_of
{
	my @items = @_;
	my $script = "\\set ON_ERROR_ROLLBACK " . (@items > 1 ? 'on' : 'off') . "\n";
	for my $i (0 .. $#items)
	{
		my $item = $items[$i];
		if ($item->{both})
		{
			$script .= "\\echo @@ $i both\n$item->{both}\n";
			$script .= check_sql($i, $item);
		}
		elsif ($item->{whole})
		{
			my @parts = @{ $item->{whole} };
			for my $side (qw(memory model))
			{
				$script .= both_sql("$i.$_", $side, $parts[$_]) for 0 .. $#parts;
			}
			$script .= check_sql($i, @parts);
		}
		else
		{
			$script .= both_sql($i, $_, $item) for qw(memory model);
			$script .= check_sql($i, $item);
		}
	}
	return $script;
}

# --- what was said
sub compare_said
{
	my ($item, $memory, $model) = @_;
	my @sides = map { $_ ? [@$_] : [] } $memory, $model;
	# the order of rows is promised by ORDER BY only
	if ($item->{kind} !~ /^(?:read|fetch)$/)
	{
		$_ = [ sort @$_ ] for @sides;
	}
	my ($got, $expected) = map { join "\n", @$_ } @sides;
	$statements++;
	$kinds{ $item->{kind} }++;
	push @log, "/* $statements */ $item->{sql};";
	shift @log if @log > 200;
	for my $line (@{ $sides[1] })
	{
		$states{$1}++ if $line =~ /^ERROR:  (\w{5})$/;
	}
	return if $got eq $expected;
	# a statement with several faults: which one is reported is not promised
	return if ($item->{kind} =~ /^fails: / || $item->{several_rows}) && $got =~ /^ERROR:  \w{5}$/ && $expected =~ /^ERROR:  \w{5}$/;
	$difference //= "statement $statements ($item->{kind}) said\n$got\nbut the model\n$expected";
	return;
}

sub compare_check
{
	my ($said) = @_;
	return if !$said || !@$said;
	$difference //= "after statement $statements:\n" . join "\n", @$said;
	return;
}

sub compare_step
{
	my ($said, @items) = @_;
	for my $i (0 .. $#items)
	{
		my $item = $items[$i];
		if ($item->{both})
		{
			push @log, $item->{both};
			my @wrong = grep { /ERROR|FATAL|WARNING/ } @{ $said->{"$i both"} // [] };
			$difference //= "$item->{both} said @wrong" if @wrong;
		}
		elsif ($item->{whole})
		{
			my @parts = @{ $item->{whole} };
			compare_said($parts[$_], $said->{"$i.$_ memory"}, $said->{"$i.$_ model"}) for 0 .. $#parts;
		}
		else
		{
			compare_said($item, $said->{"$i memory"}, $said->{"$i model"});
		}
		compare_check($said->{"$i check"});
		last if $difference;
	}
	return;
}

# --- the run
run_script(join '', map { for_side(prepared_sql(), $_) } qw(memory model));
my $state = {};
my $compared = 0;
my ($sealed, $tail) = (0, 0);
while ($statements < $wanted && !$difference)
{
	my @items = next_step($state, $relations_are_tables);
	my $script = script_of(@items) . $state_sql;
	if ($statements >= $compared + $every)
	{
		$compared = $statements;
		$script .= "\\echo @@ all\nSELECT model.difference(NULL);\n"
		  . "\\echo @@ places\nSELECT (SELECT count(*) FROM memory_store.segments), (SELECT count(*) FROM memory_store.tail);\n";
	}
	my $said = run_script($script);
	compare_step($said, @items);
	compare_check($said->{all});
	if ($said->{places})
	{
		my ($segments, $rows) = split /\|/, $said->{places}[0];
		$sealed++ if $segments > 0;
		$tail++ if $rows > 0;
	}
	$state = read_state(@{ $said->{state} // [] });
}
compare_check(run_script("\\echo @@ all\nSELECT model.difference(NULL);\n")->{all}) if !$difference;
close $to_psql;
waitpid $psql, 0;

is($difference // '', '', "$statements statements say and leave what the model says and has")
  or diag("MODEL_SEED=$seed MODEL_STATEMENTS=$wanted; the last statements:\n" . join("\n", splice @log, @log > $shown ? -$shown : 0));
is(problems_of($node), '', 'the tables of the store agree with each other');

# --- what a run must have had
SKIP:
{
	skip 'a short run', 1 if $wanted < 5000 || $difference;
	cmp_ok($sealed, '>', $wanted / $every / 2, "segments were there at $sealed of " . int($wanted / $every) . ' looks');
	cmp_ok($tail, '>', $wanted / $every / 2, "tails at $tail");
	my @missing = grep { ($states{$_} // 0) < $wanted / 5000 } qw(22004 22023 23505 0A000 22012 54000 55000 25P02);
	is("@missing", '', 'errors of each kind: ' . join(', ', map { "$_ $states{$_}" } sort keys %states));
	my @common = qw(insert insert_without_account insert_select insert_self insert_several insert_nested insert_conversation copy
	  update_key update_range update_from update_in update_joined update_parent update_account update_conversation
	  delete_key delete_range delete_using delete_in delete_conversation with_insert with_several prepared function
	  read cursor fetch hold savepoint);
	push @common, 'on_conflict', 'on_conflict_conversation' if $relations_are_tables;
	@missing = grep { ($kinds{$_} // 0) < $wanted / 2000 } @common;
	is("@missing", '', 'statements of each kind: ' . join(', ', map { "$_ $kinds{$_}" } sort keys %kinds));
}

$node->stop;
done_testing();
