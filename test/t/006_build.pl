# A build out of the tree, as packagers make it (VPATH), from sources that nobody may write to:
# what it installs is whole, and works.  Then what is built anew when a header changes.
use strict;
use warnings;

use File::Find;
use FindBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use lib "$FindBin::RealBin/../lib";
use MemoryTest;

my $pg_config = $ENV{PG_CONFIG} // 'pg_config';
my $folder = PostgreSQL::Test::Utils::tempdir_short();
my ($source, $build, $tree) = map { "$folder/$_" } qw(source build tree);
mkdir $_ or die "$_: $!" for $source, $build;

sub config
{
	my $value = `$pg_config --$_[0]`;
	chomp $value;
	return $value;
}

# make(folder, arguments): status and output.  Optimized code is not what is looked at here.
sub make
{
	my ($in, @arguments) = @_;
	my $command = join ' ', 'env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make --no-print-directory',
	  "-C $in COPT=-O0 PG_CONFIG=$pg_config", @arguments;
	my $output = `$command 2>&1`;
	return ($? >> 8, $output);
}

# Sources without what an earlier build left there.
my $project = "$FindBin::RealBin/../..";
system("cd $project && tar -cf - --exclude='*.[od]' Makefile *.control \$(ls *--*--*.sql 2> /dev/null) src sql \\
	test/specs test/lib/packages.sh | tar -C $source -xf -")
  == 0
  or die "no copy of the sources";
system("chmod -R a-w $source") == 0 or die;

my @out_of_tree = ("-f $source/Makefile", "VPATH=$source");
my ($status, $output) = make($build, '-j2', @out_of_tree, 'all');
is($status, 0, 'a build out of the tree succeeds') or diag $output;
($status, $output) = make($build, @out_of_tree, 'install', "DESTDIR=$tree");
is($status, 0, 'the installation of a build out of the tree succeeds') or diag $output;

my ($library, $extension) = ($tree . config('pkglibdir'), $tree . config('sharedir') . '/extension');
ok(-s "$library/memory_ext.so", 'the library is installed');
is( slurp_file("$extension/memory_ext.control"),
	slurp_file("$source/memory_ext.control"),
	'the control file is installed');

# the whole script: every file of SQL in src
my $script = slurp_file("$extension/memory_ext--1.0.sql");
my ($pieces, @lost) = (0);
find({ no_chdir => 1, wanted => sub {
	return if !/\.sql$/ || /--/;
	$pieces++;
	push @lost, $_ if index($script, slurp_file($_)) < 0;
} }, "$source/src");
ok($pieces > 10, "there are files of SQL to look for: $pieces");
is("@lost", '', 'the install script has every file of SQL in it');

# A private installation of this PostgreSQL with these files (see test/lib/private-server.sh).
my $bin = config('bindir');
system("mkdir -p $tree$bin && cp -L $bin/* $tree$bin/") == 0 or die;
system("mkdir -p $tree$_ && cp -rsn $_/. $tree$_/") == 0 or die for config('pkglibdir'), config('sharedir');
my $node = new_server('main', install_path => $tree . $bin =~ s{/bin$}{}r);
$node->start;
is($node->safe_psql('postgres', 'SHOW dynamic_library_path'), '$libdir', 'the server takes libraries from its own folder');
$node->safe_psql('postgres', 'CREATE EXTENSION memory_ext');
is( $node->safe_psql('postgres',
		"SELECT memory.append('ann', '00000000-0000-0000-0000-000000000001', 'user', 'hello');
		SELECT content FROM memory.messages"),
	"1\nhello",
	'CREATE EXTENSION works from it, and so does what it creates');
$node->stop;

# What depends on a header is compiled again, and nothing else.
($status, $output) = make($build, @out_of_tree, '-q all');
is($status, 0, 'after a build there is nothing to do') or diag +(make($build, @out_of_tree, '-n all'))[1];
my (%includer, @objects);
find({ no_chdir => 1, wanted => sub {
	return if !/\.c$/;
	my $object = s{^\Q$source\E/}{}r =~ s/\.c$/.o/r;
	push @objects, $object;
	$includer{$_}{$object} = 1 for slurp_file($_) =~ /^#include "([a-z_]+\.h)"$/mg;
} }, "$source/src");
my %headers;
find({ no_chdir => 1, wanted => sub { $headers{s{.*/}{}r} = $_ if /\.h$/ } }, "$source/src");
# the one that the fewest files name
my ($header) = sort { keys %{ $includer{$a} } <=> keys %{ $includer{$b} } || $a cmp $b } grep { $includer{$_} } keys %headers;
utime undef, undef, $headers{$header} or die "$headers{$header}: $!";
($status, $output) = make($build, @out_of_tree, '-n all');
my %again = map { $_ => 1 } $output =~ / -c -o (\S+\.o)/g;
is( join(' ', grep { !$again{$_} } sort keys %{ $includer{$header} }),
	'', "what includes $header is compiled again when it changes");
ok(keys(%again) > 0 && keys(%again) < @objects / 2, 'the rest is not: ' . keys(%again) . ' of ' . @objects);

# A tree with a build in it is refused: its files would be taken for those of this build.
system("chmod -R u+w $source && touch $source/memory_ext.exports.txt") == 0 or die;
($status, $output) = make($build, @out_of_tree, 'all');
like($output, qr/has been built in itself; run make clean there first/, 'a tree that was built in itself is refused');
isnt($status, 0, 'the build fails where the tree was built in itself');

done_testing();
