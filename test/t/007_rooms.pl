# The rooms of src/ keep what test/rooms asks of them; and test/rooms sees it when they do not.
use strict;
use warnings;

use File::Basename;
use File::Path qw(make_path);
use File::Temp;
use FindBin;
use Test::More;

my $project = "$FindBin::RealBin/../..";

sub rooms
{
	my @lines = `$^X $project/test/rooms @_`;
	chomp @lines;
	return @lines;
}

is(join("\n", rooms($project)), '', 'the sources keep what test/rooms asks');

# Sources that break each rule once.
sub sources
{
	my (%files) = @_;
	my $folder = File::Temp->newdir;
	for my $name (keys %files)
	{
		make_path(dirname("$folder/$name"));
		open(my $out, '>', "$folder/$name") or die "$name: $!";
		print $out $files{$name};
		close $out or die "$name: $!";
	}
	return $folder;
}

my %good = (
	'Makefile' => "ROOMS = low middle high other\n",
	'src/low/low.h' => "extern int low_limit;\nextern int low(int n);\n",
	'src/low/low.c' => qq{#include "low.h"\nint low_limit = 1;\n\nint\nlow(int n)\n{\n\treturn n;\n}\n},
	'src/middle/middle.h' => "extern void middle(void);\n",
	'src/middle/middle.c' =>
	  qq{#include "low.h"\n#include "middle.h"\n/* high() */\nvoid\nmiddle(void)\n{\n\tlow(low_limit);\n}\n},
	'src/middle/middle.sql' => "-- memory_store.high()\nCREATE FUNCTION memory_store.middle() RETURNS void;\n",
	'src/high/high.h' => "extern void high(void);\n",
	'src/high/high.c' => qq{#include "middle.h"\nstatic void\nlow(void)\n{\n}\n\nvoid\nhigh(void)\n{\n\tmiddle();\n}\n},
	'src/high/high.sql' => "CREATE FUNCTION memory_store.high() AS 'SELECT memory_store.middle()';\n",
	'src/other/other.c' => "/* so that no folder has a quarter */\n" x 3,
	'src/top.c' => qq{#include "high.h"\n} x 60,
	'test/t/001_one.pl' => "1;\n");
is(join("\n", rooms(sources(%good))), '', 'calls to rooms below are allowed');

my @faults = (
	[ 'an include of a room above', 'src/low/low.c' => qq{#include "high.h"\n},
		'upward: src/low/low.c includes src/high/high.h' ],
	[ 'a call of a room above', 'src/low/low.c' => "void\nf(void)\n{\n\thigh();\n}\n",
		'upward: src/low/low.c uses src/high/high.c' ],
	[ 'a variable of a room above', 'src/low/lower.c' => "static int\nf(void)\n{\n\treturn x_of_high;\n}\n",
		'src/high/x.h' => "extern int x_of_high;\n", 'src/high/x.c' => "int x_of_high;\n",
		'upward: src/low/lower.c uses src/high/x.c' ],
	[ 'SQL that calls a room above', 'src/low/low.sql' => "SELECT memory_store.high();\n",
		'upward: src/low/low.sql uses src/high/high.sql' ],
	[ 'SQL inside C that calls a room above', 'src/low/low.c' => qq{char *s = "SELECT memory_store.high()";\n},
		'upward: src/low/low.c uses src/high/high.sql' ],
	[ 'a circle of three files',
		'src/low/x.c' => "void\nx(void)\n{\n\ty();\n}\n",
		'src/low/y.c' => "void\ny(void)\n{\n\tz();\n}\n",
		'src/low/z.c' => "void\nz(void)\n{\n\tx();\n}\n",
		'circle in src/low: x.c y.c z.c' ],
	[ 'a function of two files', 'src/other/low.c' => "int\nlow(int n)\n{\n}\n",
		'low is defined more than once', 'two files are called low.c: src/low/low.c and src/other/low.c' ],
	[ 'a file of 1001 lines', 'src/top.sql' => "--\n" x 1001, 'src/top.sql has more than 1000 lines' ],
	[ 'a line of C of 101 columns', 'src/low/low.c' => "\t" . '1' x 97 . "\n",
		'src/low/low.c has lines of more than 100 columns' ],
	[ 'a line of SQL of 101 columns', 'src/low/low.sql' => '--' . '1' x 99 . "\n",
		'src/low/low.sql has lines of more than 100 columns' ],
	[ 'a folder with more than a quarter', 'src/low/low.sql' => "--\n" x 60,
		'src/low holds more than 25 % of the code' ],
	[ 'a folder that is no room', 'src/new/new.c' => "\n",
		"src/new/new.c: the room new is not among the Makefile's ROOMS" ],
	[ 'a number of two tests', 'test/t/001_two.pl' => "1;\n",
		'two tests have the number 001: test/t/001_one.pl and test/t/001_two.pl' ],
	[ 'a line of a test of 140 characters', 'test/t/002_two.pl' => 'é' x 140 . "\n",
		'test/t/002_two.pl has lines of more than 139 characters' ]);
for my $fault (@faults)
{
	my ($name, @rest) = @$fault;
	my (%files, @expected);
	while (@rest)
	{
		if ($rest[0] =~ m{^(src|test)/\S+$}) { $files{ $rest[0] } .= $rest[1]; splice @rest, 0, 2; }
		else { push @expected, shift @rest; }
	}
	my %broken = %good;
	$broken{$_} .= $files{$_} for keys %files;
	no warnings 'uninitialized';
	is(join("\n", sort(rooms(sources(%broken)))), join("\n", sort @expected), "$name is found");
}

done_testing();
