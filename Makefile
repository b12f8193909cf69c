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
#   make test-sync       simulates devices that replicate with RxDB (needs Node; 20 minutes)
#   make test-matrix     every test with PostgreSQL 15, 17 and 18, in Debians of their own (root)
#   make test-clients    the tests of clients/ (installs Node, Chromium; npm packages)
#   make demo-web        a server with sample data, the gateway and the dashboard, until Ctrl-C
#   make deb             builds Debian's packages and tests them (5 minutes; installs debhelper)
#   make                 builds; needs PostgreSQL's server headers, libzstd and liblz4
#   make install         into the PostgreSQL that PG_CONFIG names
#   make installcheck    tests a server that runs already
#   make format          lets clang-format lay out the C files
#
# PG_CONFIG=/path/to/pg_config chooses the PostgreSQL (15 to 18), WERROR=1 makes warnings errors,
# HIREDIS=no leaves out live connections to Redis, which are built where hiredis' headers are.
# `make test` also takes REGRESS=, ISOLATION=, PROVE_TESTS= (lists) and KEEP=1 (see test/run),
# `make demo` takes CORPUS=folder (see test/demo), `make bench` needs it (see test/bench/run),
# `make test-clients` takes PACKAGES= (see clients/test/run), `make demo-web` PORT= (clients/demo/run),
# `make test-sync` takes SEEDS=, FIRST= and FAULT= (see test/sync/run),
# `make test-matrix` takes MATRIX= and MATRIX_DIR= (see test/matrix).

# The rooms of src/, lowest first; src/README.md says what lives in each.
ROOMS = base transcript formats metering quota store relation maintenance sync search transfer jobs redis worker

# Built out of the tree (make -f DIR/Makefile, with VPATH=DIR as packagers call it), the sources
# are in srcdir, as PGXS names it, and what is made is below the current folder.
ifndef VPATH
ifneq ($(dir $(firstword $(MAKEFILE_LIST))),./)
VPATH := $(patsubst %/,%,$(dir $(firstword $(MAKEFILE_LIST))))
endif
endif
srcdir := $(or $(VPATH),.)
OUT_OF_TREE := $(if $(filter-out $(realpath $(srcdir)),$(CURDIR)),yes)

# files PATTERN ...: what there is in srcdir, named from there.
files = $(sort $(patsubst $(srcdir)/%,%,$(wildcard $(addprefix $(srcdir)/,$(1)))))

EXTENSION = memory_ext
EXTVERSION = 1.0
MODULE_big = $(EXTENSION)

OBJS = $(patsubst %.c,%.o,$(call files,src/*.c src/*/*.c))
ifeq ($(OBJS),)
$(error memory_ext: there are no sources in $(srcdir)/src)
endif
# what test/fuzz/run links in besides
OBJS += $(EXTRA_OBJS)
C_FILES = $(call files,src/*.[ch] src/*/*.[ch] test/fuzz/*.c)

# The install script is these files, joined in this order; one that is not there is an error.
INSTALL_SQL = $(addprefix $(srcdir)/, \
	src/memory_ext.sql \
	src/transcript/transcript.sql \
	src/base/account.sql \
	src/quota/quota_tables.sql \
	src/quota/quota.sql \
	src/metering/metering_tables.sql \
	src/store/store_tables.sql \
	src/store/write.sql \
	src/store/views.sql \
	src/relation/relation.sql \
	src/store/read.sql \
	src/maintenance/maintenance.sql \
	src/store/subscription.sql \
	src/maintenance/verify.sql \
	src/sync/sync.sql \
	src/search/tables.sql \
	src/search/search.sql \
	src/store/usage.sql \
	src/metering/usage_views.sql \
	src/metering/outbox.sql \
	src/metering/rating.sql \
	src/transfer/compress.sql \
	src/formats/formats.sql \
	src/jobs/jobs.sql \
	src/transfer/import.sql \
	src/transfer/export.sql \
	src/jobs/job_calls.sql \
	src/redis/redis.sql \
	src/worker/worker.sql \
	src/access.sql)
DATA_built = $(EXTENSION)--$(EXTVERSION).sql
DATA = $(call files,$(EXTENSION)--*--*.sql)

# Tests.  pg_regress takes those named here first, in this order, then the rest of sql/.
REGRESS_FIRST = transcript
REGRESS_FOUND := $(patsubst sql/%.sql,%,$(call files,sql/*.sql))
REGRESS := $(filter $(REGRESS_FOUND),$(REGRESS_FIRST)) $(filter-out $(REGRESS_FIRST),$(REGRESS_FOUND))
ENCODING = UTF8
REGRESS_OPTS = --load-extension=$(EXTENSION)
ISOLATION := $(patsubst test/specs/%.spec,%,$(call files,test/specs/*.spec))
ISOLATION_OPTS = --inputdir=$(srcdir)/test --load-extension=$(EXTENSION)
PROVE_TESTS := $(call files,test/t/*.pl)
TAP_TESTS := $(if $(PROVE_TESTS),1)

PG_CPPFLAGS = -I$(srcdir)/src $(addprefix -I$(srcdir)/src/,$(ROOMS))
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

# Beside each object the compiler notes which headers it was made from.
PG_CPPFLAGS += -MMD -MP
DEPENDENCIES = $(OBJS:.o=.d)

EXTRA_CLEAN = $(DEPENDENCIES) $(EXTENSION).exports.txt $(EXTENSION).exports.list $(EXTENSION)--$(EXTVERSION).sql.new

# No LLVM bitcode: it would need the clang that PostgreSQL was built with, and buys nothing here.
override with_llvm = no

# These need no pg_config: what they run installs what is missing.
OWN_GOALS = test test-sync test-clients demo demo-web bench bench-transfer asan valgrind fuzz \
	test-matrix deb torture format
.PHONY: all $(OWN_GOALS)
all:

test:
	@$(srcdir)/test/run $(MAKEOVERRIDES)
demo:
	@$(srcdir)/test/demo $(MAKEOVERRIDES)
test-clients:
	@$(srcdir)/clients/test/run $(MAKEOVERRIDES)
demo-web:
	@$(srcdir)/clients/demo/run $(MAKEOVERRIDES)
bench:
	@$(srcdir)/test/bench/run $(MAKEOVERRIDES)
bench-transfer:
	@$(srcdir)/test/bench/transfer $(MAKEOVERRIDES)
asan valgrind:
	@$(srcdir)/test/run CHECK=$@ $(MAKEOVERRIDES)
fuzz:
	@$(srcdir)/test/fuzz/run $(MAKEOVERRIDES)
torture:
	@$(srcdir)/test/torture/run $(MAKEOVERRIDES)
test-sync:
	@$(srcdir)/test/sync/run $(MAKEOVERRIDES)
test-matrix:
	@$(srcdir)/test/matrix $(MAKEOVERRIDES)
deb:
	@$(srcdir)/test/deb $(MAKEOVERRIDES)
format:
	cd $(srcdir) && clang-format -i $(C_FILES)

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs 2>/dev/null)
PG_HEADERS := $(wildcard $(shell $(PG_CONFIG) --includedir-server 2>/dev/null)/postgres.h)
MAKE_GOALS = $(filter-out $(OWN_GOALS),$(or $(MAKECMDGOALS),all))
# these get by without the server's headers
COMPILING_GOALS = $(filter-out installcheck clean distclean uninstall print-%,$(MAKE_GOALS))
ifneq ($(and $(wildcard $(PGXS)),$(or $(PG_HEADERS),$(if $(COMPILING_GOALS),,none needed))),)
include $(PGXS)
else ifneq ($(MAKE_GOALS),)
# One line of ours and none of make's: asked only whether a goal is up to date (-q), it says
# nothing and ends with status 1.
$(shell bash -c '. $(srcdir)/test/lib/packages.sh && no_build_files "$(PG_CONFIG)" >&2')
MAKEFLAGS += -q
.PHONY: $(MAKECMDGOALS)
$(sort all $(MAKE_GOALS)): ; @false
endif

# What is made in the tree would be taken for what is to be made here.
ifeq ($(OUT_OF_TREE),yes)
ifneq ($(wildcard $(addprefix $(srcdir)/,$(EXTENSION).exports.txt $(DATA_built) $(firstword $(OBJS)))),)
$(error memory_ext: $(srcdir) has been built in itself; run make clean there first)
endif
$(shell mkdir -p $(dir $(OBJS)))
endif

$(OBJS): $(srcdir)/Makefile
-include $(DEPENDENCIES)

$(DATA_built): $(INSTALL_SQL) $(srcdir)/Makefile
	@printf '%s\n' '\echo Use "CREATE EXTENSION $(EXTENSION)" to load this file. \quit' > $@.new
	@for file in $(INSTALL_SQL); do printf '\n' && cat "$$file" || exit 1; done >> $@.new
	mv $@.new $@

C_SOURCES = $(addprefix $(srcdir)/,$(OBJS:.o=.c))
$(EXTENSION).exports.txt: $(C_SOURCES) $(srcdir)/Makefile
	( printf '%s\n' _PG_init Pg_magic_func && sed -n \
	  -e 's/^PG_FUNCTION_INFO_V1(\([A-Za-z0-9_]*\)).*/\1 pg_finfo_\1/p' \
	  -e 's/^PGDLLEXPORT void \([A-Za-z0-9_]*\)(.*/\1/p' $(C_SOURCES) | tr ' ' '\n' ) > $@

# the TAP tests' servers take their encoding from here
installcheck: export LANG := C.UTF-8

# what test/run asks this file
print-%:
	@printf '%s\n' '$(strip $($*))'
