# Random statements on memory.messages and memory.conversations, for
# test/t/130_relation_model.pl.
#
# REL in a statement stands for the schema: memory, or that of the model.  What
# a statement says is made so that it can fail for one reason only, as which of
# several errors comes first is nobody's promise; and so that its rows do not
# depend on the order of rows that a join or a scan gives.
package ModelStatements;

use strict;
use warnings;

use Exporter 'import';
use MemoryTest qw($ids_are_per_account);

our @EXPORT_OK = qw(state_key functions_sql prepared_sql next_step);

my @accounts = ('a', 'b', 'c', "d\x{c3}\x{a9} 4");
my $slots = 3;    # conversations of each account at a time
my @roles = qw(user assistant system tool);
my $message_columns = 'conversation_id, account_id, seq, role, content, model, tokens, message_id, metadata';
my $conversation_columns = 'conversation_id, account_id, title, metadata, archived, head_seq, message_count, token_count, content_bytes';
my @read_columns = ('seq', 'parent_seq', 'role', 'content', 'm.model', 'tokens', 'model.shown(created_at)', 'message_id', 'metadata');
my $read_columns = join ', ', @read_columns;

my (%generation, $unique);

# ---- small things ----

sub below { return int rand $_[0] }
sub between { return $_[0] + int rand($_[1] - $_[0] + 1) }
sub one_of { return $_[ int rand @_ ] }
sub maybe { return rand() < $_[0] }

sub quoted
{
	my ($text) = @_;
	$text =~ s/'/''/g;
	return "'$text'";
}

# Takes one of (weight, thing, weight, thing ...).
sub weighted
{
	my @choices = @_;
	my $sum = 0;
	$sum += $choices[ 2 * $_ ] for 0 .. $#choices / 2;
	my $at = rand $sum;
	while (@choices > 2)
	{
		my ($weight, $thing) = splice @choices, 0, 2;
		return $thing if $at < $weight;
		$at -= $weight;
	}
	return $choices[1];
}

# With ids that are unique within an account only, all accounts have the same ones.
sub id_of
{
	my ($slot) = @_;
	my $number = $ids_are_per_account ? $slot % $slots : $slot;
	return sprintf '%08x-%04x-4000-8000-%012x', 7 + $number * 0x01010101, $number, $generation{$slot} // 0;
}

sub account_of { return $accounts[ $_[0] / $slots ] }

# What the state has a conversation by.
sub state_key { return "$_[0] $_[1]" }

# A conversation as the statement at hand may take it: id, account, and what the model has of it.
sub conversation
{
	my ($state, $slot) = @_;
	$slot //= below(@accounts * $slots);
	my $known = $state->{ state_key(id_of($slot), account_of($slot)) };
	if ($known && $known->{deleted} && maybe(0.9))
	{
		$generation{$slot}++;
		$known = undef;
	}
	my $id = id_of($slot);
	$known //= { next => 1, deleted => 0, exists => 0, count => 0, seqs => [] };
	return { %$known, slot => $slot, id => $id, account => account_of($slot), key => quoted($id) . '::uuid' };
}

# One that is there and has messages, if there is any.
sub filled_conversation
{
	my ($state) = @_;
	my $chosen;
	for (1 .. 20)
	{
		$chosen = conversation($state);
		return $chosen if $chosen->{count} > 0;
	}
	return $chosen;
}

sub is_of
{
	my ($c, $alias) = @_;
	my $prefix = $alias ? "$alias." : '';
	return "${prefix}conversation_id = $c->{key} AND ${prefix}account_id = " . quoted($c->{account});
}

# The number of a message that is there, or is not.
sub some_seq
{
	my ($c) = @_;
	return one_of(@{ $c->{seqs} }) if @{ $c->{seqs} } && maybe(0.85);
	return between(1, $c->{next} + 2);
}

sub words
{
	my $text = join ' ', map { one_of('alpha', 'beta', "it's", '"quoted"', "\x{c3}\xbc\x{c3}\x9f", "\x{e4}\x{bd}\x{a0}\x{e5}\x{a5}\x{bd}", '42', 'new  line', 'x,y', 'tab', '\\n') } 1 .. between(0, 8);
	return $text . ' ' . ++$unique;
}

# An expression for a content: mostly short, sometimes beyond what a small buffer holds.
sub content
{
	return "repeat('long ' || " . ++$unique . ", " . between(500, 4000) . ')' if maybe(0.015);
	return "''" if maybe(0.03);
	return quoted(words());
}

sub metadata
{
	return weighted(
		6 => 'NULL',
		2 => "'{\"n\": " . ++$unique . "}'",
		1 => "'{}'",
		1 => q('{"z": [1, {"deep": null}], "a": "\\u00e9", "n": 1.50}'));
}

sub given_time { return "'" . sprintf('2001-%02d-%02d %02d:00:00.%06d+00', between(1, 12), between(1, 28), below(24), below(1000000)) . "'" }

# The columns of a message but for its key and content: name => expression.  tokens are unlike any estimate.
sub optional_columns
{
	my %columns;
	$columns{model} = quoted(one_of('m-1', 'm-2', "m'3")) if maybe(0.3);
	$columns{tokens} = 100000 + ++$unique if maybe(0.3);
	$columns{created_at} = given_time() if maybe(0.5);
	$columns{message_id} = quoted('id ' . ++$unique) if maybe(0.2);
	$columns{metadata} = metadata() if maybe(0.3);
	return %columns;
}

sub returning
{
	my ($chance, $columns) = @_;
	return maybe($chance // 0.5) ? ' RETURNING ' . ($columns // $message_columns) : '';
}

# Kinds that write several rows of several conversations, or with given numbers.  Each row may
# have a fault of its own, and which of them is reported is not promised.
my %several_rows = map { $_ => 1 } qw(insert_several insert_nested insert_conversation copy on_conflict with_several);

# What a step is made of: { sql, ids (of the conversations that are compared afterwards), kind,
# several_rows (as above) }.
sub statement
{
	my ($kind, $sql, @conversations) = @_;
	return { kind => $kind, sql => $sql, ids => [ map { $_->{id} } @conversations ], several_rows => $several_rows{$kind} };
}

# ---- INSERT ----

# Numbers for n rows of one conversation: mostly none; new ones, with gaps; or
# one that was passed over or is taken.  Those without come last, and not
# together with a number that is not new.
sub some_numbers
{
	my ($c, $n) = @_;
	my $way = weighted(70 => 'none', 14 => 'new', 8 => 'new and none', 8 => 'any');
	return ('NULL') x $n if $way eq 'none';
	if ($way eq 'any')
	{
		return ((between(1, $c->{next} + 2)), map { $c->{next} + 5 + $_ } 2 .. $n);
	}
	my @numbers;
	my $next = $c->{next};
	for (1 .. $n)
	{
		$next += maybe(0.2) ? below(4) : 0;
		push @numbers, $next++;
	}
	@numbers = reverse @numbers if maybe(0.3);
	if ($way eq 'new and none')
	{
		$_ = 'NULL' for @numbers[ ($n + 1) / 2 .. $#numbers ];
	}
	return @numbers;
}

# Rows for INSERT and COPY: (whether a number is given, rows of name => expression, conversations).
sub message_rows
{
	my ($state, $most) = @_;
	my $conversations = weighted(6 => 1, 2 => 2, 1 => 4);
	my (@rows, %seen, @all);
	my $numbered = 0;
	for (1 .. $conversations)
	{
		my $c = conversation($state);
		next if $seen{ $c->{slot} }++;
		push @all, $c;
		my @numbers = some_numbers($c, between(1, $most));
		$numbered ||= grep { $_ ne 'NULL' } @numbers;
		my $i = 0;
		for my $seq (@numbers)
		{
			my %row = (conversation_id => $c->{key}, account_id => quoted($c->{account}), seq => $seq, role => quoted(one_of(@roles)), content => content(), optional_columns());
			# only where no number can be taken, and the parent is there before the statement
			$row{parent_seq} = maybe(0.3) || !@{ $c->{seqs} } ? 0 : one_of(@{ $c->{seqs} })
			  if $seq eq 'NULL' && maybe(0.15);
			$row{position} = [ $c->{slot}, $i++ ];
			push @rows, \%row;
		}
	}
	# rows of several conversations come mixed; those of one in their order
	if (@all > 1 && maybe(0.6))
	{
		@rows = sort { $a->{position}[1] <=> $b->{position}[1] || $a->{position}[0] <=> $b->{position}[0] } @rows;
	}
	delete $_->{position} for @rows;
	return ($numbered, \@rows, @all);
}

sub columns_of
{
	my ($rows) = @_;
	my %names;
	$names{$_}++ for map { keys %$_ } @$rows;
	return sort keys %names;
}

sub values_list
{
	my ($rows, @names) = @_;
	return join ', ', map { my $row = $_; '(' . join(', ', map { $row->{$_} // 'NULL' } @names) . ')' } @$rows;
}

sub returned_columns
{
	my ($numbered) = @_;
	return $message_columns . ($numbered ? '' : ', parent_seq') . ', model.shown(created_at)';
}

sub insert_rows
{
	my ($state) = @_;
	my ($numbered, $rows, @all) = message_rows($state, weighted(6 => 1, 3 => 5, 1 => 12));
	my @names = columns_of($rows);
	@names = grep { $_ ne 'seq' } @names if !$numbered && maybe(0.8);
	my $item = statement('insert',
		'INSERT INTO REL.messages (' . join(', ', @names) . ') VALUES ' . values_list($rows, @names) . returning(0.5, returned_columns($numbered)),
		@all);
	$item->{several_rows} = @$rows > 1;
	return $item;
}

# account_id may be left out where the conversation is there.
sub insert_without_account
{
	my ($state) = @_;
	my $c = conversation($state);
	return statement('insert_without_account',
		"INSERT INTO REL.messages (conversation_id, role, content) VALUES ($c->{key}, 'user', " . content() . ')' . returning(), $c);
}

sub insert_select
{
	my ($state) = @_;
	my $c = conversation($state);
	my $n = weighted(10 => between(1, 6), 3 => between(10, 80), 1 => between(100, 300));
	$n = between(1, 6) if $c->{count} > 400;
	my $text = maybe(0.1) ? "repeat(i::text || ' ', " . between(100, 900) . ')' : "'row ' || i";
	return statement('insert_select',
		"INSERT INTO REL.messages (conversation_id, account_id, role, content, created_at, metadata) SELECT $c->{key}, "
			. quoted($c->{account})
			. ", CASE i % 2 WHEN 0 THEN 'assistant' ELSE 'user' END, $text, timestamptz '2002-01-01' + i * interval '1 min', CASE WHEN i % 3 = 0 THEN jsonb_build_object('i', i) END
			FROM generate_series(1, $n) i ORDER BY i" . returning(0.3, returned_columns(0)),
		$c);
}

# Rows of the relation itself, into another conversation, or into the same one.
sub insert_self
{
	my ($state) = @_;
	my $from = filled_conversation($state);
	my $to = maybe(0.3) ? $from : conversation($state);
	return statement('insert_self',
		"INSERT INTO REL.messages (conversation_id, account_id, role, content, model, tokens, created_at, metadata) SELECT $to->{key}, "
			. quoted($to->{account}) . ", role, content || ' again', m.model, tokens, created_at, metadata FROM REL.messages m WHERE "
			. is_of($from, 'm') . ' AND seq > ' . ($from->{next} - between(1, 8)) . ' ORDER BY seq' . returning(0.4, 'conversation_id, seq, parent_seq, content'),
		$from, $to);
}

# A conversation is taken to two others, numbers and all.
sub insert_several
{
	my ($state) = @_;
	my $from = filled_conversation($state);
	my @to = map { conversation($state) } 1 .. 2;
	@to = ($to[0]) if $to[0]{slot} == $to[1]{slot};
	my $list = join ', ', map { "($_->{key}, " . quoted($_->{account}) . ')' } @to;
	return statement('insert_several',
		"INSERT INTO REL.messages (conversation_id, account_id, role, content, created_at)
			SELECT v.id, v.account, m.role, 'copy of ' || m.seq, m.created_at FROM REL.messages m CROSS JOIN (VALUES $list) v (id, account)
			WHERE " . is_of($from, 'm') . ' AND m.seq > ' . ($from->{next} - 6) . ' ORDER BY m.seq, v.id'
			. returning(0.4, 'conversation_id, seq, parent_seq, content'),
		$from, @to);
}

sub insert_nested
{
	my ($state) = @_;
	my ($c, $other) = (conversation($state), conversation($state));
	$other = conversation($state) while $other->{slot} == $c->{slot};
	my $n = between(1, 5);
	my ($id, $account) = ($other->{key}, quoted($other->{account}));
	my $call = one_of(
		"'nested ' || fn_REL.put($account, $id, 'inner ' || i)",
		"fn_REL.careful($account, $id, i)",
		"fn_REL.talk($account, $id, 2)",
		"'two deep ' || fn_REL.deep($account, $id, " . quoted($accounts[0]) . ", 'ffffffff-0000-4000-8000-000000000000', i)");
	return statement('insert_nested',
		"INSERT INTO REL.messages (conversation_id, account_id, role, content) SELECT $c->{key}, " . quoted($c->{account})
			. ", 'user', $call FROM generate_series(1, $n) i" . returning(0.5, 'seq, parent_seq, content'),
		$c, $other, { id => 'ffffffff-0000-4000-8000-000000000000' });
}

sub insert_conversation
{
	my ($state) = @_;
	my @rows;
	my %seen;
	for (1 .. weighted(4 => 1, 1 => 3))
	{
		my $c = conversation($state);
		if ($c->{exists} && maybe(0.7))
		{
			next;
		}
		next if $seen{ $c->{slot} }++;
		push @rows, [ $c, maybe(0.5) ? quoted(words()) : 'NULL', metadata(), one_of('true', 'false', 'NULL'), maybe(0.2) && !$c->{exists} ? between(1, 6) : 'NULL', map { maybe(0.4) ? given_time() : 'NULL' } 1 .. 2 ];
	}
	return insert_rows($state) if !@rows;
	return statement('insert_conversation',
		'INSERT INTO REL.conversations (conversation_id, account_id, title, metadata, archived, head_seq, created_at, updated_at)
			VALUES ' . join(', ', map { my ($c, @rest) = @$_; "($c->{key}, " . join(', ', quoted($c->{account}), @rest) . ')' } @rows)
			. returning(0.4, 'conversation_id, account_id, title, metadata, model.shown(created_at)'),
		map { $_->[0] } @rows);
}

sub csv_field
{
	my ($text) = @_;
	$text =~ s/"/""/g;
	return "\"$text\"";
}

sub copy_messages
{
	my ($state) = @_;
	my %seen;
	my (@all, @lines);
	for (1 .. weighted(3 => 1, 2 => 2, 1 => 4))
	{
		my $c = conversation($state);
		next if $seen{ $c->{slot} }++;
		push @all, $c;
		for my $seq (some_numbers($c, between(1, 10)))
		{
			push @lines, join ',', $c->{id}, csv_field($c->{account}), ($seq eq 'NULL' ? '' : $seq), one_of(@roles), csv_field(words()), (maybe(0.3) ? 200000 + ++$unique : ''), (maybe(0.5) ? substr(given_time(), 1, -1) : ''), (maybe(0.3) ? csv_field('{"copied": "yes"}') : '');
		}
	}
	return statement('copy',
		"COPY REL.messages (conversation_id, account_id, seq, role, content, tokens, created_at, metadata) FROM STDIN (FORMAT csv);\n" . join("\n", @lines) . "\n\\.\n",
		@all);
}

# Taken numbers are passed over.
sub insert_on_conflict
{
	my ($state) = @_;
	if (maybe(0.3))
	{
		my $c = conversation($state);
		return statement('on_conflict_conversation',
			"INSERT INTO REL.conversations (conversation_id, account_id, title) VALUES ($c->{key}, " . quoted($c->{account}) . ', '
				. quoted(words()) . ') ON CONFLICT DO NOTHING' . returning(0.4, 'conversation_id, title'), $c);
	}
	my $c = filled_conversation($state);
	my %numbers = map { $_ => 1 } map { between(1, $c->{next} + 2) } 1 .. between(1, 4);
	return statement('on_conflict',
		'INSERT INTO REL.messages (conversation_id, account_id, seq, role, content) VALUES ' . join(', ', map { "($c->{key}, "
			. quoted($c->{account}) . ", $_, 'user', " . content() . ')' } sort { $a <=> $b } keys %numbers) . ' ON CONFLICT DO NOTHING'
			. returning(0.4, 'seq, content'),
		$c);
}

# ---- what fails ----

sub failing
{
	my ($state) = @_;
	my $c = filled_conversation($state);
	my ($account, $key) = (quoted($c->{account}), $c->{key});
	my $insert = 'INSERT INTO REL.messages (conversation_id, account_id, role, content';
	my $good = "($key, $account, 'user', 'good'";
	my $taken = @{ $c->{seqs} } ? one_of(@{ $c->{seqs} }) : 1;
	my $of = is_of($c);
	my ($kind, $sql) = @{
		one_of(
			[ taken => "$insert, seq) VALUES $good, $taken), $good, " . ($c->{next} + 1) . ')' ],
			[ taken_twice => "$insert, seq) VALUES $good, " . ($c->{next} + 3) . "), $good, " . ($c->{next} + 3) . ')' ],
			[ bad_parent => "$insert, parent_seq) VALUES $good, NULL), $good, " . ($c->{next} + between(5, 9)) . ')' ],
			[ negative_parent => "$insert, parent_seq) VALUES $good, -1)" ],
			[ null_role => "$insert) VALUES $good), ($key, $account, NULL, 'no role')" ],
			[ empty_role => "$insert) VALUES $good), ($key, $account, '', 'no role')" ],
			[ long_role => "$insert) VALUES $good), ($key, $account, repeat('r', 65), 'no role')" ],
			[ null_content => "$insert) VALUES $good), ($key, $account, 'user', NULL)" ],
			[ long_model => "$insert, model) VALUES $good, NULL), $good, repeat('m', 256))" ],
			[ no_account => "$insert) VALUES ('eeeeeeee-0000-4000-8000-000000000000', NULL, 'user', 'nobody')" ],
			[ empty_account => "$insert) VALUES $good), ('eeeeeeee-0000-4000-8000-000000000000', '', 'user', 'nobody')" ],
			[ no_conversation => "$insert) VALUES $good), (NULL, $account, 'user', 'nowhere')" ],
			[ bad_seq => "$insert, seq) VALUES $good, 0)" ],
			[ bad_tokens => "$insert, tokens) VALUES $good, 5), $good, -5)" ],
			[ bad_time => "$insert, created_at) VALUES $good, 'infinity')" ],
			[ bad_metadata => "$insert, metadata) VALUES $good, '[1]')" ],
			[ division => "$insert) SELECT $key, $account, 'user', (10 / (i - 3))::text FROM generate_series(1, 5) i" ],
			[ change_key => "UPDATE REL.messages SET seq = seq + 1 WHERE $of" ],
			[ update_role => "UPDATE REL.messages SET role = NULL WHERE $of" ],
			[ update_parent => "UPDATE REL.messages SET parent_seq = seq WHERE $of" ],
			[ update_division => "UPDATE REL.messages SET content = (1 / (seq - $taken))::text WHERE $of" ],
			[ change_count => "UPDATE REL.conversations SET message_count = message_count + 1 WHERE $of" ],
			[ update_archived => "UPDATE REL.conversations SET archived = NULL WHERE $of" ],
			[ update_head => "UPDATE REL.conversations SET head_seq = " . ($c->{next} + 7) . " WHERE $of" ],
			[ conversation_twice => "INSERT INTO REL.conversations (conversation_id, account_id) VALUES ($key, $account)" ],
			[ conversation_array => "INSERT INTO REL.conversations (conversation_id, account_id, metadata) VALUES ('eeeeeeee-0000-4000-8000-000000000001', $account, '[]')" ],
			[ delete_division => "DELETE FROM REL.messages WHERE $of AND 1 / (seq - $taken) >= 0" ])
	};
	return statement("fails: $kind", $sql, $c);
}

# ---- UPDATE ----

sub message_changes
{
	my @changes;
	push @changes, 'content = ' . one_of("left(content, 300) || ' edited'", content()) if maybe(0.5);
	push @changes, 'tokens = ' . one_of('NULL', 300000 + ++$unique) if maybe(0.2);
	push @changes, 'model = ' . one_of('NULL', "'m-9'") if maybe(0.3);
	push @changes, 'metadata = ' . one_of('NULL', metadata(), "COALESCE(metadata, '{}') || '{\"seen\": true}'") if maybe(0.4);
	push @changes, 'role = ' . quoted(one_of(@roles)) if maybe(0.1);
	push @changes, "message_id = 'changed " . ++$unique . " ' || seq" if maybe(0.1);
	push @changes, 'created_at = ' . one_of('NULL', given_time(), "timestamptz '2001-06-01' + seq * interval '1 s'") if maybe(0.15);
	push @changes, 'model = m.model' if !@changes;
	return join ', ', @changes;
}

sub range_of
{
	my ($c) = @_;
	my $from = some_seq($c);
	return one_of(
		"seq BETWEEN $from AND " . ($from + below(6)),
		"seq > " . ($c->{next} - between(1, 5)),
		"seq = ANY ('{" . join(',', map { some_seq($c) } 1 .. 3) . "}')",
		"seq IN (" . join(', ', map { some_seq($c) } 1 .. 2) . ')',
		"role = 'tool'", "seq % 5 = " . below(5), "content LIKE '%beta%'", "created_at < '2001-04-01'");
}

# A FROM list that names each row once.
sub picks
{
	my ($c) = @_;
	my %numbers = map { some_seq($c) => 1 } 1 .. between(1, 4);
	return '(VALUES ' . join(', ', map { "($c->{key}, $_\::bigint, 'pick $_')" } sort { $a <=> $b } keys %numbers) . ') p (id, seq, note)';
}

sub update_messages
{
	my ($state) = @_;
	my $c = filled_conversation($state);
	my $changes = message_changes();
	my $of = is_of($c, 'm');
	my $returning = returning(0.4, 'm.seq, m.role, m.content, m.model, m.tokens, m.metadata, m.message_id');
	return statement('update_key', "UPDATE REL.messages m SET $changes WHERE $of AND m.seq = " . some_seq($c) . $returning, $c) if maybe(0.4);
	return statement('update_range', "UPDATE REL.messages m SET $changes WHERE $of AND " . range_of($c) . $returning, $c) if maybe(0.5);
	return statement('update_from', "UPDATE REL.messages m
		SET content = p.note || ' ' || m.seq, metadata = jsonb_build_object('from', p.seq) FROM " . picks($c) . "
		WHERE m.conversation_id = p.id AND m.seq = p.seq" . $returning, $c) if maybe(0.5);
	return statement('update_in', "UPDATE REL.messages m SET $changes
		WHERE (m.conversation_id, m.seq) IN (SELECT n.conversation_id, max(n.seq) FROM REL.messages n WHERE " . is_of($c, 'n')
		. " GROUP BY 1)$returning", $c) if maybe(0.5);
	return statement('update_joined', "UPDATE REL.messages m SET model = left(c.title, 20) FROM REL.conversations c
		WHERE c.conversation_id = m.conversation_id AND c.account_id = m.account_id AND " . is_of($c, 'c') . " AND m.seq > "
		. ($c->{next} - 3) . $returning, $c);
}

sub update_parent
{
	my ($state) = @_;
	my $c = filled_conversation($state);
	return statement('update_parent', 'UPDATE REL.messages SET parent_seq = ' . one_of('NULL', 0, some_seq($c), some_seq($c)) . ' WHERE ' . is_of($c) . ' AND seq = ' . some_seq($c), $c);
}

sub update_account
{
	my ($state) = @_;
	my $name = one_of(@accounts);
	my $account = quoted($name);
	return statement('update_account', one_of(
			"UPDATE REL.messages SET metadata = jsonb_build_object('all', seq) WHERE account_id = $account AND role = 'system'",
			"UPDATE REL.messages SET content = left(content, 200) WHERE account_id = $account AND length(content) > 2000",
			"UPDATE REL.conversations SET archived = NOT archived WHERE account_id = $account",
			"UPDATE REL.conversations c SET title = 'has ' || n.n FROM (SELECT conversation_id, count(*) AS n FROM REL.messages
				WHERE account_id = $account GROUP BY 1) n WHERE n.conversation_id = c.conversation_id AND c.account_id = $account",
			"UPDATE REL.conversations SET metadata = '{\"busy\": true}'
				WHERE (conversation_id, account_id) IN (SELECT conversation_id, account_id FROM REL.messages WHERE role = 'tool'
				AND account_id = $account) RETURNING conversation_id, metadata"),
		grep { $_->{account} eq $name } map { $state->{$_} } sort keys %$state);
}

sub update_conversation
{
	my ($state) = @_;
	my $c = filled_conversation($state);
	my @changes;
	push @changes, 'title = ' . one_of('NULL', quoted(words()), "title || '!'") if maybe(0.5);
	push @changes, 'metadata = ' . metadata() if maybe(0.3);
	push @changes, 'archived = ' . one_of('true', 'NOT archived') if maybe(0.3);
	push @changes, 'created_at = ' . given_time() if maybe(0.1);
	push @changes, 'updated_at = ' . given_time() if maybe(0.1);
	push @changes, 'head_seq = ' . some_seq($c) if !@changes || maybe(0.2);
	return statement('update_conversation', 'UPDATE REL.conversations SET ' . join(', ', @changes) . ' WHERE ' . is_of($c)
		. returning(0.4, 'conversation_id, account_id, title, metadata, archived, head_seq, message_count, token_count, content_bytes'), $c);
}

# ---- DELETE ----

sub delete_messages
{
	my ($state) = @_;
	my $c = filled_conversation($state);
	my $of = is_of($c, 'm');
	my $returning = returning(0.5, 'm.' . join(', m.', split /, /, "$message_columns, parent_seq"));
	return statement('delete_key', "DELETE FROM REL.messages m WHERE $of AND m.seq = " . some_seq($c) . $returning, $c) if maybe(0.4);
	return statement('delete_range', "DELETE FROM REL.messages m WHERE $of AND " . range_of($c) . $returning, $c) if maybe(0.4);
	return statement('delete_using', 'DELETE FROM REL.messages m USING ' . picks($c) . " WHERE m.conversation_id = p.id
		AND m.seq = p.seq AND m.account_id = " . quoted($c->{account}) . $returning, $c) if maybe(0.5);
	return statement('delete_in', "DELETE FROM REL.messages m WHERE $of AND m.seq IN (SELECT n.parent_seq FROM REL.messages n WHERE "
		. is_of($c, 'n') . ' ORDER BY n.seq DESC LIMIT 3)' . $returning, $c);
}

sub delete_conversation
{
	my ($state) = @_;
	my $c = filled_conversation($state);
	my $of = is_of($c);
	return statement('delete_conversation', one_of(
			"DELETE FROM REL.conversations WHERE $of", "DELETE FROM REL.conversations WHERE $of RETURNING conversation_id, title, message_count",
			"DELETE FROM REL.conversations c USING REL.messages m WHERE m.conversation_id = c.conversation_id
				AND m.account_id = c.account_id AND m.seq = (SELECT max(seq) FROM REL.messages x WHERE " . is_of($c, 'x') . ') AND ' . is_of($c, 'c')), $c);
}

# Keeps conversations short.
sub delete_old
{
	my ($c) = @_;
	return statement('delete_old', 'DELETE FROM REL.messages WHERE ' . is_of($c) . ' AND seq <= ' . ($c->{next} - between(5, 40)), $c) if maybe(0.7);
	return statement('delete_conversation', 'DELETE FROM REL.conversations WHERE ' . is_of($c), $c);
}

# ---- WITH ----

sub with_insert
{
	my ($state) = @_;
	my $c = conversation($state);
	my $insert = "INSERT INTO REL.messages (conversation_id, account_id, role, content) VALUES ($c->{key}, " . quoted($c->{account})
		. ", 'user', " . content() . "), ($c->{key}, " . quoted($c->{account}) . ", 'assistant', " . content() . ')';
	my $before = '(SELECT count(*) FROM REL.messages m WHERE ' . is_of($c, 'm') . ')';
	return statement('with_insert', one_of(
			"WITH new AS ($insert RETURNING seq, parent_seq, content) SELECT count(*), min(seq), max(parent_seq), max(content), $before FROM new",
			"WITH new AS ($insert RETURNING conversation_id, account_id, seq) SELECT n.seq, c.message_count FROM new n LEFT
				JOIN REL.conversations c USING (conversation_id, account_id) ORDER BY 1",
			"WITH new AS ($insert) SELECT $before"), $c);
}

# Several changes in one statement, each on a conversation of its own: all see what was before.
sub with_several
{
	my ($state) = @_;
	my ($x, $y, $z) = (filled_conversation($state), filled_conversation($state), conversation($state));
	return with_insert($state) if $x->{slot} == $y->{slot} || $y->{slot} == $z->{slot} || $x->{slot} == $z->{slot};
	my $into = "INSERT INTO REL.messages (conversation_id, account_id, role, content) SELECT $z->{key}, " . quoted($z->{account});
	my $last = $x->{next} - between(1, 4);
	return statement('with_several', one_of(
			"WITH gone AS (DELETE FROM REL.messages WHERE " . is_of($x) . " AND seq >= $last RETURNING seq, role, content),
				moved AS ($into, role, content FROM gone ORDER BY seq RETURNING seq), changed AS (UPDATE REL.messages
				SET content = 'changed ' || seq WHERE " . is_of($y) . ' AND seq = ' . some_seq($y) . ' RETURNING seq, content)
				SELECT (SELECT count(*) FROM gone), (SELECT count(*) FROM moved), (SELECT max(content) FROM changed), (SELECT count(*)
				FROM REL.messages WHERE ' . is_of($x) . ')',
			"WITH first AS ($into, 'user', 'first ' || i FROM generate_series(1, 3) i),
				second AS (INSERT INTO REL.messages (conversation_id, account_id, role, content)
				SELECT conversation_id, account_id, role, 'second ' || seq FROM REL.messages WHERE " . is_of($x) . " AND seq >= $last ORDER BY seq
				RETURNING seq) INSERT INTO REL.messages (conversation_id, account_id, role, content) SELECT $y->{key}, " . quoted($y->{account})
				. ", 'system', 'counted ' || count(*) FROM second",
			"WITH titles AS (UPDATE REL.conversations SET title = 'both' WHERE " . is_of($x) . " RETURNING conversation_id),
				gone AS (DELETE FROM REL.conversations WHERE " . is_of($y) . " RETURNING title, message_count) UPDATE REL.conversations c
				SET metadata = jsonb_build_object('gone', (SELECT count(*) FROM gone), 'titles', (SELECT count(*) FROM titles)) WHERE "
				. is_of($z, 'c')), $x, $y, $z);
}

# ---- functions, prepared statements ----

# Each in a schema of its own, fn_memory and fn_model.
sub functions_sql
{
	return <<'SQL';
CREATE SCHEMA fn_REL;
CREATE FUNCTION fn_REL.put(account text, conversation uuid, body text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	number bigint;
BEGIN
	INSERT INTO REL.messages (conversation_id, account_id, role, content) VALUES (conversation, account, 'tool', body)
		RETURNING seq INTO number;
	RETURN number;
END $$;
-- a statement within a statement within a statement
CREATE FUNCTION fn_REL.deep(account text, conversation uuid, other text, inner_conversation uuid, n bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	number bigint;
BEGIN
	WITH new AS (
		INSERT INTO REL.messages (conversation_id, account_id, role, content)
		SELECT conversation, account, 'tool', 'inner ' || fn_REL.put(other, inner_conversation, 'innermost ' || i)
		FROM generate_series(1, 2) i RETURNING seq)
	SELECT max(seq) INTO number FROM new;
	DELETE FROM REL.messages WHERE conversation_id = inner_conversation
		AND seq < (SELECT max(seq) - 5 FROM REL.messages WHERE conversation_id = inner_conversation);
	RETURN number;
END $$;
-- reads what it wrote
CREATE FUNCTION fn_REL.talk(account text, conversation uuid, n integer) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	told text := '';
	number bigint;
	counted bigint;
	m record;
BEGIN
	FOR i IN 1 .. n LOOP
		INSERT INTO REL.messages (conversation_id, account_id, role, content)
			VALUES (conversation, account, 'user', 'turn ' || i || ' after ' || COALESCE(number, 0)) RETURNING seq INTO number;
		SELECT seq, parent_seq, content INTO m FROM REL.messages
			WHERE conversation_id = conversation AND account_id = account ORDER BY seq DESC LIMIT 1;
		SELECT message_count INTO counted FROM REL.conversations WHERE conversation_id = conversation AND account_id = account;
		told := told || format('%s:%s:%s:%s:%s ', number, m.seq, m.parent_seq, m.content, counted);
		UPDATE REL.messages SET content = content || '.' WHERE conversation_id = conversation AND account_id = account AND seq = number;
	END LOOP;
	RETURN told;
END $$;
-- errors in the middle of a statement are caught; what was before and after stays
CREATE FUNCTION fn_REL.careful(account text, conversation uuid, n bigint) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	told text := '';
	number bigint := fn_REL.put(account, conversation, 'before');
BEGIN
	BEGIN
		INSERT INTO REL.messages (conversation_id, account_id, role, content)
			SELECT conversation, account, 'user', (10 / (2 - i))::text FROM generate_series(1, 4) i;
	EXCEPTION WHEN division_by_zero THEN
		told := told || 'division ';
	END;
	BEGIN
		PERFORM fn_REL.put(account, conversation, 'lost');
		INSERT INTO REL.messages (conversation_id, account_id, seq, role, content) VALUES (conversation, account, number, 'user', 'taken');
	EXCEPTION WHEN unique_violation THEN
		told := told || SQLSTATE || ' ';
	END;
	BEGIN
		UPDATE REL.messages SET content = content || ' updated', role = CASE WHEN seq = number THEN NULL ELSE role END
			WHERE conversation_id = conversation AND account_id = account AND seq >= number - 2;
	EXCEPTION WHEN OTHERS THEN
		told := told || SQLSTATE || ' ';
	END;
	BEGIN
		DELETE FROM REL.messages WHERE conversation_id = conversation AND account_id = account AND seq = number;
		RAISE EXCEPTION 'put it back';
	EXCEPTION WHEN raise_exception THEN
		told := told || 'back ';
	END;
	RETURN told || fn_REL.put(account, conversation, 'after') - number;
END $$;
-- a loop over rows that it changes
CREATE FUNCTION fn_REL.walk(account text, conversation uuid) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	told text := '';
	m record;
BEGIN
	FOR m IN SELECT seq, content FROM REL.messages WHERE conversation_id = conversation AND account_id = account ORDER BY seq LOOP
		IF m.seq % 7 = 0 THEN
			DELETE FROM REL.messages WHERE conversation_id = conversation AND account_id = account AND seq = m.seq;
		ELSIF m.seq % 3 = 0 THEN
			UPDATE REL.messages SET content = left(m.content, 100) || ' walked'
				WHERE conversation_id = conversation AND account_id = account AND seq = m.seq;
		END IF;
		told := told || m.seq || ' ';
	END LOOP;
	RETURN told;
END $$;
SQL
}

sub prepared_sql
{
	return <<'SQL';
PREPARE put_REL (uuid, text, text) AS INSERT INTO REL.messages (conversation_id, account_id, role, content) VALUES ($1, $2, 'user', $3) RETURNING seq, parent_seq, content;
PREPARE quiet_REL (uuid, text, text, text) AS INSERT INTO REL.messages (conversation_id, account_id, role, content) VALUES ($1, $2, 'user', $3), ($1, $2, 'assistant', $4);
PREPARE edit_REL (uuid, text, bigint, text) AS UPDATE REL.messages SET content = $4 WHERE conversation_id = $1 AND account_id = $2 AND seq = $3;
PREPARE drop_REL (uuid, text, bigint) AS DELETE FROM REL.messages WHERE conversation_id = $1 AND account_id = $2 AND seq = $3 RETURNING content;
PREPARE last_REL (uuid, text, bigint) AS SELECT seq, parent_seq, content FROM REL.messages WHERE conversation_id = $1 AND account_id = $2 AND seq > $3 ORDER BY seq DESC LIMIT 5;
PREPARE title_REL (uuid, text, text) AS UPDATE REL.conversations SET title = $3 WHERE conversation_id = $1 AND account_id = $2 RETURNING title, message_count;
PREPARE titled_REL (text) AS SELECT m.seq, m.content FROM REL.conversations c
	JOIN REL.messages m USING (conversation_id, account_id) WHERE c.title LIKE $1 ORDER BY c.conversation_id, c.account_id, m.seq LIMIT 20;
SQL
}

sub prepared
{
	my ($state) = @_;
	my $c = maybe(0.3) ? conversation($state) : filled_conversation($state);
	my $keys = "$c->{key}, " . quoted($c->{account});
	return statement('prepared', 'EXECUTE ' . one_of(
			"put_REL($keys, " . content() . ')',
			"quiet_REL($keys, " . content() . ', ' . content() . ')',
			"edit_REL($keys, " . some_seq($c) . ', ' . content() . ')',
			"drop_REL($keys, " . some_seq($c) . ')',
			"last_REL($keys, " . ($c->{next} - 8) . ')',
			"title_REL($keys, " . quoted(words()) . ')',
			"titled_REL('%" . one_of('has', 'beta', '1') . "%')"), $c);
}

sub function_call
{
	my ($state) = @_;
	my $c = filled_conversation($state);
	my $keys = quoted($c->{account}) . ", $c->{key}";
	return statement('function', 'SELECT ' . one_of("fn_REL.talk($keys, " . between(1, 4) . ')', "fn_REL.careful($keys, 1)", "fn_REL.walk($keys)", "fn_REL.put($keys, " . content() . ')',
			"sum(fn_REL.put($keys, 'many ' || i)) FROM generate_series(1, 6) i"), $c);
}

# ---- SELECT ----

sub read_rows
{
	my ($state) = @_;
	my $c = filled_conversation($state);
	my $of = is_of($c, 'm');
	my $account = quoted($c->{account});
	my $sql = one_of(
		"SELECT $read_columns FROM REL.messages m WHERE $of ORDER BY seq",
		"SELECT $read_columns FROM REL.messages m WHERE $of AND " . range_of($c) . ' ORDER BY seq',
		"SELECT " . join(', ', map { one_of(@read_columns) } 1 .. 3) . " FROM REL.messages m WHERE $of ORDER BY seq DESC LIMIT " . between(1, 9),
		"SELECT seq FROM REL.messages m WHERE $of ORDER BY seq OFFSET 2 LIMIT 4",
		"SELECT count(*), sum(tokens), min(seq), max(seq) FROM REL.messages m WHERE $of",
		"SELECT count(*), count(content), count(m.*), sum(length(content)) FROM REL.messages m WHERE account_id = $account",
		"SELECT conversation_id, count(*), max(seq) FROM REL.messages m WHERE account_id = $account AND seq > 3 GROUP BY 1 ORDER BY 1",
		"SELECT account_id, role, count(*) FROM REL.messages m GROUP BY 1, 2 ORDER BY 1, 2",
		"SELECT conversation_id, seq FROM REL.messages m WHERE created_at >= '2001-03-01' AND created_at < '2001-05-01' ORDER BY 1, 2",
		"SELECT m.conversation_id, m.seq, p.note FROM REL.messages m JOIN " . picks($c) . ' ON m.conversation_id = p.id AND m.seq = p.seq ORDER BY 1, 2',
		"SELECT c.title, c.message_count, m.seq, m.content FROM REL.conversations c JOIN REL.messages m USING (conversation_id, account_id) WHERE " . is_of($c, 'c') . ' ORDER BY m.seq',
		"SELECT c.conversation_id, l.seq, l.content FROM REL.conversations c LEFT
			JOIN LATERAL (SELECT m.seq, left(m.content, 50) AS content FROM REL.messages m WHERE m.conversation_id = c.conversation_id
			AND m.account_id = c.account_id ORDER BY m.seq DESC LIMIT 2) l ON true WHERE c.account_id = $account ORDER BY 1, 2",
		"SELECT conversation_id, seq FROM REL.messages m WHERE (conversation_id, account_id) IN (SELECT conversation_id, account_id
			FROM REL.conversations WHERE archived) AND seq % 3 = 0 ORDER BY 1, 2",
		"SELECT seq FROM REL.messages m WHERE $of AND NOT EXISTS (SELECT FROM REL.messages n WHERE n.conversation_id = m.conversation_id
			AND n.account_id = m.account_id AND n.parent_seq = m.seq) ORDER BY 1",
		"WITH RECURSIVE branch AS (SELECT m.seq, m.parent_seq FROM REL.messages m
			JOIN REL.conversations c USING (conversation_id, account_id) WHERE m.seq = c.head_seq AND " . is_of($c, 'c') . " UNION ALL
			SELECT m.seq, m.parent_seq FROM branch b JOIN REL.messages m ON m.seq = b.parent_seq WHERE $of) SELECT * FROM branch ORDER BY seq",
		"SELECT $conversation_columns FROM REL.conversations WHERE account_id = $account ORDER BY 1",
		"SELECT $conversation_columns FROM REL.conversations WHERE conversation_id = $c->{key} ORDER BY account_id",
		"SELECT count(*), sum(message_count), count(head_seq) FROM REL.conversations WHERE archived",
		"SELECT c.conversation_id, (SELECT max(m.seq) FROM REL.messages m WHERE m.conversation_id = c.conversation_id
			AND m.account_id = c.account_id) FROM REL.conversations c WHERE c.message_count > 5 ORDER BY 1, 2",
		"SELECT m.seq, n.seq FROM REL.messages m JOIN REL.messages n ON n.conversation_id = m.conversation_id
			AND n.account_id = m.account_id AND n.parent_seq = m.seq WHERE $of ORDER BY 1, 2");
	return { kind => 'read', sql => $sql, ids => [] };
}

# ---- steps ----

my @kinds = (
	16 => \&insert_rows,
	2 => \&insert_without_account,
	4 => \&insert_select,
	4 => \&insert_self,
	3 => \&insert_several,
	3 => \&insert_nested,
	5 => \&insert_conversation,
	4 => \&copy_messages,
	9 => \&failing,
	16 => \&update_messages,
	3 => \&update_parent,
	2 => \&update_account,
	6 => \&update_conversation,
	10 => \&delete_messages,
	1 => \&delete_conversation,
	4 => \&with_insert,
	4 => \&with_several,
	5 => \&prepared,
	4 => \&function_call,
	14 => \&read_rows);

sub random_statement
{
	my ($state, $foreign) = @_;
	for my $slot (0 .. @accounts * $slots - 1)
	{
		my $known = $state->{ state_key(id_of($slot), account_of($slot)) };
		return delete_old(conversation($state, $slot)) if $known && !$known->{deleted} && $known->{count} >= 250;
	}
	return insert_on_conflict($state) if $foreign && maybe(0.06);
	return weighted(@kinds)->($state);
}

# What moves messages and changes none, and settings.
sub upkeep
{
	my $account = quoted(one_of(@accounts));
	return weighted(
		4 => "SELECT memory.seal() >= 0;",
		2 => "SELECT memory.seal($account) >= 0;",
		3 => "SET memory_ext.compact_after = 0; SET memory_ext.seal_after = 0; CALL memory.maintain();",
		1 => "SET memory_ext.compact_after = 0; SET memory_ext.purge_after = 0; CALL memory.maintain(); RESET memory_ext.purge_after; DELETE FROM model.numbers WHERE deleted;",
		3 => 'SET memory_ext.segment_messages = ' . one_of(1, 2, 4, 4, 8, 64) . ';',
		2 => 'SET memory_ext.buffer_size = ' . one_of("'64kB'", '-1', "'1MB'") . ';',
		1 => "SET memory_ext.compression = " . one_of("'lz4'", "'zstd'", "'none'") . ';',
		1 => 'SET memory_ext.segment_size = ' . one_of("'1kB'", "'64kB'") . ';',
		2 => 'SET enable_' . one_of(qw(nestloop hashjoin mergejoin material memoize seqscan indexscan sort)) . ' = ' . one_of('on', 'off') . ';',
		1 => 'SET plan_cache_mode = ' . one_of(qw(auto force_generic_plan force_custom_plan)) . ';',
		1 => 'SET work_mem = ' . one_of("'64kB'", "'4MB'") . ';');
}

# The conversations that a list of statements is about.
sub ids_of
{
	my %ids = map { $_ => 1 } map { @{ $_->{ids} // [] } } @_;
	return [ sort keys %ids ];
}

# A transaction on both sides at once, compared after each statement; psql keeps it alive after
# errors by savepoints of its own.
sub interleaved
{
	my ($state, $foreign) = @_;
	my @items = ({ both => 'BEGIN;' });
	my $savepoints = 0;
	for (1 .. between(2, 9))
	{
		my $what = weighted(70 => 'statement', 10 => 'savepoint', 8 => 'back', 3 => 'release', 9 => 'cursor');
		if ($what eq 'statement')
		{
			push @items, random_statement($state, $foreign);
		}
		elsif ($what eq 'savepoint')
		{
			push @items, { both => 'SAVEPOINT s' . ++$savepoints . ';' };
		}
		elsif ($what eq 'back' && $savepoints)
		{
			$savepoints = between(1, $savepoints);
			push @items, { both => "ROLLBACK TO s$savepoints;", ids => ids_of(@items) };
		}
		elsif ($what eq 'release' && $savepoints)
		{
			push @items, { both => "RELEASE s$savepoints;" };
			$savepoints--;
		}
		elsif ($what eq 'cursor')
		{
			my $c = filled_conversation($state);
			my $name = 'c' . ++$unique;
			push @items, { kind => 'cursor', ids => [], sql => "DECLARE ${name}_REL CURSOR FOR SELECT seq, content FROM REL.messages m WHERE " . is_of($c, 'm') . ' ORDER BY seq' },
			  { kind => 'fetch', ids => [], sql => 'FETCH ' . between(1, 3) . " FROM ${name}_REL" },
			  update_messages($state), insert_rows($state), delete_messages($state),
			  { kind => 'fetch', ids => [], sql => "FETCH ALL FROM ${name}_REL" };
		}
	}
	return (@items, { both => maybe(0.7) ? 'COMMIT;' : 'ROLLBACK;', ids => ids_of(@items) });
}

# A transaction of one side and then the same of the other; an error ends it.
sub whole
{
	my ($state, $foreign) = @_;
	my @statements = ({ kind => 'begin', sql => one_of('BEGIN', 'BEGIN ISOLATION LEVEL REPEATABLE READ', 'BEGIN ISOLATION LEVEL SERIALIZABLE'), ids => [] });
	my $savepoints = 0;
	my $hold = maybe(0.15) ? 'h' . ++$unique : '';
	for (1 .. between(2, 8))
	{
		if (maybe(0.15))
		{
			push @statements, { kind => 'savepoint', sql => 'SAVEPOINT s' . ++$savepoints, ids => [] };
		}
		elsif ($savepoints && maybe(0.2))
		{
			push @statements, { kind => 'rollback to', sql => "ROLLBACK TO s$savepoints", ids => [] };
		}
		else
		{
			my $statement = random_statement($state, $foreign);
			push @statements, $statement;
			# what the transaction sees of itself
			push @statements, map { +{ kind => 'read', ids => [], sql => "SELECT $read_columns FROM REL.messages m
				WHERE m.conversation_id = '$_' ORDER BY account_id, seq" } } @{ $statement->{ids} } ? $statement->{ids}[0] : ();
		}
	}
	my @after;
	if ($hold)
	{
		my $c = filled_conversation($state);
		splice @statements, between(1, scalar @statements), 0, { kind => 'hold', ids => [], sql => "DECLARE ${hold}_REL CURSOR WITH HOLD FOR
			SELECT seq, content FROM REL.messages m WHERE " . is_of($c, 'm') . ' ORDER BY seq' };
		@after = ({ kind => 'fetch', ids => [], sql => "FETCH 2
			FROM ${hold}_REL" }, random_statement($state, $foreign), { kind => 'fetch', ids => [], sql => "FETCH ALL
			FROM ${hold}_REL" }, { kind => 'close', ids => [], sql => "CLOSE ${hold}_REL" });
	}
	return { whole => [ @statements, { kind => 'end', sql => maybe(0.75) ? 'COMMIT' : 'ROLLBACK', ids => [] }, @after ] };
}

# In the role of a replica nothing but what always fires does; writes are none the less written.
sub replica
{
	my ($state, $foreign) = @_;
	return ({ both => "SET session_replication_role = 'replica';" }, (map { random_statement($state, $foreign) } 1 .. 3), { both => 'RESET session_replication_role;' });
}

# next_step
#		A list of: { kind, sql, ids }, run on one side, then on the other, then compared; { both },
#		run once; { whole }, a list to be run on one side, then on the other.  state: what the model
#		has, by state_key.  foreign: also what views cannot do.
sub next_step
{
	my ($state, $foreign) = @_;
	my $way = weighted(52 => 'one', 15 => 'interleaved', 15 => 'whole', 14 => 'upkeep', ($foreign ? 2 : 0) => 'replica', 2 => 'one');
	return random_statement($state, $foreign) if $way eq 'one';
	return interleaved($state, $foreign) if $way eq 'interleaved';
	return whole($state, $foreign) if $way eq 'whole';
	return replica($state, $foreign) if $way eq 'replica';
	return { both => upkeep() };
}

1;
