package bundle

import (
	_ "embed"
	"sync"

	"github.com/evanw/esbuild/pkg/api"
)

//go:embed prologue/secrets.js
var secretsSource string

//go:embed prologue/wait.js
var waitSource string

// hasSecrets is all that the prologue costs a function without secrets.
const hasSecrets = `if (globalThis.Object.values(globalThis.process.env).some((value) => value.includes('"sst.Secret"')))`

// What Deploy bundles begin with, so that the secrets of a function are in its environment before its modules run. Whether
// it has any is known only when the whole app was evaluated (`api.link(secret)` may come last), so all bundles have it.
// Live bundles do without: the dev server completes the environment of their workers.
var (
	prologueESM = sync.OnceValue(func() string {
		return terse(secretsSource + hasSecrets + ` globalThis.Object.assign(globalThis.process.env, await __sst_secrets(require, globalThis.process.env));`)
	})
	prologueCommonJS = sync.OnceValue(func() string {
		return terse(secretsSource + waitSource + hasSecrets + ` globalThis.Object.assign(globalThis.process.env, __sst_wait(require, globalThis.process.env));`)
	})
)

// terse takes comments and white space out of a script of ours, and shortens its local names.
func terse(source string) string {
	result := api.Transform(source, api.TransformOptions{MinifyWhitespace: true, MinifyIdentifiers: true, MinifySyntax: true,
		Engines: []api.Engine{{Name: api.EngineNode, Version: "18"}}})
	if len(result.Errors) > 0 {
		panic(result.Errors[0].Text)
	}
	return string(result.Code)
}
