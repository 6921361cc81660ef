package bundle

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// siteOf writes a site of one page and gives the root of its project.
func siteOf(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range map[string]string{"site/src/index.html": "hello", "site/node_modules/.bin/x": "", "site/.env": "A=1"} {
		file := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func buildSite(t *testing.T, ctx context.Context, config Config, o SiteOptions) *Result {
	t.Helper()
	b := Open(config)
	defer b.Close()
	return b.Build(ctx, []Spec{{Kind: Site, Handler: "site", Site: &o}})[0]
}

// A developer's machine serves a site by the site's own server, so nothing is run for it.
func TestSiteLive(t *testing.T) {
	root := siteOf(t)
	for _, config := range []Config{{Root: root, Mode: Live}, {Root: root, Cache: t.TempDir(), NoSites: true}} {
		r := buildSite(t, t.Context(), config, SiteOptions{Command: "exit 1", Output: "dist"})
		if r.Failed() || len(r.Files) != 1 || !strings.Contains(string(r.Files[0].Data), "sst start") {
			t.Errorf("Build = %v, %v, want a page that says why there is no other", r.Files, r.Messages)
		}
		config.NoSites, config.Mode = false, Deploy
		if r = buildSite(t, t.Context(), config, SiteOptions{Command: "exit 1", Output: "dist"}); !r.Failed() {
			t.Errorf("Build = %v, want the command's failure: the page is no result of it", r.Files)
		}
	}
	r := buildSite(t, t.Context(), Config{Root: root, Mode: Live}, SiteOptions{Output: "src", Index: "index.html"})
	if r.Failed() || len(r.Files) != 1 || string(r.Files[0].Data) != "hello" {
		t.Errorf("Build = %v, %v, want the files of a site without a command", r.Files, r.Messages)
	}
}

func TestSiteSources(t *testing.T) {
	root := siteOf(t)
	var names []string
	sources, err := siteSources(filepath.Join(root, "site"), filepath.Join(root, "site", "dist"))
	for _, file := range sources {
		name, _ := filepath.Rel(root, file)
		names = append(names, filepath.ToSlash(name))
	}
	if want := "site/.env site/src/index.html"; err != nil || strings.Join(names, " ") != want {
		t.Errorf("siteSources = %v, %v, want %s", names, err, want)
	}
}

// Ctrl-C ends the command and what it started.
func TestSiteCancelled(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the command is one of a Unix shell")
	}
	ctx, cancel := context.WithCancel(t.Context())
	config := Config{Root: siteOf(t), LookupEnv: os.LookupEnv, Notice: func(string) { time.AfterFunc(50*time.Millisecond, cancel) }}
	began := time.Now()
	r := buildSite(t, ctx, config, SiteOptions{Command: "sleep 60 & sleep 60", Output: "dist"})
	if !r.Failed() || time.Since(began) > 20*time.Second {
		t.Errorf("Build = %v after %s, want the interruption at once", r.Messages, time.Since(began))
	}
}
