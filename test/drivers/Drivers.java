// JDBC: each check is a line "library, check, result, note".
import java.io.StringReader;
import java.io.StringWriter;
import java.sql.*;
import java.time.OffsetDateTime;
import java.util.UUID;
import org.postgresql.PGConnection;
import org.postgresql.PGStatement;
import org.postgresql.copy.CopyManager;
import org.postgresql.util.PGobject;

public class Drivers
{
	interface Check
	{
		String run() throws Exception;
	}

	static final String ACCOUNT = "jdbc";
	static final UUID ID = UUID.randomUUID();
	static final String INSERT = "INSERT INTO memory.messages (conversation_id, account_id, role, content) VALUES (?, ?, ?, ?)";
	static final String TAKEN = "INSERT INTO memory.messages (conversation_id, account_id, seq, role, content) VALUES (?, ?, 1, 'user', 'x')";
	static Connection db;
	static String library;

	static void check(String name, Check check)
	{
		String result, note;

		try
		{
			note = check.run();
			result = note == null ? "works" : "note";
		}
		catch (Throwable error)
		{
			result = "FAILS";
			note = error.toString();
		}
		System.out.println(String.join("\t", library, name, result, note == null ? "" : note.replaceAll("\\s+", " ")));
	}

	static void same(Object actual, Object expected)
	{
		if (!expected.equals(actual))
			throw new AssertionError(actual + " is not " + expected);
	}

	static PreparedStatement prepare(String sql, Object... values) throws SQLException
	{
		PreparedStatement statement = db.prepareStatement(sql, ResultSet.TYPE_FORWARD_ONLY, ResultSet.CONCUR_READ_ONLY);

		for (int i = 0; i < values.length; i++)
			statement.setObject(i + 1, values[i]);
		return statement;
	}

	static int update(String sql, Object... values) throws SQLException
	{
		try (PreparedStatement statement = prepare(sql, values))
		{
			return statement.executeUpdate();
		}
	}

	static Object one(String sql, Object... values) throws SQLException
	{
		try (PreparedStatement statement = prepare(sql, values); ResultSet rows = statement.executeQuery())
		{
			return rows.next() ? rows.getObject(1) : null;
		}
	}

	static Object count(String where) throws SQLException
	{
		return one("SELECT count(*) FROM memory.messages WHERE account_id = ? AND " + where, ACCOUNT);
	}

	static PGobject jsonb(String text) throws SQLException
	{
		PGobject value = new PGobject();

		value.setType("jsonb");
		value.setValue(text);
		return value;
	}

	static void fails(String sqlstate, Check check) throws Exception
	{
		try
		{
			check.run();
		}
		catch (SQLException error)
		{
			same(error.getSQLState(), sqlstate);
			return;
		}
		throw new AssertionError("did not fail");
	}

	static String text(int count)
	{
		StringBuilder text = new StringBuilder();

		for (int i = 0; i < count; i++)
			text.append("copied ").append(i).append('\n');
		return text.toString();
	}

	public static void main(String[] arguments) throws Exception
	{
		db = DriverManager.getConnection("jdbc:postgresql://127.0.0.1:" + System.getenv("PGPORT") + "/" + System.getenv("PGDATABASE")
			+ "?user=" + System.getenv("PGUSER"));
		library = "JDBC " + db.getMetaData().getDriverVersion();
		writing();
		reading();
		changing();
		values();
		streams();
		db.close();
	}

	static void writing()
	{
		check("insert", () -> {
			update("INSERT INTO memory.conversations (conversation_id, account_id, metadata) VALUES (?, ?, ?)", ID, ACCOUNT, jsonb("{\"a\": [1]}"));
			update(INSERT, ID, ACCOUNT, "user", "one");
			same(count("true"), 1L);
			return null;
		});
		check("returning", () -> {
			same(one(INSERT + " RETURNING seq", ID, ACCOUNT, "assistant", "two"), 2L);
			try (PreparedStatement statement = db.prepareStatement(INSERT, new String[] { "seq" }))
			{
				statement.setObject(1, ID);
				statement.setString(2, ACCOUNT);
				statement.setString(3, "user");
				statement.setString(4, "three");
				statement.executeUpdate();
				ResultSet keys = statement.getGeneratedKeys();
				same(keys.next(), true);
				same(keys.getLong("seq"), 3L);
			}
			return "getGeneratedKeys()";
		});
		check("many", () -> {
			try (PreparedStatement statement = prepare(INSERT))
			{
				for (int i = 4; i <= 7; i++)
				{
					statement.setObject(1, ID);
					statement.setString(2, ACCOUNT);
					statement.setString(3, "user");
					statement.setString(4, "batch " + i);
					statement.addBatch();
				}
				same(statement.executeBatch().length, 4);
			}
			same(count("true"), 7L);
			return "addBatch()";
		});
		check("ignore", () -> {
			fails("23505", () -> "" + update(TAKEN, ID, ACCOUNT));
			same(update(TAKEN + " ON CONFLICT DO NOTHING", ID, ACCOUNT), 0);
			fails("42P10", () -> "" + update(TAKEN + " ON CONFLICT (account_id, conversation_id, seq) DO NOTHING", ID, ACCOUNT));
			return "a target: 42P10";
		});
		check("upsert", () -> {
			fails("42P10", () -> "" + update("INSERT INTO memory.conversations (conversation_id, account_id) VALUES (?, ?)"
				+ " ON CONFLICT (account_id, conversation_id) DO UPDATE SET title = 'new'", ID, ACCOUNT));
			same(one("SELECT memory.upsert_conversation(?, ?, title => 'new')", ACCOUNT, ID), false);
			return "DO UPDATE: 42P10; memory.upsert_conversation works";
		});
	}

	static void reading()
	{
		check("get", () -> {
			same(one("SELECT content FROM memory.messages WHERE account_id = ? AND conversation_id = ? AND seq = ?", ACCOUNT, ID, 2L), "two");
			return null;
		});
		check("relation", () -> {
			same(one("SELECT count(m.seq) FROM memory.conversations c JOIN memory.messages m USING (account_id, conversation_id)"
				+ " WHERE conversation_id = ?", ID), 7L);
			return null;
		});
		check("order", () -> {
			same(one("SELECT seq FROM memory.messages WHERE conversation_id = ? ORDER BY seq DESC LIMIT 1", ID), 7L);
			return null;
		});
		check("count", () -> {
			same(count("true"), 7L);
			return null;
		});
	}

	static void changing()
	{
		check("update", () -> {
			same(update("UPDATE memory.messages SET content = 'zwei' WHERE account_id = ? AND conversation_id = ? AND seq = 2", ACCOUNT, ID), 1);
			same(update("UPDATE memory.messages SET model = 'm' WHERE account_id = ? AND seq > 4", ACCOUNT), 3);
			return null;
		});
		check("delete", () -> {
			same(update("DELETE FROM memory.messages WHERE account_id = ? AND conversation_id = ? AND seq = 7", ACCOUNT, ID), 1);
			same(update("DELETE FROM memory.messages WHERE account_id = ? AND seq IN (5, 6)", ACCOUNT), 2);
			return null;
		});
		check("savepoint", () -> {
			db.setAutoCommit(false);
			update(INSERT, ID, ACCOUNT, "user", "kept");
			Savepoint savepoint = db.setSavepoint();
			update(INSERT, ID, ACCOUNT, "user", "undone");
			db.rollback(savepoint);
			db.commit();
			update(INSERT, ID, ACCOUNT, "user", "undone");
			db.rollback();
			db.setAutoCommit(true);
			same(count("content = 'kept'"), 1L);
			same(count("content = 'undone'"), 0L);
			return null;
		});
	}

	static void values()
	{
		check("prepared", () -> {
			try (PreparedStatement write = prepare(INSERT); PreparedStatement read =
				prepare("SELECT content FROM memory.messages WHERE account_id = ? AND conversation_id = ? ORDER BY seq DESC LIMIT 1", ACCOUNT, ID))
			{
				for (int i = 0; i < 15; i++)
				{
					write.setObject(1, ID);
					write.setString(2, ACCOUNT);
					write.setString(3, "user");
					write.setString(4, "prepared " + i);
					write.executeUpdate();
					ResultSet rows = read.executeQuery();
					same(rows.next(), true);
					same(rows.getString(1), "prepared " + i);
				}
				same(read.unwrap(PGStatement.class).isUseServerPrepare(), true);
				same(one("SELECT sum(generic_plans) > 0 FROM pg_prepared_statements WHERE statement ~ 'memory.messages'"), true);
			}
			return "on the server from the fifth execution";
		});
		check("types", () -> {
			OffsetDateTime at = OffsetDateTime.parse("2026-01-02T03:04:05.678Z");
			update("INSERT INTO memory.messages (conversation_id, account_id, seq, role, content, created_at, metadata, model) VALUES (?, ?, ?, 'user', ?, ?, ?, ?)",
				ID, ACCOUNT, 100L, "ünï 🐘", at, jsonb("{\"a\": null}"), null);
			try (PreparedStatement read = prepare("SELECT * FROM memory.messages WHERE account_id = ? AND conversation_id = ? AND seq = 100", ACCOUNT, ID))
			{
				ResultSet row = read.executeQuery();
				same(row.next(), true);
				same(row.getObject("conversation_id"), ID);
				same(row.getObject("created_at", OffsetDateTime.class).toInstant(), at.toInstant());
				same(row.getString("content"), "ünï 🐘");
				same(row.getString("metadata"), "{\"a\": null}");
				same(row.getString("model") == null, true);
				return "bigint as " + row.getObject("seq").getClass().getSimpleName() + ", jsonb as PGobject";
			}
		});
		check("binary", () -> {
			try (PreparedStatement read = prepare("SELECT seq, created_at, conversation_id FROM memory.messages WHERE conversation_id = ? AND seq = 100", ID))
			{
				read.unwrap(PGStatement.class).setPrepareThreshold(-1);
				ResultSet row = read.executeQuery();
				same(row.next(), true);
				same(row.getLong(1), 100L);
				same(row.getObject(3), ID);
			}
			return "forced: prepareThreshold=-1";
		});
		check("array", () -> {
			same(one("SELECT count(*) FROM memory.messages WHERE conversation_id = ANY (?) AND seq = ANY (?)",
				db.createArrayOf("uuid", new UUID[] { ID }), db.createArrayOf("bigint", new Long[] { 1L, 2L })), 2L);
			return null;
		});
		check("composite", () -> {
			same(one("SELECT content FROM memory.history(?, ?, max_messages => 1)", ACCOUNT, ID), "ünï 🐘");
			same(one("SELECT (memory.message(?, ?, 100)).seq", ACCOUNT, ID), 100L);
			return "a row value as " + one("SELECT memory.message(?, ?, 100)", ACCOUNT, ID).getClass().getSimpleName() + "; (…).column works";
		});
		check("append", () -> {
			Array seqs = (Array) one("SELECT memory.append(?, ?, ?)", ACCOUNT, ID, jsonb("[{\"role\": \"user\", \"content\": \"a\"}]"));
			same(((Long[]) seqs.getArray()).length, 1);
			return null;
		});
	}

	static void streams()
	{
		check("copy", () -> {
			CopyManager copy = db.unwrap(PGConnection.class).getCopyAPI();
			StringBuilder lines = new StringBuilder();
			StringWriter out = new StringWriter();

			for (int i = 0; i < 5; i++)
				lines.append(ID + "\t" + ACCOUNT + "\tuser\tcopied " + i + "\n");
			same(copy.copyIn("COPY memory.messages (conversation_id, account_id, role, content) FROM STDIN", new StringReader(lines.toString())), 5L);
			copy.copyOut("COPY (SELECT content FROM memory.messages WHERE account_id = 'jdbc' AND content LIKE 'copied%' ORDER BY seq) TO STDOUT", out);
			same(out.toString(), text(5));
			return "CopyManager: COPY (SELECT …) TO";
		});
		check("cursor", () -> {
			long seen = 0;
			Object all = count("true");

			db.setAutoCommit(false);
			try (PreparedStatement read = prepare("SELECT seq, content FROM memory.messages WHERE account_id = ?", ACCOUNT))
			{
				read.setFetchSize(4);
				for (ResultSet rows = read.executeQuery(); rows.next();)
					seen++;
			}
			db.commit();
			db.setAutoCommit(true);
			same(seen, all);
			return "setFetchSize() without autocommit";
		});
		check("introspect", () -> {
			ResultSet table = db.getMetaData().getTables(null, "memory", "messages", null);
			ResultSet columns = db.getMetaData().getColumns(null, "memory", "messages", "seq");

			same(table.next() && columns.next(), true);
			same(columns.getString("TYPE_NAME"), "int8");
			return "getTables() has it as " + table.getString("TABLE_TYPE");
		});
	}
}
