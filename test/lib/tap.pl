# Runs TAP tests, two files at a time, as prove does, and counts assertions.
#
#	perl tap.pl COUNTS SECONDS FILE ...
#
# Writes to COUNTS "passed failed", then a line for each thing that failed.  A file that dies, or
# runs another number of assertions than it planned, counts as one failure at least; so does one
# that has not ended after SECONDS, when all stops.
# PERL_TEST_HARNESS_DUMP_TAP names a folder that gets the raw output of each file; TESTLOGDIR the
# one where PostgreSQL::Test::Utils and the servers write their logs.
use strict;
use warnings;

use TAP::Harness;
use Time::HiRes qw(time);

my ($counts, $seconds, @files) = @ARGV;
my ($passed, $failed, @trouble) = (0, 0);
my (%start, %ended);

$| = 1;
$SIG{INT} = $SIG{TERM} = sub { exit 130 };

sub tail
{
	my ($file, $lines) = @_;
	open my $in, '<', $file or return;
	my @all = <$in>;
	splice @all, 0, @all - $lines if @all > $lines;
	print "--- end of $file\n", @all;
	return;
}

sub show_logs
{
	my ($file, $name) = @_;
	tail("$ENV{PERL_TEST_HARNESS_DUMP_TAP}/$file", 60);
	tail($_, 40) for glob "$ENV{TESTLOGDIR}/regress_log_$name $ENV{TESTLOGDIR}/${name}_*.log";
	return;
}

sub write_counts
{
	open my $out, '>', $counts or die "$counts: $!";
	print $out "$passed $failed\n", map { "$_\n" } @trouble;
	close $out or die "$counts: $!";
	return;
}

my $harness = TAP::Harness->new({ jobs => 2, merge => 1, verbosity => -3 });
$harness->callback(parser_args => sub { $start{ $_[1]->[0] } = time; return; });
$harness->callback(
	after_test => sub {
		my ($job, $parser) = @_;
		my $file = $job->[0];
		(my $name = $file) =~ s{.*/|\.pl$}{}g;

		my $good = scalar $parser->actual_passed;
		my $bad = scalar $parser->actual_failed;
		$bad ||= 1 if $parser->has_problems;
		$bad ||= 1 if !$good && !$parser->skip_all;
		$passed += $good;
		$failed += $bad;
		my $took = time - $start{$file};
		$ended{$file} = 1;
		my $says =
			$bad ? 'FAILED'
		  : $parser->skip_all ? 'skipped: ' . $parser->skip_all
		  : 'ok';
		printf "  %-32s %-6s  %6.1f s  %d assertions\n", $name, $says, $took,
		  $good + scalar $parser->actual_failed;
		return unless $bad;

		push @trouble,
		  "tap: $name"
		  . ($parser->failed ? ' (' . join(', ', $parser->failed) . ')' : '')
		  . ($parser->exit ? ", exit status " . $parser->exit : '');
		print "    $_\n" for $parser->parse_errors;
		show_logs($file, $name);
	});
$SIG{ALRM} = sub {
	print "stopped after $seconds seconds\n";
	foreach my $file (grep { !$ended{$_} } @files)
	{
		(my $name = $file) =~ s{.*/|\.pl$}{}g;
		printf "  %-32s DID NOT END\n", $name;
		show_logs($file, $name);
		$failed++;
		push @trouble, "tap: $name (did not end)";
	}
	write_counts();
	$SIG{TERM} = 'IGNORE';
	kill TERM => -getpgrp;
	exit 124;
};
alarm $seconds;
$harness->runtests(@files);
write_counts();
