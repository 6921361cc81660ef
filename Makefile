# The names a developer types. `make help` lists them.

# Race detection needs a C compiler; without one the same tests run without it, and that is said.
RACE := $(shell command -v $${CC:-cc} >/dev/null 2>&1 && echo -race)
NPM_TOOLS := testdata/npm/node_modules/.installed
RIC := testdata/ric/node_modules/.installed
OFFLINE := testdata/offline/node_modules/.installed
VSCODE := editors/vscode/node_modules/.installed

.PHONY: help
help: ## List what there is.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build bin/sst.
	go build -trimpath -buildvcs=false -o bin/sst .

.PHONY: picture
picture: build ## Record the terminal picture of the README; needs tmux and curl.
	go run ./docs/pictures

.PHONY: release
release: ## Make the archives, npm packages, checksums and bills of materials of VERSION (as 1.2.3) in dist.
	go run ./cmd/release -version "$(VERSION)"

.PHONY: test
test: $(NPM_TOOLS) $(VSCODE) ## Run all tests. Installs the npm tools they compare with when npm is there.
	@test -n "$(RACE)" || echo "no C compiler: the concurrency tests run without the race detector"
	@test -e $(RIC) || echo "npm's aws-lambda-ric is not there (make ric): the tests with AWS's own Node client are skipped"
	@test -e $(OFFLINE) || echo "serverless-offline is not there (make offline): the tests with its WebSocket gateway are skipped"
	@for tool in node python3 cfn-lint aws-lambda-rie; do \
		command -v $$tool >/dev/null 2>&1 || echo "$$tool is not installed: the tests that need it are skipped"; \
	done
	@test ! -e $(VSCODE) || (cd editors/vscode && npm run --silent check && npm run --silent lint && npm test --silent && npm run --silent build)
	go test ./...
	$(if $(RACE),go test $(RACE) ./proxy/... ./runtime/...)

.PHONY: test-all
test-all: $(NPM_TOOLS) $(RIC) $(OFFLINE) ## Run what takes long or needs the network as well: npm installs, soaks, the whole corpus.
	SST_TEST_ALL=1 go test ./... -timeout 1h
	$(MAKE) corpus

# The stock CLI reads our assemblies in the tests; a machine without npm skips those, and says so.
$(NPM_TOOLS): testdata/npm/package.json
	@if ! command -v npm >/dev/null 2>&1; then \
		echo "npm is not installed: tests against the stock cdk CLI are skipped"; \
	elif npm install --prefix testdata/npm --no-package-lock --no-audit --no-fund --loglevel=error --fetch-retries=1 --fetch-timeout=30000; then \
		touch $@; \
	else \
		echo "npm cannot install testdata/npm/package.json: tests against the stock cdk CLI are skipped"; \
	fi

.PHONY: ric
ric: $(RIC) ## Install AWS's own Node runtime client, which compiles for a minute or two; the tests run it when it is there.

$(RIC): testdata/ric/package.json
	@if ! command -v npm >/dev/null 2>&1; then \
		echo "npm is not installed: the tests with aws-lambda-ric are skipped"; \
	elif npm install --prefix testdata/ric --no-package-lock --no-audit --no-fund --loglevel=error --fetch-retries=1 --fetch-timeout=30000; then \
		touch $@; \
	else \
		echo "npm cannot install aws-lambda-ric (it needs cmake, autoconf, automake and libtool): the tests with it are skipped"; \
	fi

.PHONY: offline
offline: $(OFFLINE) ## Install serverless-offline; tests hold the relay to its WebSocket gateway when it is there, and make bench measures against it.

$(OFFLINE): testdata/offline/package.json
	@if ! command -v npm >/dev/null 2>&1; then \
		echo "npm is not installed: the tests with serverless-offline are skipped"; \
	elif npm install --prefix testdata/offline --no-package-lock --no-audit --no-fund --loglevel=error --fetch-retries=1 --fetch-timeout=30000; then \
		touch $@; \
	else \
		echo "npm cannot install serverless-offline: the tests with it are skipped"; \
	fi

$(VSCODE): editors/vscode/package.json
	@if ! command -v npm >/dev/null 2>&1; then \
		echo "npm is not installed: the VS Code extension is not compiled"; \
	elif npm install --prefix editors/vscode --no-package-lock --no-audit --no-fund --loglevel=error --fetch-retries=1 --fetch-timeout=30000; then \
		touch $@; \
	else \
		echo "npm cannot install editors/vscode/package.json: the VS Code extension is not compiled"; \
	fi

.PHONY: lint
lint: ## Check formatting, vet, and that the module files are tidy.
	@files=$$(git ls-files -co --exclude-standard '*.go' | xargs gofmt -l); \
	if [ -n "$$files" ]; then echo "not gofmt-clean:"; echo "$$files"; exit 1; fi
	go vet ./...
	go mod tidy -diff

.PHONY: update
update: ## Rewrite the golden files; read the diff before you commit it.
	go test $$(grep -rl --include='*_test.go' 'flag.Bool("update"' . | xargs -n1 dirname | sort -u) -update

.PHONY: generate
generate: ## Rebuild the generated files (the CDK index).
	go generate ./...

.PHONY: corpus
corpus: ## Run all examples of the CDK's documentation in Node and in Starlark; an interrupted run goes on.
	go test ./builtins -run 'TestCorpus$$' -corpus all -v -timeout 2h

.PHONY: bench
bench: $(NPM_TOOLS) $(OFFLINE) ## Measure against the targets of the project: each figure is printed beside its goal.
	go test ./cmd -run '^$$' -bench 'Build|FirstRun' -benchtime 1x -timeout 20m
	go test ./builtins -run '^$$' -bench 'SynthWarm|SynthCold|Evaluate'
	go test ./builtins/assertions -run '^$$' -bench Thousand
	go test ./builtins -run '^$$' -bench Resynths -benchtime 1x
	go test ./starlark -run '^$$' -bench ThousandResources
	go test ./cfn -run '^$$' -bench 'Deploy' -benchtime 1x
	go test ./runtime -run '^$$' -bench 'Invoke|Throughput|Offline|Save|Cold' -timeout 20m
	$(MAKE) bench-cloud

.PHONY: bench-cloud
bench-cloud: ## Measure the local cloud: messages through a queue, items of a query, a backlog.
	SST_FLOOD=10000 go test ./cmd -run 'TestScripts/start_crashes$$' -v | grep '^flood:'
	go test ./runtime/dynamo -run TestQueryGoal -v | grep items
	go test ./runtime/queues -run '^$$' -bench Backlog

.PHONY: bench-live
bench-live: $(RIC) ## Measure the live wire: each figure is printed beside its goal (G1 to G16). SST_SOAK=10m for the whole soak.
	go test ./proxy -run '^$$' -bench 'Goal|Stream200MB' -benchtime 1x -timeout 20m
	go test ./runtime -run '^$$' -bench Goal -benchtime 1x -timeout 30m

.PHONY: test-live
test-live: $(NPM_TOOLS) $(RIC) $(OFFLINE) ## Run the long forms of the tests of a bad network, with 20 random schedules of faults.
	go test $(RACE) ./proxy/... -full -timeout 20m

.PHONY: bench-lsp
bench-lsp: ## Measure the language server on a file of 10,000 lines, each figure beside its goal.
	go test ./lsp -run '^$$' -bench Server -benchtime 1x -timeout 10m
	go test ./starlark/format -run '^$$' -bench Source
