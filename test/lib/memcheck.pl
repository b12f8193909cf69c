# Reads memcheck's XML reports: perl memcheck.pl FOLDER OUTPUT
#
# Writes those errors to OUTPUT that have memory_ext.so in a stack, each once, in valgrind's words;
# prints one line with the numbers.  A report need not be complete XML: processes are forked, and
# some are killed.
use strict;
use warnings;

my ($folder, $output) = @ARGV;
my (%seen, @ours);
my ($files, $errors) = (0, 0);

foreach my $file (glob "$folder/memcheck.*")
{
	open my $in, '<', $file or die "$file: $!";
	my $text = do { local $/; <$in> };
	close $in;
	$files++;
	while ($text =~ m{<error>(.*?)</error>}gs)
	{
		my $error = $1;
		my ($what) = $error =~ m{<(?:text|what)>(.*?)</(?:text|what)>}s;
		my @frames;
		# in XML leaks are always told, even when nobody asked
		next if $error =~ m{<kind>Leak_};
		$errors++;
		next unless $error =~ m{<obj>[^<]*/memory_ext\.so</obj>};
		while ($error =~ m{<frame>(.*?)</frame>|<auxwhat>(.*?)</auxwhat>}gs)
		{
			my ($frame, $about) = ($1, $2);
			if (defined $about)
			{
				push @frames, "  $about";
				next;
			}
			my ($function) = $frame =~ m{<fn>(.*?)</fn>}s;
			my ($source) = $frame =~ m{<file>(.*?)</file>}s;
			my ($line) = $frame =~ m{<line>(.*?)</line>}s;
			my ($object) = $frame =~ m{<obj>(?:[^<]*/)?(.*?)</obj>}s;
			push @frames, sprintf("    %s (%s)", $function // '?',
				defined $source ? "$source:$line" : $object // '?');
		}
		my $words = join("\n", "error: " . ($what // '?'), @frames);
		push @ours, $words unless $seen{$words}++;
	}
}
open my $out, '>', $output or die "$output: $!";
print $out "$_\n\n" for @ours;
close $out or die "$output: $!";
printf "%d processes, %d errors in all, %d with memory_ext.so in the stack\n", $files, $errors,
  scalar @ours;
