"""psycopg, psycopg2 and SQLAlchemy: each check is a line "library, check, result, note"."""
import datetime
import io
import uuid

import psycopg
import psycopg2
import psycopg2.extras
import sqlalchemy as sa
from psycopg.rows import dict_row
from psycopg.types.composite import CompositeInfo, register_composite
from psycopg.types.json import Jsonb
from sqlalchemy import orm
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, UUID, insert as pg_insert

AT = datetime.datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=datetime.timezone.utc)
METADATA = {"list": [1, "two", None], "deep": {"x": True}}
INSERT = "INSERT INTO memory.messages (conversation_id, account_id, role, content) VALUES (%s, %s, %s, %s)"
TAKEN = "INSERT INTO memory.messages (conversation_id, account_id, seq, role, content) VALUES (%s, %s, 1, 'user', 'x')"
TARGET = " ON CONFLICT (account_id, conversation_id, seq) DO NOTHING"


def check(library, name, run):
	try:
		note = run()
		result = "note" if note else "works"
	except Exception as error:  # whatever it is, it is the result
		result, note = "FAILS", f"{type(error).__name__} {error}"
	print(library, name, result, " ".join((note or "").split()), sep="\t", flush=True)


def sqlstate(run):
	try:
		run()
	except Exception as error:
		error = getattr(error, "orig", error)
		return getattr(error, "sqlstate", None) or error.pgcode
	raise AssertionError("did not fail")


def same(actual, expected):
	assert actual == expected, f"{actual!r} is not {expected!r}"


def plain(library, account, connection, jsonb, more):
	"""What psycopg and psycopg2 have in common; MORE are checks of one of them."""
	c = uuid.uuid4()
	key = (str(c), account)

	def execute(query, values=()):
		cursor = connection.cursor()
		cursor.execute(query, values)
		return cursor

	def count(where="true", values=()):
		return execute(f"SELECT count(*) FROM memory.messages WHERE account_id = '{account}' AND {where}", values).fetchone()[0]

	def insert():
		execute("INSERT INTO memory.conversations (conversation_id, account_id, metadata) VALUES (%s, %s, %s)", (*key, jsonb({"a": [1]})))
		execute(INSERT, (*key, "user", "one"))
		same(count(), 1)

	def returning():
		same(execute(INSERT + " RETURNING seq, parent_seq", (*key, "assistant", "two")).fetchone(), (2, 1))

	def many():
		cursor = connection.cursor()
		cursor.executemany(INSERT, [(*key, "user", f"many {i}") for i in range(4)])
		same(count(), 6)
		same(execute(TAKEN.replace("1,", "7,"), key).rowcount, 1)
		return "executemany"

	def ignore():
		same(sqlstate(lambda: execute(TAKEN, key)), "23505")
		same(execute(TAKEN + " ON CONFLICT DO NOTHING", key).rowcount, 0)
		same(sqlstate(lambda: execute(TAKEN + TARGET, key)), "42P10")
		return "a target: 42P10"

	def upsert():
		same(sqlstate(lambda: execute("INSERT INTO memory.conversations (conversation_id, account_id) VALUES (%s, %s) "
			"ON CONFLICT (account_id, conversation_id) DO UPDATE SET title = 'new'", key)), "42P10")
		same(execute("SELECT memory.upsert_conversation(%s, %s::uuid, title => 'new')", (account, str(c))).fetchone()[0], False)
		return "DO UPDATE: 42P10; memory.upsert_conversation works"

	def get():
		same(execute("SELECT content FROM memory.messages WHERE conversation_id = %s AND account_id = %s AND seq = %s", (*key, 2)).fetchone()[0], "two")

	def relation():
		same(len(execute("SELECT c.title, m.seq FROM memory.conversations c JOIN memory.messages m USING (account_id, conversation_id) "
			"WHERE conversation_id = %s AND account_id = %s", key).fetchall()), 7)

	def order():
		same(execute("SELECT seq FROM memory.messages WHERE conversation_id = %s ORDER BY seq DESC LIMIT 2", key[:1]).fetchall(), [(7,), (6,)])

	def update():
		same(execute("UPDATE memory.messages SET content = 'zwei' WHERE conversation_id = %s AND account_id = %s AND seq = 2", key).rowcount, 1)
		same(len(execute("UPDATE memory.messages SET model = 'm' WHERE account_id = %s AND seq > 4 RETURNING seq", (account,)).fetchall()), 3)

	def delete():
		same(execute("DELETE FROM memory.messages WHERE conversation_id = %s AND account_id = %s AND seq = 7", key).rowcount, 1)
		same(execute("DELETE FROM memory.messages WHERE account_id = %s AND seq = ANY (%s)", (account, [5, 6])).rowcount, 2)

	def savepoint():
		for statement in ("BEGIN", "kept", "SAVEPOINT s", "undone", "ROLLBACK TO s", "COMMIT", "BEGIN", "undone", "ROLLBACK"):
			if statement in ("kept", "undone"):
				execute(INSERT, (*key, "user", statement))
			else:
				execute(statement)
		same((count("content = 'kept'"), count("content = 'undone'")), (1, 0))

	def types():
		execute("INSERT INTO memory.messages (conversation_id, account_id, seq, role, content, created_at, metadata, model) "
			"VALUES (%s, %s, 100, 'user', %s, %s, %s, %s)", (*key, "ünï 🐘", AT, jsonb(METADATA), None))
		row = execute("SELECT content, created_at, metadata, model, conversation_id, seq FROM memory.messages "
			"WHERE conversation_id = %s AND account_id = %s AND seq = 100", key).fetchone()
		same(row[:4], ("ünï 🐘", AT, METADATA, None))
		same(str(row[4]), str(c))
		return f"bigint as {type(row[5]).__name__}, uuid as {type(row[4]).__name__}"

	def array():
		same(len(execute("SELECT FROM memory.messages WHERE conversation_id = ANY (%s::uuid[]) AND seq = ANY (%s)", ([str(c)], [1, 2])).fetchall()), 2)

	def append():
		same(len(execute("SELECT memory.append(%s, %s::uuid, %s)", (account, str(c), jsonb([{"role": "user", "content": "a"}]))).fetchone()[0]), 1)

	for run in (insert, returning, many, ignore, upsert, get, relation, order):
		check(library, run.__name__, run)
	check(library, "count", lambda: same(count("conversation_id = %s", key[:1]), 7))
	for run in (update, delete, savepoint, types, array, append):
		check(library, run.__name__, run)
	for name, run in more(c, execute, count):
		check(library, name, run)


def psycopg3():
	account = "psycopg"
	connection = psycopg.connect(autocommit=True)

	def more(c, execute, count):
		def prepared():
			for i in range(12):
				connection.execute(INSERT, (c, account, "user", f"prepared {i}"), prepare=True)
				same(connection.execute("SELECT content FROM memory.messages WHERE conversation_id = %s AND account_id = %s ORDER BY seq DESC LIMIT 1",
					(c, account), prepare=True).fetchone()[0], f"prepared {i}")
			assert execute("SELECT sum(generic_plans) FROM pg_prepared_statements WHERE statement ~ 'memory.messages'").fetchone()[0] > 0

		def binary():
			cursor = connection.cursor(binary=True)
			cursor.execute("SELECT * FROM memory.messages WHERE conversation_id = %b AND account_id = %b AND seq = %b", (c, account, 100))
			row = dict(zip([d.name for d in cursor.description], cursor.fetchone()))
			same((row["conversation_id"], row["seq"], row["created_at"], row["metadata"]), (c, 100, AT, METADATA))
			return "parameters and results"

		def composite():
			history = connection.cursor(row_factory=dict_row).execute("SELECT * FROM memory.history(%s, %s, max_messages => 1)", (account, c)).fetchone()
			register_composite(CompositeInfo.fetch(connection, "memory.message"), connection)
			for is_binary in (False, True):
				message = connection.cursor(binary=is_binary).execute("SELECT memory.message(%s, %s, 100)", (account, c)).fetchone()[0]
				same((message.seq, message.metadata), (100, METADATA))
			assert history["seq"] > 100
			return "memory.message as a named tuple after register_composite, text and binary"

		def copy():
			columns = "COPY memory.messages (conversation_id, account_id, role, content) FROM STDIN"
			with connection.cursor().copy(columns) as out:
				for i in range(5):
					out.write_row((c, account, "user", f"copied {i}"))
			with connection.cursor().copy(columns + " (FORMAT binary)") as out:
				out.set_types(["uuid", "text", "text", "text"])
				for i in range(5, 10):
					out.write_row((c, account, "user", f"copied {i}"))
			query = "COPY (SELECT content FROM memory.messages WHERE account_id = 'psycopg' AND content LIKE 'copied%' ORDER BY seq) TO STDOUT"
			for form in ("", " (FORMAT binary)"):
				with connection.cursor().copy(query + form) as rows:
					rows.set_types(["text"])
					same([row[0] for row in rows.rows()], [f"copied {i}" for i in range(10)])
			return "in and out, text and binary: COPY (SELECT …) TO"

		def cursor():
			with connection.transaction(), connection.cursor("c", scrollable=True) as server_side:
				server_side.execute("SELECT seq FROM memory.messages WHERE conversation_id = %s ORDER BY seq", (c,))
				server_side.itersize = 4
				same(len(list(server_side)), count())
				server_side.scroll(0, mode="absolute")
				same(server_side.fetchone(), (1,))
			return "server-side, scrollable too"

		def pipeline():
			with connection.pipeline():
				found = [connection.execute(INSERT + " RETURNING seq", (c, account, "user", "piped")) for _ in range(5)]
			same(len({f.fetchone()[0] for f in found}), 5)
			return "pipeline mode"

		out = [("prepared", prepared), ("binary", binary), ("composite", composite), ("copy", copy), ("cursor", cursor)]
		if psycopg.Pipeline.is_supported():
			out.append(("pipeline", pipeline))
		return out

	plain(f"psycopg {psycopg.__version__}", account, connection, Jsonb, more)
	connection.close()


def psycopg_2():
	account = "psycopg2"
	connection = psycopg2.connect("")
	connection.autocommit = True

	def more(c, execute, count):
		def values():
			same(len(psycopg2.extras.execute_values(connection.cursor(), "INSERT INTO memory.messages (conversation_id, account_id, role, content) "
				"VALUES %s RETURNING seq", [(str(c), account, "user", f"values {i}") for i in range(5)], fetch=True)), 5)
			return "execute_values with RETURNING"

		def composite():
			psycopg2.extras.register_composite("memory.message", connection)
			message = execute("SELECT memory.message(%s, %s::uuid, 100)", (account, str(c))).fetchone()[0]
			same((message.seq, message.metadata), (100, METADATA))
			return "memory.message as a named tuple after register_composite"

		def copy():
			cursor = connection.cursor()
			cursor.copy_expert("COPY memory.messages (conversation_id, account_id, role, content) FROM STDIN",
				io.StringIO("".join(f"{c}\t{account}\tuser\tcopied {i}\n" for i in range(5))))
			out = io.StringIO()
			cursor.copy_expert("COPY (SELECT content FROM memory.messages WHERE account_id = 'psycopg2' AND content LIKE 'copied%' ORDER BY seq) TO STDOUT", out)
			same(out.getvalue(), "".join(f"copied {i}\n" for i in range(5)))
			return "copy_expert: COPY (SELECT …) TO"

		def cursor():
			connection.autocommit = False
			server_side = connection.cursor("c")
			server_side.itersize = 4
			server_side.execute("SELECT seq FROM memory.messages WHERE conversation_id = %s ORDER BY seq", (str(c),))
			seen = len(list(server_side))
			connection.commit()
			connection.autocommit = True
			same(seen, count())
			return "server-side (named)"

		return [("values", values), ("composite", composite), ("copy", copy), ("cursor", cursor)]

	plain(f"psycopg2 {psycopg2.__version__.split()[0]}", account, connection, psycopg2.extras.Json, more)
	connection.close()


def sqlalchemy():
	library = f"SQLAlchemy {sa.__version__}"
	account = "sqlalchemy"
	c = uuid.uuid4()
	engine = sa.create_engine("postgresql+psycopg2://", future=True)
	Base = orm.declarative_base()

	class Conversation(Base):
		__tablename__ = "conversations"
		__table_args__ = {"schema": "memory"}
		account_id = sa.Column(sa.Text, primary_key=True)
		conversation_id = sa.Column(UUID(as_uuid=True), primary_key=True)
		title = sa.Column(sa.Text)
		metadata_ = sa.Column("metadata", JSONB(none_as_null=True))
		archived = sa.Column(sa.Boolean)
		messages = orm.relationship("Message", back_populates="conversation", order_by="Message.seq", passive_deletes="all")

	class Message(Base):
		__tablename__ = "messages"
		account_id = sa.Column(sa.Text, primary_key=True)
		conversation_id = sa.Column(UUID(as_uuid=True), primary_key=True)
		seq = sa.Column(sa.BigInteger, sa.FetchedValue(), primary_key=True)
		parent_seq = sa.Column(sa.BigInteger, sa.FetchedValue())
		role = sa.Column(sa.Text)
		content = sa.Column(sa.Text)
		model = sa.Column(sa.Text)
		tokens = sa.Column(sa.Integer, sa.FetchedValue())
		created_at = sa.Column(sa.DateTime(timezone=True), sa.FetchedValue())
		metadata_ = sa.Column("metadata", JSONB(none_as_null=True))
		conversation = orm.relationship(Conversation, back_populates="messages")
		__table_args__ = (sa.ForeignKeyConstraint(["account_id", "conversation_id"],
			[Conversation.account_id, Conversation.conversation_id]), {"schema": "memory"})

	def session():
		return orm.Session(engine, future=True)

	def message(content, **more):
		return Message(account_id=account, conversation_id=c, role="user", content=content, **more)

	def count(*where):
		with session() as s:
			return s.scalar(sa.select(sa.func.count()).select_from(Message).where(Message.account_id == account, *where))

	def insert():
		with session() as s:
			s.add(Conversation(account_id=account, conversation_id=c, metadata_={"a": [1]}, messages=[Message(role="user", content="one")]))
			s.commit()
		same(count(), 1)
		return "a conversation with its messages"

	def returning():
		with session() as s:
			two = message("two")
			s.add(two)
			s.commit()
			same((two.seq, two.parent_seq), (2, 1))
		return "seq with FetchedValue() is read back"

	def many():
		with session() as s:
			s.add_all([message(f"many {i}", seq=i) for i in range(3, 5)])
			s.commit()
			s.add_all([message(f"many {i}") for i in range(5, 7)])
			s.commit()
			s.execute(sa.insert(Message), [dict(account_id=account, conversation_id=c, seq=7, role="user", content="seven")])
			s.commit()
		same(count(), 7)

	def ignore():
		statement = pg_insert(Message).values(account_id=account, conversation_id=c, seq=1, role="user", content="x")
		with engine.begin() as connection:
			same(connection.execute(statement.on_conflict_do_nothing()).rowcount, 0)
		with session() as s:
			same(sqlstate(lambda: s.execute(statement)), "23505")
		with session() as s:
			same(sqlstate(lambda: s.execute(statement.on_conflict_do_nothing(index_elements=["account_id", "conversation_id", "seq"]))), "42P10")
		return "on_conflict_do_nothing() without index_elements; a target: 42P10"

	def upsert():
		statement = pg_insert(Conversation).values(account_id=account, conversation_id=c)
		with session() as s:
			same(sqlstate(lambda: s.execute(statement.on_conflict_do_update(index_elements=["account_id", "conversation_id"], set_={"title": "new"}))), "42P10")
		with session() as s:
			same(s.scalar(sa.text("SELECT memory.upsert_conversation(:a, CAST(:c AS uuid), title => 'new')"), {"a": account, "c": str(c)}), False)
			s.merge(Conversation(account_id=account, conversation_id=c, title="newer"))
			s.commit()
		return "on_conflict_do_update: 42P10; merge() and memory.upsert_conversation work"

	def get():
		with session() as s:
			same(s.get(Message, (account, c, 2)).content, "two")

	def relation():
		with session() as s:
			for option in (orm.selectinload, orm.joinedload, orm.subqueryload, orm.lazyload):
				found = s.scalars(sa.select(Conversation).where(Conversation.account_id == account).options(option(Conversation.messages))).unique().all()
				same([m.seq for m in found[0].messages], [1, 2, 3, 4, 5, 6, 7])
				s.expunge_all()
		return "selectin, joined, subquery and lazy loading"

	def order():
		with session() as s:
			same(s.scalars(sa.select(Message.seq).where(Message.conversation_id == c).order_by(Message.seq.desc()).limit(2)).all(), [7, 6])

	def update():
		with session() as s:
			s.get(Message, (account, c, 2)).content = "zwei"
			s.commit()
			same(s.execute(sa.update(Message).where(Message.account_id == account, Message.seq > 4).values(model="m")).rowcount, 3)
			s.commit()
		same(count(Message.content == "zwei"), 1)

	def delete():
		with session() as s:
			s.delete(s.get(Message, (account, c, 7)))
			s.commit()
			same(s.execute(sa.delete(Message).where(Message.account_id == account, Message.seq.in_([5, 6]))).rowcount, 2)
			s.commit()

	def savepoint():
		with session() as s:
			s.add(message("kept"))
			nested = s.begin_nested()
			s.add(message("undone"))
			s.flush()
			nested.rollback()
			s.commit()
			s.add(message("undone"))
			s.flush()
			s.rollback()
		same((count(Message.content == "kept"), count(Message.content == "undone")), (1, 0))

	def types():
		with session() as s:
			s.add(message("ünï 🐘", seq=100, created_at=AT, metadata_=METADATA))
			s.commit()
			row = s.get(Message, (account, c, 100))
			same((row.content, row.created_at, row.metadata_, row.model, row.conversation_id), ("ünï 🐘", AT, METADATA, None, c))
			same(s.scalar(sa.select(sa.func.count()).where(Message.account_id == account, Message.metadata_["deep"]["x"].as_boolean())), 1)
			same(sqlstate(lambda: s.execute(sa.insert(Message.__table__).values({"account_id": account, "conversation_id": c, "role": "user",
				"content": "x", "metadata": sa.cast(sa.bindparam("j", None, JSONB()), JSONB)}))), "22023")
			return f"bigint as {type(row.seq).__name__}; name the attribute of metadata otherwise; JSONB(none_as_null=True)"

	def array():
		with session() as s:
			same(len(s.scalars(sa.select(Message.seq).where(Message.conversation_id == c,
				Message.seq == sa.any_(sa.bindparam("seqs", [1, 2], type_=ARRAY(sa.BigInteger))))).all()), 2)

	def composite():
		with session() as s:
			history = sa.func.memory.history(account, sa.cast(c, UUID(as_uuid=True))).table_valued("seq", "content")
			assert len(s.execute(sa.select(history.c.seq, history.c.content)).all()) > 3
		return "func.memory.history(…).table_valued(…)"

	def append():
		with session() as s:
			same(len(s.scalar(sa.select(sa.func.memory.append(account, sa.cast(c, UUID(as_uuid=True)), sa.cast([{"role": "user", "content": "a"}], JSONB))))), 1)
			s.commit()

	def cursor():
		with session() as s:
			same(len(list(s.execute(sa.select(Message).where(Message.account_id == account).execution_options(yield_per=4)).partitions())) > 1, True)
		return "yield_per"

	def introspect():
		inspector = sa.inspect(engine)
		listed = [n for n, names in (("get_table_names", inspector.get_table_names("memory")), ("get_view_names", inspector.get_view_names("memory")),
			("get_foreign_table_names", inspector.get_foreign_table_names("memory"))) if "messages" in names]
		table = sa.Table("messages", sa.MetaData(), schema="memory", autoload_with=engine)
		same(str(table.c.seq.type), "BIGINT")
		return f"Table(autoload_with=…) works, without a key; listed by {', '.join(listed) or 'nothing'}"

	for run in (insert, returning, many, ignore, upsert, get, relation, order):
		check(library, run.__name__, run)
	check(library, "count", lambda: same(count(Message.conversation_id == c), 7))
	for run in (update, delete, savepoint, types, array, composite, append, cursor, introspect):
		check(library, run.__name__, run)


psycopg3()
psycopg_2()
sqlalchemy()
