package cmd

import (
	"context"
	"crypto/ed25519"
	"log/slog"
	"path/filepath"

	"github.com/rogpeppe/go-internal/testscript"

	"sst/runtime/bundle"
)

// scriptStubs makes the assembly that `sst start` deploys, as if the debug stack had the API "api0123456". The stage's key
// is all zeros.
func scriptStubs(ts *testscript.TestScript, neg bool, args []string) {
	ctx := context.Background()
	t := &tool{World: scriptWorld(ts, nil), log: slog.New(slog.DiscardHandler)}
	t.view = newHumanView(t.Stdout, t.Stderr, viewOptions{Base: t.Dir})
	err := func() error {
		p, err := t.open(ctx, nil)
		if err != nil {
			return err
		}
		engine, done, err := t.engine(ctx)
		if err != nil {
			return err
		}
		defer done()
		l := &live{starter: &starter{tool: t, project: p, engine: engine, mode: forLive, folder: filepath.Join(p.state, "live"), noted: map[string]bool{}},
			key: ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)), api: "api0123456", url: "wss://api0123456.execute-api.us-east-1.amazonaws.com",
			builder: bundle.Open(bundle.Config{Root: p.root, Mode: bundle.Deploy})}
		defer l.builder.Close()
		_, asm, err := l.synthesize(ctx)
		if err != nil {
			return err
		}
		if err := writeArchive(asm.Dir, relayCode()); err != nil {
			return err
		}
		stubbed, err := l.stub(ctx, asm)
		if err != nil {
			return err
		}
		return replaceFolder(stubbed.Dir, p.out)
	}()
	if code := t.exit(ctx, err); code != ExitDone != neg || code == ExitFault {
		ts.Fatalf("stubs: exit code %d", code)
	}
}
