# `make help` lists what there is. Nothing here needs more than Go and make; `make test` and `make demo` install the
# Debian packages that they need and say so.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

# The one place of the version is the file VERSION; CHANGELOG.md has a section for it (a test compares them).
VERSION := $(shell cat VERSION)

# Use the Go that is installed: no toolchain is fetched behind the user's back.
export GOTOOLCHAIN := local
# No facts of git in the binaries, and no folder: the same source makes the same bytes, and what one clone has compiled another takes from the cache.
# No DWARF: binaries are stripped, stack traces need none, and the compiler takes a sixth less time. No cgo: all is compiled once, as the bed compiles.
export GOFLAGS := $(GOFLAGS) -buildvcs=false -trimpath -gcflags=all=-dwarf=false
export CGO_ENABLED := 0
GO := go
GOLANGCI_LINT := $(GO) tool -modfile=tools/lint/go.mod golangci-lint
LDFLAGS := -s -w -X main.version=$(VERSION)
# Our programs print no manual pages, so they need no Markdown (BuildCommand in test/bed/artifact says the same).
SLIM := urfave_cli_no_docs

# No vet: lint runs all of it. No symbol table: sixty test binaries are linked, each a quarter faster without. GOGC is the toolchain's: set for all, the
# tests and the product would inherit it.
TEST := -shuffle=on -vet=off -ldflags=-w -toolexec 'env GOGC=400'

# The packages of the product, whose tests need no root; those of the test bed, below test/, do.
PRODUCT = $(shell $(GO) list ./... | grep -v '^multinicd/test\(/\|$$\)\|^multinicd/tools/image$$')
WHOLE = ./internal/apply ./internal/bridge ./internal/bridge/status ./internal/kube
SOURCES := $(shell find . -name '*.go' -not -path './test/*' -not -path './bin/*' 2>/dev/null)

.PHONY: help
help: ## this list
	@echo 'multinicd $(VERSION). Targets:'
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/  \1	\2/p' $(MAKEFILE_LIST) | expand -t 18

.PHONY: build
build: bin/multinicd bin/multinic-bridge ## bin/multinicd and bin/multinic-bridge, static

bin/multinicd: go.mod go.sum VERSION $(SOURCES)
	$(GO) build -tags $(SLIM) -ldflags '$(LDFLAGS)' -o $@ ./cmd/multinicd

bin/multinic-bridge: go.mod go.sum VERSION $(SOURCES)
	$(GO) build -tags $(SLIM) -ldflags '$(LDFLAGS)' -o $@ ./cmd/bridge

# The packages of Kubernetes are compiled once for all of it. GOGC: see GoEnv in test/bed/artifact.
.PHONY: demo
demo: ## one node from nothing: API server, host, two NICs (as root; KEEP=1 leaves it running)
	@[ "$$(id -u)" = 0 ] || { echo 'make demo needs root: it makes network namespaces and boots a host'; exit 1; }
	@echo 'demo: building what it needs; from nothing that takes some minutes, about six on two idle cores; later seconds'
	GOGC=$${GOGC:-400} $(GO) run ./test/cmd/setup demo
	GOGC=$${GOGC:-400} $(MAKE) --no-print-directory build
	$(GO) run ./test/cmd/demo

.PHONY: demo-openstack
demo-openstack: ## the same with Keystone and Neutron beside it: a port is made, and becomes a NIC (as root)
	@[ "$$(id -u)" = 0 ] || { echo 'make demo-openstack needs root: it makes network namespaces and boots hosts'; exit 1; }
	@echo 'demo-openstack: building what it needs; from nothing that takes some ten minutes, later seconds'
	CGO_ENABLED=0 GOGC=$${GOGC:-400} $(GO) run -trimpath ./test/cmd/setup demo
	GOGC=$${GOGC:-400} $(MAKE) --no-print-directory build
	CGO_ENABLED=0 $(GO) run -trimpath ./test/cmd/demo openstack

# The longest suites; and those that need a processor each, of virtual machines and of Neutron in Python: beside more they take so long that parts of them
# give up.
FIRST = $(addprefix multinicd/test/suite/,e2e bridge packages chart credential fault)
LAST = $(addprefix multinicd/test/suite/,vm openstack)

# All tests take two cores 27 to 50 minutes. For who cannot wait that long, PART=2/5 is the second fifth of the tests on hosts and clusters, and those that a
# suite has in each part. CI runs all.
test: export MULTINIC_PART = $(PART)

# The prerequisites come first, and in order: a plain list of commands, so that -j cannot mix them. lint waits for the disk while unit works. Of the
# packages of test/ the longest begin; three at a time, each with four tests at once, so that the processors never rest. One of the long ones watches a
# node for an hour.
.PHONY: test
test: ## all tests on the real test bed, installing what they need (as root; on two cores 27 to 50 min, from nothing an hour); PART=2/5 for some
	@[[ '$(PART)' =~ ^([1-9]/[1-9])?$$ ]] || { echo 'test: PART=$(PART): want a part like 2/5, or nothing for all tests'; exit 2; }
	$(GO) run ./test/cmd/setup bookworm trixie $(if $(MULTINIC_LONG),forky) kubelet openstack vm browser
	$(MAKE) --no-print-directory check-generate
	$(MAKE) --no-print-directory -j2 lint unit
	$(MAKE) --no-print-directory build
	$(if $(PART),@echo 'test: only part $(PART) of the tests on hosts and clusters')
	$(GO) test $(TEST) -p 3 -timeout $(if $(MULTINIC_LONG),120m,60m) $(FIRST) $(filter-out $(LAST),$(shell $(GO) list ./test/...))
	$(GO) test $(TEST) -p 2 -timeout $(if $(MULTINIC_LONG),120m,60m) $(LAST)

.PHONY: test-all
test-all: ## and the long ones: 1,000 random sequences, the packaged daemon on Debian 12, 13 and testing
	MULTINIC_LONG=1 $(MAKE) --no-print-directory test
	$(MAKE) --no-print-directory test-packaged

# What the tests of the main job and of faults show of a build from this tree, shown of the package, under the package's unit. The tests of faults
# have a package of their own, whose binary can be told to end itself at a step; nothing else in it differs.
.PHONY: test-packaged
test-packaged: ## the tests on hosts again, with the .deb installed, on Debian 12, 13 and testing
	$(MAKE) --no-print-directory deb GOARCHES=amd64
	$(MAKE) --no-print-directory deb GOARCHES=amd64 DIST=$(DIST)/failpoint TAGS=failpoint XZ_LEVEL=0
	for suite in bookworm trixie forky; do \
	  MULTINICD_TEST_DEB=$(abspath $(DIST))/multinicd_$(VERSION)_amd64.deb MULTINICD_TEST_SUITE=$$suite $(GO) test -count=1 -timeout 30m ./test/suite/e2e; \
	  MULTINICD_TEST_DEB=$(abspath $(DIST))/failpoint/multinicd_$(VERSION)_amd64.deb MULTINICD_TEST_SUITE=$$suite $(GO) test -count=1 -timeout 30m ./test/suite/fault; done

# The box is made of an image of the test bed, and booted without KVM on a host of the bed that has Vagrant and libvirt; with MULTINICD_VAGRANT=NAME it is
# the machine NAME of this user's own Vagrant, which stays.
.PHONY: test-vagrant
test-vagrant: ## what vagrant/README.md says, and tests on that machine (as root; MULTINICD_VAGRANT=NAME: your own Vagrant)
	$(if $(MULTINICD_VAGRANT),,$(GO) run ./test/cmd/setup vm)
	MULTINIC_LONG=1 $(GO) test -count=1 -timeout 60m -v ./test/suite/vagrant

# With -short internal/apply tries one in five of the operations at which a change may be cut off, others each time, and one in fifty of the lengths of a
# torn journal; others try fewer hours or objects. make test-all then tries each, without the race detector, which needs cgo and takes five times as long.
.PHONY: unit
unit: ## the tests that need neither root nor a test bed
	CGO_ENABLED=1 $(GO) test $(TEST) -race -short $(PRODUCT)
	$(GO) test $(TEST) ./tools/image $(if $(MULTINIC_LONG),$(WHOLE))

# One target at a time, on one processor. What is found lies in testdata/fuzz of its package, and belongs into the tree with its mend.
.PHONY: fuzz
fuzz: ## each fuzz target for FUZZTIME (10m), in the packages FUZZ (./...)
	$(GO) list -f '{{.Dir}}' $(or $(FUZZ),./...) | while read -r dir; do \
	  for target in $$(cat "$$dir"/*_test.go 2>/dev/null | sed -n 's/^func \(Fuzz[A-Za-z0-9]*\)(f \*testing.F).*/\1/p'); do \
	    echo "fuzz: $$target of .$${dir#$$PWD}"; \
	    $(GO) test -run '^$$' -vet=off -fuzz "^$$target\$$" -fuzztime $(or $(FUZZTIME),10m) -fuzzminimizetime 2s -parallel 1 "$$dir" || exit; done; done

# What is missing is told before setup takes its minutes. Each page is written as soon as it is measured.
.PHONY: bench
bench: ## measure on a quiet machine, and write all of docs/performance/, or OUT=FOLDER (as root; two hours)
	$(GO) run ./test/cmd/bench -check $(if $(OUT),-out '$(OUT)')
	$(GO) run ./test/cmd/setup bookworm openstack
	$(GO) run ./test/cmd/bench -idle 10m $(if $(OUT),-out '$(OUT)')

.PHONY: bench-compare
bench-compare: ## the figures of the last two releases side by side, or of the last one and of a run (RUN=FOLDER/history.csv)
	@$(GO) run ./test/cmd/bench -compare $(RUN)

.PHONY: lint
lint: ## gofmt, golangci-lint (go vet is one of its linters), helm lint
	@files=$$(git ls-files -co --exclude-standard '*.go' | xargs -r ls 2>/dev/null | xargs -r gofmt -l); \
	 if [ -n "$$files" ]; then echo "not formatted (run gofmt -w):"; echo "$$files"; exit 1; fi
	GOGC=$${GOGC:-400} $(GOLANGCI_LINT) run --allow-serial-runners ./...
	@$(HELM) lint --quiet --strict charts/multinic

# The plain manifests are the chart's: deploy/NAME.yaml is templates/NAME.yaml with the default values, and with what is named here. Without the
# folders of this machine helm is built once for all trees, in minutes; with the flags of the bed it is compiled once.
MANIFESTS := admission apf bridge crds deployment intake jobs legacy legacy-readonly nodelabel openstack publisher quota
HELM = $(GO) run -modfile=tools/helm/go.mod -ldflags='-s -w' helm.sh/helm/v4/cmd/helm

.PHONY: generate
generate: ## write the generated files anew: deepcopy code and CRDs from api/, the manifests of deploy/ from the chart, tables in docs/
	$(GO) generate ./api/...
	@for name in $(MANIFESTS); do \
	  rendered=$$($(HELM) template multinic charts/multinic --namespace multinic-system --set publisher.create=true $$([ $$name != jobs ] || echo --set jobs.execution=auto) $$([ $$name != nodelabel ] || echo --set bridge.nodeLabel=true) $$([ $$name != apf ] || echo --set apf.enabled=true) $$([ $$name != quota ] || echo --set quotas.enabled=true) $$([ $$name != intake ] || echo --set intake.enabled=true) $$([ $$name != openstack ] || echo --set openstack.enabled=true) $$([ $$name != legacy ] || echo --set legacyMode=dual) $$([ $$name != legacy-readonly ] || echo --set legacyMode=readonly) --show-only templates/$$name.yaml); \
	  { echo '# Rendered from charts/multinic by `make generate`; do not edit.'; echo "$$rendered" | sed '/^# Source: /d' | cat -s; } >deploy/$$name.yaml; done
	$(GO) generate $$($(GO) list ./... | grep -v '^multinicd/api/')

# Compares the tree with itself, not with HEAD: uncommitted work is not taken for stale.
.PHONY: check-generate
check-generate: ## fail if a generated file is stale
	@sums() { git ls-files -co --exclude-standard | sort -u | xargs -r -d '\n' sha256sum 2>/dev/null || true; }; \
	 before=$$(sums); $(MAKE) --no-print-directory generate; after=$$(sums); \
	 if [ "$$before" != "$$after" ]; then \
	   echo "stale: generated files have just been written anew; commit them:"; \
	   diff <(echo "$$before") <(echo "$$after") | awk '/^>/ {print "  " $$3}'; exit 1; fi

# Packages. DIST, VERSION, CONFFILE, GOARCHES, XZ_LEVEL, TAGS and SOURCE_DATE_EPOCH may be given: tests make a next version
# with them, and one that can be killed at a named step. The epoch, in seconds, is that of the commit, or of the changelog where there is no git; it is every time in a package.
DIST ?= dist
GOARCHES ?= amd64 arm64
XZ_LEVEL ?= 6
TAGS ?=
CONFFILE ?= internal/config/reference.toml
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || stat -c %Y CHANGELOG.md)
PACKAGED = $(DIST)/bin/$(VERSION)
# What follows its | is shown on a terminal while the part before it takes longer than two seconds.
PROGRESS = $(GO) run ./tools/progress
PACKAGE_ENV = VERSION='$(VERSION)' CONFFILE='$(CONFFILE)' LICENSES='$(PACKAGED)/LICENSES' SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH) XZ_LEVEL=$(XZ_LEVEL)

$(DIST)/bin/$(VERSION)/linux_%/multinicd: go.mod go.sum VERSION $(SOURCES)
	GOOS=linux GOARCH=$* $(GO) build -tags '$(SLIM) $(TAGS)' -ldflags '$(LDFLAGS)' -o $@ ./cmd/multinicd | $(PROGRESS) compiling multinicd for $*

$(DIST)/bin/$(VERSION)/linux_%/multinic-bridge: go.mod go.sum VERSION $(SOURCES)
	GOOS=linux GOARCH=$* $(GO) build -tags $(SLIM) -ldflags '$(LDFLAGS)' -o $@ ./cmd/bridge | $(PROGRESS) compiling multinic-bridge for $*

$(DIST)/bin/$(VERSION)/LICENSES: go.mod go.sum
	@mkdir -p $(@D)
	packaging/licenses.sh >$@

$(DIST)/bin/$(VERSION)/LICENSES.bridge: go.mod go.sum
	@mkdir -p $(@D)
	packaging/licenses.sh bridge >$@

.PHONY: deb
deb: $(GOARCHES:%=$(PACKAGED)/linux_%/multinicd) $(PACKAGED)/LICENSES ## dist/*.deb for amd64 and arm64, the same again byte for byte (installs debhelper)
	@packaging/prerequisites.sh deb
	@for arch in $(GOARCHES); do $(PACKAGE_ENV) BINARY=$(PACKAGED)/linux_$$arch/multinicd packaging/deb/build.sh $$arch $(DIST); done | packaging/sums.sh $(DIST) | $(PROGRESS) -total $(words $(GOARCHES)) making packages for Debian

.PHONY: rpm
rpm: $(GOARCHES:%=$(PACKAGED)/linux_%/multinicd) $(PACKAGED)/LICENSES ## dist/*.rpm for x86_64 and aarch64, likewise (installs rpm)
	@packaging/prerequisites.sh rpm
	@for arch in $(GOARCHES); do $(PACKAGE_ENV) BINARY=$(PACKAGED)/linux_$$arch/multinicd packaging/rpm/build.sh $$arch $(DIST); done | packaging/sums.sh $(DIST) | $(PROGRESS) -total $(words $(GOARCHES)) making packages for RHEL

# Images. IMAGE_PREFIX is what their names begin with: localhost/ is nobody's registry, so that nothing is pulled by mistake.
IMAGE_PREFIX ?= localhost/
IMAGE = SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH) $(GO) run ./tools/image -dir $(DIST) -tag $(VERSION) -level $(XZ_LEVEL)

.PHONY: image
image: $(foreach arch,$(GOARCHES),$(PACKAGED)/linux_$(arch)/multinicd $(PACKAGED)/linux_$(arch)/multinic-bridge) $(PACKAGED)/LICENSES $(PACKAGED)/LICENSES.bridge ## dist/*.oci.tar, images for amd64 and arm64 with their SBOM, likewise: multinic-bridge, and multinicd for Jobs
	@$(IMAGE) -name $(IMAGE_PREFIX)multinic-bridge -title 'the part of multinicd that runs in a cluster' -command multinic-bridge -user 65532:65532 \
	  -licenses $(PACKAGED)/LICENSES.bridge $(foreach arch,$(GOARCHES),$(arch)=$(PACKAGED)/linux_$(arch)/multinic-bridge) | packaging/sums.sh $(DIST)
	@$(IMAGE) -name $(IMAGE_PREFIX)multinicd -title 'configures the NICs of the node that it runs on, as a Job' -command multinicd \
	  -licenses $(PACKAGED)/LICENSES $(foreach arch,$(GOARCHES),$(arch)=$(PACKAGED)/linux_$(arch)/multinicd) | packaging/sums.sh $(DIST)

# KREW_URL is the folder from which the archives can be fetched, as the manifest says it.
KREW_URL ?= https://packages.example.org/multinicd

.PHONY: kubectl
kubectl: $(GOARCHES:%=$(PACKAGED)/linux_%/multinic-bridge) $(PACKAGED)/LICENSES.bridge ## dist/kubectl-multinic_*.tar.gz, the plugin of kubectl, and dist/multinic.yaml, its manifest for krew (KREW_URL=...)
	@mkdir -p $(DIST)
	@$(PACKAGE_ENV) LICENSES='$(PACKAGED)/LICENSES.bridge' KREW_URL='$(KREW_URL)' packaging/kubectl.sh $(DIST) $(foreach arch,$(GOARCHES),$(arch)=$(PACKAGED)/linux_$(arch)/multinic-bridge) | packaging/sums.sh $(DIST)

.PHONY: chart
chart: ## dist/multinic-VERSION.tgz, the chart as one file, likewise
	@mkdir -p $(DIST)
	@$(PACKAGE_ENV) packaging/chart.sh $(DIST) | packaging/sums.sh $(DIST)

.PHONY: repo
repo: ## dist/repo: signed apt and dnf repositories of the packages in dist/ (GPG_KEY=..., else a throwaway key)
	@packaging/prerequisites.sh repo
	@packaging/repo/build.sh $(DIST) | $(PROGRESS) making and signing the repositories

# The binaries are linked anew, so that what is signed was made of this commit, whatever was in the folder.
.PHONY: release
release: ## dist/release/VERSION: packages, images, chart and kubectl plugin with signatures and provenance (GPG_KEY=..., BUILDER=https://...)
	@packaging/prerequisites.sh release
	rm -rf $(PACKAGED)
	$(MAKE) --no-print-directory deb rpm image chart kubectl
	@$(PACKAGE_ENV) GOARCHES='$(GOARCHES)' IMAGE_PREFIX='$(IMAGE_PREFIX)' KREW_URL='$(KREW_URL)' packaging/release.sh $(DIST)

.PHONY: clean
clean: ## remove what make built in this tree (bin/, dist/); the tests' cache stays
	rm -rf bin dist
