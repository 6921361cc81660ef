package diag

import "io"

// Printer writes diagnostics for people.
type Printer struct {
	Out     io.Writer
	Color   bool
	Verbose bool                              // also frames
	Base    string                            // files under it are shown relative to it
	Read    func(file string) ([]byte, error) // source for the excerpt; nil = os.ReadFile
}

// Print writes each diagnostic.
func (p *Printer) Print(l ...*Diagnostic) {
	for _, d := range l {
		io.WriteString(p.Out, d.Error()+"\n")
	}
}
