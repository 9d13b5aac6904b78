# Freezeline: `make help` lists the targets.
#
# One Makefile, not recursive. Objects go to build/VARIANT/, where VARIANT is "release" or the sanitizer's name.
# CC, CPPFLAGS, CFLAGS, LDFLAGS and LDLIBS are yours, in the environment or behind `make`; what the sources need is
# added to them. `make DNNL=` builds without oneDNN. Whatever of these changes, all objects are built anew.

VERSION  := 0.1.0
SANITIZE ?=
comma    := ,
VARIANT  := $(if $(SANITIZE),$(subst $(comma),-,$(SANITIZE)),release)
B        := build/$(VARIANT)
PREFIX   ?= /usr/local
DESTDIR  ?=
CC       ?= cc
V        ?= 0
Q        := $(if $(filter 1,$(V)),,@)
# Targets that set everything up build on all cores, unless make was told how many jobs it may run.
PARALLEL  = $(if $(filter -j%,$(MAKEFLAGS)),,-j$(shell nproc))
say       = $(if $(filter 1,$(V)),,@printf '  %-7s %s\n' '$(1)' '$(2)';)

# gcc guesses three of its warnings at -O1; the release build, but for the tests, has them.
BY_GCC  := $(shell $(CC) -v 2>&1 | grep '^gcc version')
GUESSED := $(if $(BY_GCC),-Wno-maybe-uninitialized -Wno-restrict -Wno-format-truncation)
WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wvla $(if $(CI),-Werror) \
            $(if $(SANITIZE),$(GUESSED))
PACKAGES := libzmq libprotobuf-c yaml-0.1 hiredis openblas jansson libxxhash libpng libturbojpeg zlib
# For the broker alone: what uses none of it is not linked with it, nor with all that it needs itself.
HTTP     := libmicrohttpd gnutls
DNNL     := $(shell test -f /usr/include/dnnl.h && echo 1)
REDIS_TLS := $(shell pkg-config --exists hiredis_ssl && echo 1)

# The sanitizers go with -O1: it compiles in 0.6 of the time, and stacks are easier to read; of debug information they
# need lines alone.
# AddressSanitizer describes each variable by pointers: a program at a fixed place need not relocate them at each start.
FIXED    := $(findstring address,$(SANITIZE))
CFLAGS   ?= $(if $(findstring fuzzer,$(SANITIZE)),-O2 -g1,$(if $(SANITIZE),-O1 -g1,-O2 -g))
C_FLAGS  := -D_GNU_SOURCE -Iproto -I. -I$(B)/gen $(if $(DNNL),-DFREEZELINE_DNNL) $(if $(REDIS_TLS),-DFREEZELINE_REDIS_TLS) \
            $(shell pkg-config --cflags $(PACKAGES) 2>/dev/null) \
            $(CPPFLAGS) $(CFLAGS) -std=c11 -fno-math-errno -fno-trapping-math $(WARNINGS) \
            $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-omit-frame-pointer) $(FIXED:%=-fno-pie)
LD_FLAGS := $(LDFLAGS) $(if $(SANITIZE),-fsanitize=$(SANITIZE)) $(FIXED:%=-no-pie)
LD_LIBS  := $(LDLIBS) $(shell pkg-config --libs $(PACKAGES) 2>/dev/null) -Wl,--push-state,--as-needed $(shell pkg-config --libs $(HTTP) 2>/dev/null) $(if $(REDIS_TLS),-lhiredis_ssl) -Wl,--pop-state $(if $(DNNL),-ldnnl) -lm -lpthread
# Libraries that were shipped along with a program (deploy/hosts) are found in lib/ beside its bin/.
BESIDE := -Wl,--disable-new-dtags,-rpath,'$$ORIGIN/../lib'
# Loops over all points and features: worth the vectoriser that -O2 leaves out. With sanitizers -O1 as all else: -O3
# takes five times as long to compile.
LOOPS_FLAGS := $(if $(SANITIZE),,-O3)
# The inner loops for vector units, chosen among at run time: one file per instruction set (stages/simd/simd.c), or
# functions for each (proto/index/half.c).
# gcc puts a vector of 64 bytes into AddressSanitizer's frames for use after return without aligning it: no such frames
# here.
SIMD_FLAGS  := $(LOOPS_FLAGS) -ffp-contract=fast -Wno-psabi
ifneq ($(and $(findstring address,$(SANITIZE)),$(BY_GCC)),)
SIMD_FLAGS  += --param asan-use-after-return=0
endif

PROTOS   := $(wildcard proto/*.proto)
PB_C     := $(patsubst proto/%.proto,$(B)/gen/%.pb-c.c,$(PROTOS))
MAINS    := stages/worker/freezeline_stage.c broker/freezeline_broker.c cache_service/service/freezeline_cache.c cache_service/learn/freezeline_learner.c deploy/tool/freezeline.c
LIB_C    := $(filter-out $(MAINS),$(sort $(foreach d,proto stages broker cache_service deploy,$(wildcard $(d)/*.c $(d)/*/*.c))))
LIB_O    := $(patsubst %.c,$(B)/%.o,$(LIB_C)) $(patsubst $(B)/gen/%.c,$(B)/gen/%.o,$(PB_C))
LIB      := $(B)/libfreezeline.a
CLIENT   := $(B)/libfreezeline-client.a
CLIENT_SO := $(B)/libfreezeline-client.so.0
BINS     := $(foreach m,$(wildcard $(MAINS)),$(B)/$(subst _,-,$(basename $(notdir $(m)))))
UNIT     := $(patsubst tests/unit/%.c,$(B)/tests/unit/%,$(wildcard tests/unit/test_*.c))
# The longest first: they run beside one another.
INTEGR   := $(patsubst tests/integration/%.c,$(B)/tests/integration/%,$(shell ls -S tests/integration/test_*.c))
SCRIPTS  := $(if $(SANITIZE),,$(wildcard tests/integration/test_*.sh))
CONFORM  := $(patsubst tests/conformance/%.c,$(B)/tests/conformance/%,$(wildcard tests/conformance/test_*.c))
FUZZERS  := $(patsubst tests/fuzz/fuzz_%.c,$(B)/tests/fuzz/fuzz_%,$(wildcard tests/fuzz/fuzz_*.c))
REPLAYS  := $(patsubst tests/fuzz/fuzz_%.c,$(B)/tests/fuzz/replay_%,$(wildcard tests/fuzz/fuzz_*.c))
THREADED := $(filter %/test_async %/test_cache %/test_pictures %/test_cache_service %/test_http %/test_model_control %/test_pipeline_processes %/test_slow_node %/test_transport %/test_watch,$(UNIT) $(INTEGR))
FAULTS   := $(B)/tests/faults/search
SIEGE    := $(B)/tests/faults/real/siege
FAULT_SH := $(if $(SANITIZE),,tests/faults/real/test_siege.sh) tests/faults/test_faults.sh
SAN_ENV  := ASAN_OPTIONS=detect_leaks=1:abort_on_error=0 UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 TSAN_OPTIONS=halt_on_error=0:suppressions=$(CURDIR)/tests/tsan.supp
FAISS    := $(shell test -f /usr/include/faiss/IndexFlat.h && command -v $(CXX))
BENCHES  := $(filter-out $(if $(FAISS),,%/bench_flat),$(patsubst tests/bench/%.c,$(B)/tests/bench/%,$(wildcard tests/bench/bench_*.c tests/bench/validate_*.c tests/bench/learning_*.c)))
TABLED   := $(patsubst %,$(B)/tests/bench/bench_%,limits lane model) # what tests/integration/test_table.sh starts

.DEFAULT_GOAL := all
.SECONDARY: $(PB_C)
.PHONY: FORCE all demo test deps bench bench-programs fuzz lint format layers install uninstall clean help paper unit check check-threads fuzz-run distributions faults faults-search faults-planted

all: $(LIB) $(CLIENT) $(BINS) ## release build into build/ (SANITIZE=address|undefined|thread builds apart)
	$(Q)$(if $(SANITIZE),,ln -sfn release/freezeline build/freezeline)

# What decides an object apart from its sources: flags, the compiler (not that ccache calls it) and the libraries.
# Changes only when one of these does, and all objects depend on it: nothing is linked from two kinds.
$(B)/flags: export FLAGS = $(filter-out ccache,$(CC)) $(shell $(CC) --version 2>/dev/null | head -n 1) $(C_FLAGS) $(LOOPS_FLAGS) \
    $(SIMD_FLAGS) $(LD_FLAGS) $(LD_LIBS) $(shell pkg-config --modversion $(PACKAGES) $(HTTP) 2>/dev/null) \
    $(if $(DNNL),$(shell cat /usr/include/oneapi/dnnl/dnnl_version.h 2>/dev/null | cksum))
$(B)/flags: FORCE
	$(Q)mkdir -p $(@D) && printf '%s\n' "$$FLAGS" >$@.new; cmp -s $@.new $@ && rm $@.new || mv $@.new $@

$(B)/gen/%.pb-c.c $(B)/gen/%.pb-c.h: proto/%.proto $(B)/flags
	$(call say,PROTO,$<)
	$(Q)mkdir -p $(@D) && protoc-c --c_out=$(B)/gen --proto_path=proto $<

$(B)/gen/%.o: $(B)/gen/%.c $(B)/flags
	$(call say,CC,$<)
	$(Q)$(CC) $(filter-out -Wextra -Wshadow,$(C_FLAGS)) -MMD -MP -c -o $@ $<

$(B)/%.o: %.c $(B)/flags | $(PB_C)
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D) && $(CC) $(C_FLAGS) $(EXTRA) -MMD -MP -c -o $@ $<

# Tests wait more than they compute.
$(B)/tests/unit/%.o $(B)/tests/integration/%.o: EXTRA := -O1 $(GUESSED)
$(B)/cache_service/train/net%.o $(B)/proto/index/int8_product.o $(B)/proto/index/map.o $(B)/proto/index/projection.o: EXTRA := $(LOOPS_FLAGS)
$(B)/proto/index/half.o $(B)/stages/simd/simd_%.o: EXTRA := $(SIMD_FLAGS)
# Verdicts of learned caches are the same on all processors: no additions that one fuses and another does not.
$(B)/proto/index/int8.o: EXTRA := $(LOOPS_FLAGS) -ffp-contract=off
# Half of what tests with AddressSanitizer compute is these loops: -O2 takes 20 s to compile, and a third off the tests.
ifneq ($(findstring address,$(SANITIZE)),)
$(B)/stages/simd/simd_%.o: EXTRA += -O2
endif
ifneq ($(filter x86_64,$(shell uname -m)),)
$(B)/stages/simd/simd_avx2.o: EXTRA += -mavx2 -mfma
$(B)/stages/simd/simd_avx512.o: EXTRA += -mavx2 -mfma -mavx512f -mavx512vl -mavx512dq -mavx512bw -mprefer-vector-width=512
endif

# The page that the broker serves lies in its object.
$(B)/broker/page/page.o: broker/page/page.html

# Which revision this is built from; "" outside a git repository. Changes only when the revision or the version does.
$(B)/gen/revision.h: FORCE
	$(Q)mkdir -p $(@D); r=$$(git describe --always --dirty --abbrev=12 --exclude '*' 2>/dev/null); \
	printf '#define FREEZELINE_VERSION "%s"\n#define FREEZELINE_REVISION "%s"\n' '$(VERSION)' "$$r" >$@.new; \
	 cmp -s $@.new $@ && rm $@.new || mv $@.new $@
$(B)/proto/base/version.o: $(B)/gen/revision.h
FORCE:

$(LIB): $(LIB_O)
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

# What a client needs, without the rest and its libraries.
$(CLIENT): $(filter-out %/blas.o $(B)/proto/picture/% $(B)/proto/index/%,$(filter $(B)/proto/%,$(LIB_O))) $(B)/gen/freezeline.pb-c.o
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

# The same for programs that link it when they start: what client.h names, and nothing else, is to be seen.
$(CLIENT_SO): $(patsubst $(B)/%,$(B)/pic/%,$(filter-out %/blas.o $(B)/proto/picture/% $(B)/proto/index/%,$(filter $(B)/proto/%,$(LIB_O))) $(B)/gen/freezeline.pb-c.o) proto/client/freezeline-client.map
	$(call say,LINK,$@)
	$(Q)$(CC) $(LD_FLAGS) -shared -Wl,-soname,$(notdir $@) -Wl,--version-script,proto/client/freezeline-client.map -Wl,-z,defs \
	    -o $@ $(filter %.o,$^) $(shell pkg-config --libs libzmq libprotobuf-c yaml-0.1 libxxhash) -lm -lpthread

$(B)/pic/gen/%.o: $(B)/gen/%.c $(B)/flags
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D) && $(CC) $(filter-out -Wextra -Wshadow,$(C_FLAGS)) -fPIC -MMD -MP -c -o $@ $<

$(B)/pic/%.o: %.c $(B)/flags | $(PB_C)
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D) && $(CC) $(C_FLAGS) $(EXTRA) -fPIC -MMD -MP -c -o $@ $<
$(B)/pic/proto/base/version.o: $(B)/gen/revision.h

$(B)/freezeline: $(B)/deploy/tool/freezeline.o $(LIB)
$(B)/freezeline-broker: $(B)/broker/freezeline_broker.o $(LIB)
$(B)/freezeline-stage: $(B)/stages/worker/freezeline_stage.o $(LIB)
$(B)/freezeline-cache: $(B)/cache_service/service/freezeline_cache.o $(LIB)
$(B)/freezeline-learner: $(B)/cache_service/learn/freezeline_learner.o $(LIB)
$(BINS):
	$(call say,LINK,$@)
	$(Q)$(CC) $(LD_FLAGS) $(BESIDE) -o $@ $^ $(LD_LIBS)

$(B)/tests/unit/test_learning_world: $(B)/tests/bench/lab_world.o
$(B)/tests/unit/test_account: $(B)/tests/faults/real/account.o
$(UNIT): $(B)/tests/unit/%: $(B)/tests/unit/%.o $(LIB)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LD_FLAGS) -o $@ $(filter %.o,$^) $(LIB) $(LD_LIBS) -lcmocka

$(INTEGR): $(B)/tests/integration/%: $(B)/tests/integration/%.o $(B)/tests/integration/harness.o $(LIB)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LD_FLAGS) -o $@ $^ $(LD_LIBS) -lcmocka

$(B)/tests/bench/validate_simulation: $(B)/tests/bench/validation_report.o
$(B)/tests/bench/learning_lab: $(B)/tests/bench/lab_world.o $(B)/tests/bench/lab_traffic.o
$(BENCHES): $(B)/tests/bench/%: $(B)/tests/bench/%.o $(LIB)
	$(call say,LINK,$@)
	$(Q)$(if $(LINKER),$(LINKER),$(CC)) $(LD_FLAGS) -o $@ $(filter %.o,$^) $(LIB) $(LD_LIBS)

# The peer of one benchmark is C++; without libfaiss-dev that benchmark is left out.
$(B)/tests/bench/bench_flat: $(B)/tests/bench/flat_faiss.o
$(B)/tests/bench/bench_flat: LINKER := $(CXX)
$(B)/tests/bench/bench_flat: LD_LIBS := -lfaiss -fopenmp $(LD_LIBS)
$(B)/tests/bench/bench_update_live: LD_LIBS := -lcmocka $(LD_LIBS) # it stands in the cache service's tests' world
$(B)/tests/bench/flat_faiss.o: tests/bench/flat_faiss.cpp $(B)/flags
	$(call say,CXX,$<)
	$(Q)mkdir -p $(@D) && $(CXX) -O2 -fopenmp -c -o $@ $<

$(CONFORM): $(B)/tests/conformance/%: $(B)/tests/conformance/%.o $(LIB)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LD_FLAGS) -o $@ $^ $(LD_LIBS) -lcmocka

# Each fuzz target linked with a plain main that replays files, so that the corpus is an ordinary test.
NO_KERNEL := $(addprefix -Wl$(comma)--wrap=,fopen fopen64 malloc calloc realloc aligned_alloc free) # no_kernel.c
$(REPLAYS): $(B)/tests/fuzz/replay_%: $(B)/tests/fuzz/fuzz_%.o $(B)/tests/fuzz/no_kernel.o $(B)/tests/fuzz/replay.o $(LIB)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LD_FLAGS) $(NO_KERNEL) -o $@ $^ $(LD_LIBS)

$(FUZZERS): $(B)/tests/fuzz/fuzz_%: $(B)/tests/fuzz/fuzz_%.o $(B)/tests/fuzz/no_kernel.o $(LIB)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LD_FLAGS) $(NO_KERNEL) -fsanitize=fuzzer -o $@ $^ $(LD_LIBS)

$(FAULTS): $(patsubst %.c,$(B)/%.o,$(wildcard tests/faults/*.c)) $(LIB)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LD_FLAGS) -o $@ $^ $(LD_LIBS)

# Faults on real processes. --wrap: the load sees each answer that comes, be it the second one (steady_load.c).
$(SIEGE): $(patsubst %.c,$(B)/%.o,$(filter-out %/liar.c %/clock_step.c,$(wildcard tests/faults/real/*.c))) $(LIB)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LD_FLAGS) -Wl,--wrap=link_receive -o $@ $^ $(LD_LIBS)

# The same programs beside a stage worker that lies (liar.c).
LIARS := $(B)/tests/faults/real/liars
$(LIARS)/freezeline-stage: $(B)/stages/worker/freezeline_stage.o $(B)/tests/faults/real/liar.o $(LIB) $(BINS)
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D) && $(CC) $(LD_FLAGS) -Wl,--wrap=link_send,--wrap=frames_send -o $@ $(filter %.o,$^) $(LIB) $(LD_LIBS)
	$(Q)ln -f $(filter-out %-stage,$(BINS)) $(@D)

$(B)/tests/faults/real/clock_step.so: tests/faults/real/clock_step.c $(B)/flags
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D) && $(CC) $(C_FLAGS) -shared -fPIC -o $@ $< -ldl

SIEGE_ALL := $(SIEGE) $(LIARS)/freezeline-stage $(B)/tests/faults/real/clock_step.so
faults: all $(SIEGE_ALL) ## make faults on a real pipeline under load, account for each request [SEED=N] [ONLY=NAME,..] [SOAK=S]
	$(Q)$(SIEGE) --bin $(CURDIR)/$(B) --caches $(CURDIR)/build/siege --plot build/siege/faults.svg --seed $(or $(SEED),1) \
	    $(if $(ONLY),--only $(ONLY)) $(if $(SOAK),--soak $(SOAK)) $(FAULTS_OPTIONS)

SECONDS ?= 60
faults-search: $(FAULTS) ## play random schedules for SECONDS (60): make faults-search [SECONDS=N] [SEED=N] [ONLY=SEED]
	$(Q)$(FAULTS) $(if $(ONLY),--only $(ONLY),--seconds $(SECONDS) --seed $(or $(SEED),1) --jobs $(shell nproc))

# How a fault that is put back into a source is compiled: tests/faults/test_planted.sh.
PLANT = CC='$(CC)' C_FLAGS='$(C_FLAGS)' LD_FLAGS='$(LD_FLAGS)' LD_LIBS='$(LD_LIBS)' FREEZELINE_BUILD=$(CURDIR)/$(B)
faults-planted: $(FAULTS) $(B)/tests/unit/test_keeper_brain.o ## put old faults back, one at a time, and see that the search finds each [ONLY=NAME]
	$(Q)$(PLANT) tests/faults/test_planted.sh $(ONLY)

FUZZ_SECONDS ?= $(if $(FUZZ_RUNS),,30)
fuzz: ## fuzz parsers and brains with libFuzzer, each for 30 s: make fuzz [FUZZ_SECONDS=N] [FUZZ_RUNS=N] [ONLY="NAME .."]
	$(Q)$(MAKE) --no-print-directory CC=clang SANITIZE=fuzzer-no-link,address,undefined fuzz-run

fuzz-run: $(if $(ONLY),$(patsubst %,$(B)/tests/fuzz/fuzz_%,$(ONLY)),$(FUZZERS))
	$(Q)FUZZ_SECONDS='$(FUZZ_SECONDS)' FUZZ_RUNS='$(FUZZ_RUNS)' tests/fuzz/fuzz.sh $^

paper: deps ## the paper's experiment: make paper MODELS=DIRECTORY CIFAR10=DIRECTORY CIFAR100=DIRECTORY [CONFIG=FILE] [SET="KEY=VALUE ..."]
	$(Q)$(MAKE) --no-print-directory $(PARALLEL) all && \
	deploy/scripts/paper.sh -m '$(MODELS)' -a '$(CIFAR10)' -b '$(CIFAR100)' -k '$(SET)' $(CONFIG)

bench: deps ## step, ours, peer, limit, ratio: make bench [TABLE="--model M.onnx --pipeline P.yaml --data D ..."]
	$(Q)$(MAKE) --no-print-directory $(PARALLEL) bench-programs && tests/bench/table.py $(TABLE)

bench-programs: all $(BENCHES) ## build what tests/bench/table.py starts

# `make DNNL=` needs no oneDNN; CC=clang, or clang-16, is a package, and what it needs for sanitizers is another.
CLANG := $(filter clang clang-%,$(CC))
deps: ## install the Debian packages that are missing
	$(Q)deploy/scripts/deps.sh $(if $(DNNL)$(filter file,$(origin DNNL)),libdnnl-dev) $(CLANG) $(CLANG:clang%=libclang-rt%-dev)

demo: export KEEP := $(KEEP)
demo: deps ## set everything up and watch the embedded model being served (KEEP=1: it stays up, with its page)
	$(Q)$(MAKE) --no-print-directory $(PARALLEL) all && deploy/scripts/demo.sh

# The tests: everything in the release build, then the parts that handle memory and threads under the sanitizers.
test: deps ## set everything up and run all tests
	$(Q)deploy/scripts/deps.sh chromium protobuf-compiler python3-zmq python3-protobuf python3-numpy || echo 'without chromium and Python, the tests of pages and of the Python client are skipped'
	$(Q)deploy/scripts/deps.sh curl prometheus || echo 'without curl and Prometheus, the tests of metrics are skipped'
	$(Q)rm -rf build/test && mkdir -p build/test
	$(Q)export TEST_COUNTS=$(CURDIR)/build/test/counts; rc=0; \
	$(MAKE) --no-print-directory $(PARALLEL) check || rc=1; \
	$(MAKE) --no-print-directory $(PARALLEL) SANITIZE=address,undefined check || rc=1; \
	$(MAKE) --no-print-directory $(PARALLEL) SANITIZE=thread check-threads || rc=1; \
	deploy/scripts/layers.sh || rc=1; \
	tests/faults/test_planted.sh --fits || rc=1; \
	tests/run.sh --sum && exit $$rc

check: all $(UNIT) $(CONFORM) $(INTEGR) $(REPLAYS) $(FAULTS) $(if $(SANITIZE),,$(SIEGE_ALL) $(TABLED)) ## build and run all tests of one variant
	$(Q)export FREEZELINE_BUILD=$(CURDIR)/$(B) $(SAN_ENV); \
	FAULTS_SCHEDULES=$(if $(SANITIZE),1000,100000) tests/run.sh '$(VARIANT)' $(FAULT_SH) $(SCRIPTS) $(INTEGR) $(CONFORM) $(UNIT) $(REPLAYS)

check-threads: all $(THREADED) $(FAULTS) ## build and run the tests that use threads (for SANITIZE=thread)
	$(Q)export FREEZELINE_BUILD=$(CURDIR)/$(B) $(SAN_ENV); \
	FAULTS_SCHEDULES=200 tests/run.sh '$(VARIANT)' $(THREADED) tests/faults/test_faults.sh

unit: all $(UNIT) ## build and run the unit tests
	$(Q)for t in $(UNIT); do $$t || exit 1; done

distributions: ## before a release: both commands on bare Debian 12 and 13 (as root, hours): make distributions ROOTS=DIRECTORY
	$(Q)tests/distributions.sh --roots '$(ROOTS)'

lint: ## static checks: cppcheck, shell syntax, formatting
	$(Q)clang-format --dry-run --Werror $$(git ls-files '*.[ch]')
	$(Q)for f in $$(git ls-files '*.sh'); do sh -n $$f || exit 1; done
	$(Q)python3 -m compileall -q $$(git ls-files '*.py') >/dev/null
	$(Q)cppcheck -q -j $(shell nproc) --std=c11 --enable=warning,performance,portability --inline-suppr --error-exitcode=1 \
	    --suppress=missingInclude -Iproto -I. proto stages broker cache_service deploy

format: ## clang-format all sources in place
	$(Q)clang-format -i $$(git ls-files '*.[ch]')

layers: ## check that the folders include one another only along the arrows
	$(Q)deploy/scripts/layers.sh

# What is installed, below PREFIX: each file's place, and where it comes from. Pages, and the sources that they link to.
DOCUMENTS  = $(filter-out build/% configs/%,$(wildcard *.md */*.md */*/*.md */*/*/*.md)) proto/client/ask.py \
    $(wildcard $(addprefix proto/client/python/,*.toml freezeline/*.* examples/*.py)) cache_service/promise/gap_bound.h $(wildcard proto/client/examples/*.c)
HEADERS    = $(filter %.h,$(shell $(CC) -Iproto -MM proto/client/async.h))
INSTALLED  = $(foreach b,$(BINS),bin/$(notdir $(b))=$(b)) \
    $(foreach h,$(HEADERS),include/freezeline/$(h:proto/%=%)=$(h)) \
    lib/libfreezeline-client.a=$(CLIENT) lib/$(notdir $(CLIENT_SO))=$(CLIENT_SO) \
    share/man/man3/freezeline-client.3=proto/client/freezeline-client.3 \
    share/bash-completion/completions/freezeline=deploy/scripts/freezeline.bash lib/pkgconfig/freezeline-client.pc=proto/client/freezeline-client.pc.in \
    $(foreach f,LICENSE $(DOCUMENTS) $(wildcard proto/*.proto configs/*.* configs/*/*.*),share/freezeline/$(f)=$(f))

install: all $(CLIENT_SO) ## install to $(DESTDIR)$(PREFIX): programs, client library, manual pages, README, protocol, examples
	$(Q)set -e; for f in $(INSTALLED); do to=$(DESTDIR)$(PREFIX)/$${f%%=*}; from=$${f#*=}; \
	mode=644; case $$f in bin/*) mode=755 ;; esac; mkdir -p "$${to%/*}"; install -m $$mode "$$from" "$$to"; \
	case $$from in *.in) sed 's|@PREFIX@|$(PREFIX)|; s|@VERSION@|$(VERSION)|' "$$from" >"$$to" ;; esac; done
	$(Q)set -e; man=$(DESTDIR)$(PREFIX)/share/man/man1; mkdir -p $$man; ln -sfn $(notdir $(CLIENT_SO)) $(DESTDIR)$(PREFIX)/lib/libfreezeline-client.so; \
	$(B)/freezeline --help=man >$$man/freezeline.1; \
	for c in $$($(B)/freezeline --help=words); do $(B)/freezeline $$c --help=man >$$man/freezeline-$$c.1; done
	@echo 'installed in $(DESTDIR)$(PREFIX); make uninstall PREFIX=$(PREFIX) takes it away again'

uninstall: ## remove what install brought, and nothing else
	$(Q)for f in $(INSTALLED) lib/libfreezeline-client.so; do rm -f "$(DESTDIR)$(PREFIX)/$${f%%=*}"; done
	$(Q)rm -f $(DESTDIR)$(PREFIX)/share/man/man1/freezeline.1 $(DESTDIR)$(PREFIX)/share/man/man1/freezeline-[a-z]*.1
	$(Q)cd $(DESTDIR)$(PREFIX) 2>/dev/null && for d in share include; do \
	[ ! -d $$d/freezeline ] || find $$d/freezeline -depth -type d -empty -delete; done || :

clean: ## remove build/
	$(Q)rm -rf build

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' Makefile | expand -t 16

-include $(patsubst %.o,%.d,$(LIB_O)) $(wildcard $(B)/*/*.d $(B)/*/*/*.d)
