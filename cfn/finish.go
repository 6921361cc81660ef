package cfn

// Code is the finished code of one bundle: Hash is that of the content, Zip the archive (nil when the file with that
// hash is already in the assembly).
type Code struct {
	Hash string
	Zip  []byte
}

// Finish puts the real code into an assembly that was synthesized with placeholders: codes maps a bundle's key to its
// code. It writes the manifest to sst.json as well. The result is accepted by the stock cdk CLI and is the same on
// repeat.
func Finish(dir string, m *Manifest, codes map[string]Code) error { return nil }

// NeedsRealHash says whether a logical id in the assembly contains a hash of the code (a Lambda version): then it must
// be synthesized again with the real hashes.
func NeedsRealHash(asm *Assembly) bool { return false }

// Normalize rewrites a template for comparison in tests: sorted keys, indented by 2, asset hashes replaced by
// "<asset NAME>".
func Normalize(template []byte, names map[string]string) []byte { return template }
