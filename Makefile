# memory_ext: conversations of language models, compressed, inside PostgreSQL.
#
#   make test            installs what is missing (Debian packages, as root), builds, starts a
#                        private temporary server and runs every test
#   make demo            the same, but shows what the extension does
#   make bench           the same, but measures it beside plain tables (1 hour)
#   make bench-transfer  measures imports and exports (3 minutes)
#   make asan            every test with the compiler's sanitizers (10 minutes)
#   make valgrind        the regression tests under memcheck (1 hour)
#   make fuzz            hostile input for transcripts' bytes and text, and CSV, SECONDS=60 each
#   make test-matrix     every test with PostgreSQL 15, 17 and 18, in Debians of their own (root)
#   make                 builds; needs PostgreSQL's server headers, libzstd and liblz4
#   make install         into the PostgreSQL that PG_CONFIG names
#   make installcheck    tests a server that runs already
#   make format          lets clang-format lay out the C files
#
# PG_CONFIG=/path/to/pg_config chooses the PostgreSQL (15 to 18), WERROR=1 makes warnings errors,
# HIREDIS=no leaves out live connections to Redis, which are built where hiredis' headers are.
# `make test` also takes REGRESS=, ISOLATION=, PROVE_TESTS= (lists) and KEEP=1 (see test/run),
# `make demo` takes CORPUS=folder (see test/demo), `make bench` needs it (see test/bench/run),
# `make test-matrix` takes MATRIX= and MATRIX_DIR= (see test/matrix).

EXTENSION = memory_ext
EXTVERSION = 1.0
MODULE_big = $(EXTENSION)

OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/*.c src/*/*.c)))
# what test/fuzz/run links in besides
OBJS += $(EXTRA_OBJS)
C_FILES = $(sort $(wildcard src/*.[ch] src/*/*.[ch] test/fuzz/*.c))

# The install script is these files, joined in this order.
INSTALL_SQL = $(wildcard \
	src/memory_ext.sql \
	src/transcript/transcript.sql \
	src/quota/tables.sql \
	src/quota/quota.sql \
	src/metering/tables.sql \
	src/store/tables.sql \
	src/store/write.sql \
	src/store/views.sql \
	src/relation/relation.sql \
	src/store/read.sql \
	src/store/maintain.sql \
	src/store/subscription.sql \
	src/store/verify.sql \
	src/metering/usage.sql \
	src/metering/outbox.sql \
	src/metering/rating.sql \
	src/transfer/compress.sql \
	src/transfer/formats.sql \
	src/transfer/jobs.sql \
	src/transfer/import.sql \
	src/transfer/export.sql \
	src/transfer/job_calls.sql \
	src/transfer/redis.sql \
	src/access.sql)
DATA_built = $(EXTENSION)--$(EXTVERSION).sql
DATA = $(wildcard $(EXTENSION)--*--*.sql)

# Tests.  pg_regress takes those named here first, in this order, then the rest of sql/.
REGRESS_FIRST = transcript
REGRESS_FOUND := $(sort $(patsubst sql/%.sql,%,$(wildcard sql/*.sql)))
REGRESS := $(filter $(REGRESS_FOUND),$(REGRESS_FIRST)) $(filter-out $(REGRESS_FIRST),$(REGRESS_FOUND))
ENCODING = UTF8
REGRESS_OPTS = --load-extension=$(EXTENSION)
ISOLATION := $(sort $(patsubst test/specs/%.spec,%,$(wildcard test/specs/*.spec)))
ISOLATION_OPTS = --inputdir=test --load-extension=$(EXTENSION)
PROVE_TESTS := $(sort $(wildcard test/t/*.pl))
TAP_TESTS := $(if $(PROVE_TESTS),1)

PG_CPPFLAGS = -I$(srcdir)/src -I$(srcdir)/src/transcript -I$(srcdir)/src/quota -I$(srcdir)/src/metering \
	-I$(srcdir)/src/store -I$(srcdir)/src/relation -I$(srcdir)/src/transfer
PG_CFLAGS = -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare -Wno-missing-field-initializers \
	$(if $(WERROR),-Werror)
SHLIB_LINK = -lzstd -llz4

# Live connections to Redis, where hiredis is; without it they are refused by name.
ifeq ($(HIREDIS),)
HIREDIS := $(shell $(or $(CC),cc) $(CPPFLAGS) -E -include hiredis/hiredis.h -x c /dev/null > /dev/null 2>&1 && echo yes || echo no)
endif
ifeq ($(HIREDIS),yes)
PG_CPPFLAGS += -DHAVE_HIREDIS
SHLIB_LINK += -lhiredis
endif

# Only what the server calls by name is exported: the functions declared by
# PG_FUNCTION_INFO_V1 at the beginning of a line, and the background workers' entry point.
# (PostgreSQL 16 and newer also compile with -fvisibility=hidden; 15's headers do not mark such
# functions, so there a list is the only way.)
SHLIB_EXPORTS = $(EXTENSION).exports.txt

EXTRA_CLEAN = $(EXTENSION).exports.txt $(EXTENSION).exports.list $(EXTENSION)--$(EXTVERSION).sql.new

# No LLVM bitcode: it would need the clang that PostgreSQL was built with, and buys nothing here.
override with_llvm = no

# These need no pg_config: what they run installs what is missing.
OWN_GOALS = test demo bench bench-transfer asan valgrind fuzz test-matrix format
.PHONY: all $(OWN_GOALS)
all:

test:
	@test/run $(MAKEOVERRIDES)
demo:
	@test/demo $(MAKEOVERRIDES)
bench:
	@test/bench/run $(MAKEOVERRIDES)
bench-transfer:
	@test/bench/transfer $(MAKEOVERRIDES)
asan valgrind:
	@test/run CHECK=$@ $(MAKEOVERRIDES)
fuzz:
	@test/fuzz/run $(MAKEOVERRIDES)
test-matrix:
	@test/matrix $(MAKEOVERRIDES)
format:
	clang-format -i $(C_FILES)

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs 2>/dev/null)
ifneq ($(wildcard $(PGXS)),)
include $(PGXS)
else ifneq ($(filter-out $(OWN_GOALS),$(or $(MAKECMDGOALS),all)),)
# One line of ours and none of make's: asked only whether a goal is up to date (-q), it says
# nothing and ends with status 1.
$(shell printf '%s\n' >&2 "memory_ext: PostgreSQL's build files are not there ($(PG_CONFIG) --pgxs): \
apt-get install postgresql-server-dev-15 libzstd-dev liblz4-dev, or name another with PG_CONFIG=; \
'make test' and 'make demo' install them by themselves")
MAKEFLAGS += -q
.PHONY: $(MAKECMDGOALS)
$(sort all $(filter-out $(OWN_GOALS),$(MAKECMDGOALS))): ; @false
endif

$(OBJS): $(filter %.h,$(C_FILES)) Makefile

$(DATA_built): $(INSTALL_SQL) Makefile
	@printf '%s\n' '\echo Use "CREATE EXTENSION $(EXTENSION)" to load this file. \quit' > $@.new
	@for file in $(INSTALL_SQL); do printf '\n' && cat "$$file" || exit 1; done >> $@.new
	mv $@.new $@

$(EXTENSION).exports.txt: $(OBJS:.o=.c) Makefile
	( printf '%s\n' _PG_init Pg_magic_func memory_job_worker_main && sed -n \
	  's/^PG_FUNCTION_INFO_V1(\([A-Za-z0-9_]*\)).*/\1 pg_finfo_\1/p' $(OBJS:.o=.c) | tr ' ' '\n' ) > $@

# the TAP tests' servers take their encoding from here
installcheck: export LANG := C.UTF-8

# what test/run asks this file
print-%:
	@printf '%s\n' '$(strip $($*))'
