# What test/lib/packages.sh finds missing on machines that lack this and that, and installs.  A
# machine is a folder: PATH and Debian's folder of PostgreSQL lead there, and its pg_config,
# compiler, perl, id, apt-cache and apt-get are short scripts that know its files only.
use strict;
use warnings;

use File::Path qw(make_path);
use File::Temp;
use FindBin;
use Test::More;

my $lib = "$FindBin::RealBin/../lib/packages.sh";
my $tools = File::Temp->newdir;
my $root;

sub script
{
	my ($file, $text) = @_;
	open(my $out, '>', $file) or die "$file: $!";
	print $out "#!/bin/sh\n$text";
	close $out or die "$file: $!";
	chmod 0755, $file or die "$file: $!";
	return;
}

# Each fake package is a script that makes its files below $ROOT.
sub packages
{
	my %package = (
		'make' => 'touch $ROOT/bin/make; chmod +x $ROOT/bin/make',
		'gcc' => 'ln -sf $ROOT/tools/compiler $ROOT/bin/gcc',
		'libc6-dev' => 'touch $ROOT/include/stdio.h $ROOT/lib/libc.so',
		'libzstd-dev' => 'touch $ROOT/include/zstd.h $ROOT/lib/libzstd.so',
		'liblz4-dev' => 'touch $ROOT/include/lz4.h $ROOT/lib/liblz4.so',
		'libhiredis-dev' => 'touch $ROOT/include/hiredis/hiredis.h $ROOT/lib/libhiredis.so',
		'perl' => 'touch $ROOT/perl/Test::More $ROOT/perl/TAP::Harness $ROOT/perl/Time::HiRes',
		'libipc-run-perl' => 'touch $ROOT/perl/IPC::Run',
		'redis-tools' => 'touch $ROOT/bin/redis-cli; chmod +x $ROOT/bin/redis-cli',
		'pgbouncer' => 'touch $ROOT/sbin/pgbouncer; chmod +x $ROOT/sbin/pgbouncer;
			[ ! -e $ROOT/sbin/policy-rc.d ] || $ROOT/sbin/policy-rc.d || exit 0; touch $ROOT/started');
	for my $major (13, 15, 17, 18)
	{
		my $folder = "\$ROOT/pg/$major";
		$package{"postgresql-client-$major"} =
		  "mkdir -p $folder/bin $folder/lib; touch $folder/lib/pgxs.mk;"
		  . "sed s:FOLDER:$folder: \$ROOT/tools/pg_config > $folder/bin/pg_config; chmod +x $folder/bin/pg_config";
		$package{"libpq-dev-$major"} = "ln -sf $folder/bin/pg_config \$ROOT/bin/pg_config; mkdir -p $folder/bin;"
		  . "sed s:FOLDER:$folder: \$ROOT/tools/pg_config > $folder/bin/pg_config; chmod +x $folder/bin/pg_config";
		$package{"postgresql-$major"} = $package{"postgresql-client-$major"}
		  . "; touch $folder/bin/postgres $folder/bin/initdb; chmod +x $folder/bin/*";
		$package{"postgresql-server-dev-$major"} = $package{"postgresql-client-$major"}
		  . "; mkdir -p $folder/include; touch $folder/include/postgres.h; [ -e \$ROOT/bin/pg_config ] || "
		  . "ln -s $folder/bin/pg_config \$ROOT/bin/pg_config";
	}
	return %package;
}

# A machine with these packages.  release: what os-release says; apt: the major that its lists
# have, nothing for empty lists; mirror: the one that they have after an update; the same twice.
sub machine
{
	my (%options) = @_;
	my %package = packages();

	$root = File::Temp->newdir;
	make_path(map { "$root/$_" } qw(bin sbin lib include/hiredis perl tools mirror pg));
	symlink($_, "$root/bin/" . s{.*/}{}r) or die "$_: $!" for split /\n/, `ls $tools/*`;
	script("$root/mirror/$_", "ROOT=$root\n$package{$_}\n") for keys %package;
	open(my $out, '>', "$root/os-release") or die $!;
	print $out $options{release} // "ID=debian\nVERSION_ID=\"12\"\n";
	close $out;
	script("$root/tools/pg_config", <<"END");
folder=FOLDER
case \$1 in
	--version) echo "PostgreSQL \${folder##*/}.1 (Debian)" ;;
	--bindir) echo "\$folder/bin" ;;
	--pgxs) echo "\$folder/lib/pgxs.mk" ;;
	--includedir-server) echo "\$folder/include" ;;
	--cc) echo "gcc -g" ;;
esac
END
	script("$root/tools/compiler", <<"END");
header=\$(sed -n 's/^#include <\\(.*\\)>/\\1/p')
for argument; do
	case \$argument in -l*) [ -e "$root/lib/lib\${argument#-l}.so" ] || exit 1 ;; esac
done
[ -e "$root/include/\$header" ]
END
	script("$root/bin/perl", "[ -e \"$root/perl/\${1#-M}\" ]\n");
	script("$root/bin/id", "echo \${FAKE_UID:-1000}\n");
	# the lists: one line, the major that the release has
	script("$root/bin/apt-cache", <<"END");
read -r major < $root/lists || exit 0
case "\$1 \$2" in
	"show postgresql") echo "Depends: postgresql-\$major" ;;
	"policy "*-[0-9][0-9]) [ "\${2##*-}" != "\$major" ] || echo "  Candidate: \$major.1" ;;
esac
END
	script("$root/bin/apt-get", <<"END");
echo "\$*" >> $root/apt.log
case \$1 in
	update) cp $root/lists.mirror $root/lists ;;
	install)
		echo "Need to get 5 MB of archives."
		for name; do
			case \$name in
				install | -* | DPkg*) ;;
				*) [ -e $root/mirror/\$name ] || exit 100
					$root/mirror/\$name ;;
			esac
		done ;;
esac
END
	my $apt = $options{apt} // '';
	for ([ lists => $apt ], [ 'lists.mirror' => $options{mirror} // $apt ])
	{
		open(my $list, '>', "$root/$_->[0]") or die $!;
		print $list $_->[1] eq '' ? '' : "$_->[1]\n";
		close $list;
	}
	my $install = join '; ', map { ". $root/mirror/$_" } @{ $options{has} };
	system("PATH=$root/bin; set -e; $install") == 0 or die "installation of @{ $options{has} }" if $install;
	return;
}

# What bash prints for a command after it has read packages.sh, errors too.
sub shell
{
	my ($command, %environment) = @_;
	my $set = join ' ', map { "$_='$environment{$_}'" } sort keys %environment;

	open(my $in, '>', "$root/command") or die $!;
	print $in "set -euo pipefail\nsay() { printf '%s\\n' \"\$*\"; }\ndie() { say \"died: \$*\" >&2; exit 2; }\n"
	  . ". $lib\n$command\n";
	close $in;
	my $output =
	  `env -i PATH=$root/bin TMPDIR=$root PG_LIB=$root/pg OS_RELEASE=$root/os-release \\
		CREATECLUSTER_DIR=$root/etc/createcluster.d POLICY_RC_D=$root/sbin/policy-rc.d PGBOUNCER=$root/sbin/pgbouncer \\
		$set bash $root/command 2>&1`;
	chomp $output;
	return $output =~ s/\Q$root\E/ROOT/gr;
}

sub missing_is
{
	my ($needs, $expected, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	is(shell("missing_list $needs"), $expected, $name);
	return;
}

# the real programs that the script itself uses
for my $program (qw(bash sh env sed awk paste sort grep tail cat cp mkdir touch chmod ln rm rmdir mktemp dirname basename ls tr))
{
	my ($file) = grep { -x } map { "$_/$program" } split /:/, $ENV{PATH};
	symlink($file, "$tools/$program") or die "$program: $!";
}

my @compiler = qw(make gcc libc6-dev);
my @build = (@compiler, qw(libzstd-dev liblz4-dev));
my @test = (@build, qw(libhiredis-dev perl libipc-run-perl redis-tools pgbouncer));
my $test = '"${TEST_NEEDS[@]}"';
my $pair = sub { "postgresql-$_[0] postgresql-server-dev-$_[0]" };
my $sid = "ID=debian\nPRETTY_NAME=\"Debian GNU/Linux forky/sid\"\nVERSION_CODENAME=forky\n";

machine(has => []);
missing_is('', $pair->(15) . ' gcc libc6-dev libzstd-dev liblz4-dev make',
	'on a machine with nothing, all that the build needs is missing');
missing_is($test, $pair->(15) . ' gcc libc6-dev libzstd-dev liblz4-dev make libhiredis-dev perl libipc-run-perl redis-tools pgbouncer',
	'the tests need more than the build, and each package is named once');
machine(has => [@test], release => "ID=debian\nVERSION_ID=\"13\"\n");
missing_is($test, $pair->(17), 'Debian 13 without lists is known to have PostgreSQL 17');
machine(has => [@test], release => $sid);
missing_is($test, $pair->(18), 'Debian testing and unstable, which have no VERSION_ID, have the newest');
machine(has => [@test], release => $sid, apt => 17);
missing_is($test, $pair->(17), 'where apt has lists, these say which is the newest');
machine(has => [@test], apt => 15);
missing_is($test, $pair->(15), 'no PostgreSQL at all');

machine(has => [ @test, 'libpq-dev-15' ], apt => 15);
missing_is($test, $pair->(15), "libpq-dev's pg_config is neither a server nor its headers");
machine(has => [ @test, 'libpq-dev-15', 'postgresql-client-15' ], apt => 15);
missing_is($test, $pair->(15), 'a pg_config with the pgxs.mk of the client is no server either');
machine(has => [ @test, 'libpq-dev-15', 'postgresql-15' ], apt => 15);
missing_is($test, 'postgresql-server-dev-15', 'a server without headers lacks these only');
machine(has => [ @test, 'postgresql-15' ], apt => 15);
missing_is($test, 'postgresql-server-dev-15', 'a server without headers lacks these only, also where PATH has no pg_config');
machine(has => [ @test, 'postgresql-server-dev-15' ], apt => 15);
missing_is($test, 'postgresql-15', 'headers without a server lack this only');
machine(has => [ @test, 'postgresql-15', 'postgresql-server-dev-15' ], apt => 15);
missing_is($test, '', 'a server and its headers are enough');

machine(has => [ @test, 'postgresql-17', 'libpq-dev-17', 'postgresql-15', 'postgresql-server-dev-15' ], apt => 15);
missing_is($test, '', 'of several majors the complete one is taken');
is(shell('ensure_packages; echo $PG_CONFIG'), 'ROOT/pg/15/bin/pg_config', "although another's pg_config is in PATH");
machine(has => [ @test, map { ("postgresql-$_", "postgresql-server-dev-$_") } 15, 17 ], apt => 15);
is(shell('find_pg_config; echo $PG_CONFIG'), 'ROOT/bin/pg_config', "of two complete installations the one in PATH is taken");
unlink "$root/bin/pg_config";
is(shell('find_pg_config; echo $PG_CONFIG'), 'ROOT/pg/17/bin/pg_config', 'without one in PATH the newest complete installation is taken');
machine(has => [ @test, 'postgresql-15', 'libpq-dev-17' ], apt => 17);
missing_is($test, $pair->(17), "a server that the release's packages cannot complete is left alone");
machine(has => [ @test, 'postgresql-17', 'postgresql-client-15', 'libpq-dev-15' ], apt => 17);
missing_is($test, 'postgresql-server-dev-17', 'of incomplete ones the one that lacks least is completed');
machine(has => [ @test, 'postgresql-13', 'postgresql-server-dev-13' ], apt => 15);
missing_is($test, $pair->(15), 'one that is too old is none');

machine(has => [ @build, 'postgresql-15', 'postgresql-server-dev-15' ], apt => 15);
missing_is('', '', 'the demo needs neither hiredis nor perl nor Redis');
missing_is($test, 'libhiredis-dev perl libipc-run-perl redis-tools pgbouncer', 'tests need them');
for my $lost (qw(include/hiredis/hiredis.h lib/libhiredis.so))
{
	machine(has => [ @test, 'postgresql-15', 'postgresql-server-dev-15' ], apt => 15);
	unlink "$root/$lost" or die $!;
	missing_is($test, 'libhiredis-dev', "hiredis is missing without $lost");
}
for my $lost ([ 'include/zstd.h', 'libzstd-dev' ], [ 'lib/libzstd.so', 'libzstd-dev' ], [ 'lib/liblz4.so', 'liblz4-dev' ],
	[ 'include/stdio.h', 'libc6-dev' ], [ 'bin/make', 'make' ])
{
	machine(has => [ @build, 'postgresql-15', 'postgresql-server-dev-15' ], apt => 15);
	unlink "$root/$lost->[0]" or die $!;
	missing_is('', $lost->[1], "without $lost->[0], $lost->[1] is missing");
}

# a PostgreSQL that is not Debian's
machine(has => [ @test, 'postgresql-15', 'postgresql-server-dev-15' ], apt => 15);
system("mkdir $root/own && mv $root/pg/15 $root/own/16 && sed -i 's:^folder=.*:folder=$root/own/16:' $root/own/16/bin/pg_config") == 0
  or die;
is(shell('missing_list', PG_CONFIG => "$root/own/16/bin/pg_config"), '', 'one that the caller names is taken');
unlink "$root/own/16/include/postgres.h";
is( shell('missing_list', PG_CONFIG => "$root/own/16/bin/pg_config"),
	'died: PG_CONFIG=ROOT/own/16/bin/pg_config: there is no ROOT/own/16/include/postgres.h or no ROOT/own/16/lib/pgxs.mk',
	'unless it lacks something that no package brings');
is(shell('missing_list', PG_CONFIG => "$root/none"), 'died: PG_CONFIG=ROOT/none does not run',
	'a PG_CONFIG that does not run is an error');
like(
	shell("no_build_files $root/own/16/bin/pg_config"),
	qr/apt-get install postgresql-server-dev-16 libzstd-dev/,
	'the Makefile names the headers of the pg_config that it was given');
like(shell('no_build_files /nowhere/pg_config'), qr/apt-get install postgresql-server-dev-15 /,
	'where there is no pg_config, the headers of the release\'s PostgreSQL are named');

# what ensure_packages does about it
machine(has => [ @build, 'postgresql-15' ], apt => 15);
is( shell('ensure_packages'),
	'died: packages are missing: sudo apt-get install --no-install-recommends postgresql-server-dev-15',
	'an ordinary user is told what is missing, and nothing more');
ok(!-e "$root/apt.log", 'where something is missing, an ordinary user\'s run installs nothing');
machine(has => [ @build, 'postgresql-15' ], apt => 15);
is( shell('ensure_packages; echo $PG_CONFIG', FAKE_UID => 0),
	"reading the lists of packages\ninstalling: postgresql-server-dev-15\n  downloading 5 MB of archives.\nROOT/bin/pg_config",
	'root sees what is being installed, and how far it is');
machine(has => [], release => $sid, mirror => 17);
like(
	shell("ensure_packages $test; echo \$PG_CONFIG", FAKE_UID => 0),
	qr/^installing: postgresql-17 postgresql-server-dev-17 .*ROOT\/bin\/pg_config\z/ms,
	'on a new machine the lists are read first, since they say which PostgreSQL there is');
ok(!-e "$root/started" && !-e "$root/sbin/policy-rc.d", 'no service is started, and later installations may start theirs');
like(shell("ensure_packages $test", FAKE_UID => 0), qr/\A\z/, 'the second time nothing is installed');
machine(has => [ @test, 'postgresql-15' ], apt => 15);
unlink "$root/mirror/postgresql-server-dev-15";
like(
	shell('ensure_packages', FAKE_UID => 0),
	qr/^died: apt-get could not install: postgresql-server-dev-15\z/m,
	'what cannot be installed is an error');
ok(!-e "$root/etc/createcluster.d", 'a failed installation leaves nothing behind');

done_testing();
