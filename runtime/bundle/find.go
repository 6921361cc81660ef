package bundle

import "fmt"

// FindError says that a handler names no file. Known are the names there are, the nearest first.
type FindError struct {
	Handler string
	Text    string
	Known   []string
}

func (e *FindError) Error() string { return fmt.Sprintf("%s: %s", e.Handler, e.Text) }

// Find gives the file (absolute) and the export that a handler of this kind names. For Go and custom kinds the file is
// the folder and there is no export. The error is a *FindError.
func Find(root, handler, kind string) (file, export string, err error) {
	return "", "", &FindError{Handler: handler, Text: "there is no such file"}
}

// Exports gives the sorted names that a handler file exports. It is parsed, never run. known is false when they cannot
// be told: CommonJS, a star export of a package, a syntax error.
func Exports(file string, src []byte) (names []string, known bool) {
	return nil, false
}
